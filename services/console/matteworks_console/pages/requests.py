"""The latest requests of an account: what became of each, and where its time went."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from matteworks.auth.v1 import request_log_pb2
from matteworks_console.charts.waterfall import waterfall
from matteworks_console.clients import AccountsClient
from matteworks_console.errors import PageError
from matteworks_console.pages.live import LiveStreams
from matteworks_console.rendering import Renderer
from matteworks_console.security.access import Access

_OUTCOMES: Final = {"": "All", "ok": "Done", "failed": "Failed or refused"}
_LATEST: Final = 20


class RequestPages:
    """`/console/accounts/ID/requests` and one page for each request."""

    def __init__(
        self, renderer: Renderer, access: Access, accounts: AccountsClient, live: LiveStreams
    ) -> None:
        self._renderer = renderer
        self._access = access
        self._accounts = accounts
        self._live = live

    @property
    def routes(self) -> list[Route]:
        path = "/console/accounts/{account_id}/requests"
        return [
            Route(path, self.page, methods=["GET"]),
            Route(path + "/list", self.part, methods=["GET"]),
            Route(path + "/events", self.events, methods=["GET"]),
            Route("/console/accounts/{account_id}/request/{request_id}", self.one, methods=["GET"]),
        ]

    async def page(self, request: Request) -> Response:
        """The list, latest first."""
        session, account_id = await self._access.for_account(request)
        asked = _asked(request, account_id)
        account = (await self._accounts.account(account_id)).account
        keys = {key.key_id: key.display_name for key in await self._accounts.keys(account_id)}
        found = await self._accounts.requests(asked)
        return self._renderer.page(
            "requests.html",
            session=session,
            account=account,
            asked=asked,
            outcomes=_OUTCOMES,
            key_names=keys,
            records=found.records,
            next_page=found.next_page_token,
            query_string=request.url.query,
        )

    async def part(self, request: Request) -> Response:
        """The part of the page that moves."""
        _, account_id = await self._access.for_account(request)
        asked = _asked(request, account_id)
        found = await self._accounts.requests(asked)
        return self._renderer.page(
            "requests_part.html", account_id=account_id, asked=asked, records=found.records,
            next_page=found.next_page_token,
        )  # fmt: skip

    async def one(self, request: Request) -> Response:
        """One request with the time of each of its stages."""
        session, account_id = await self._access.for_account(request)
        request_id = request.path_params["request_id"][:128]
        asked = request_log_pb2.ListRequestsRequest(account_id=account_id, request_id=request_id)
        found = await self._accounts.requests(asked)
        if not found.records:
            raise PageError(404, "No such request is known: it is too old, or its id is another one's.")
        return self._renderer.page(
            "request.html",
            session=session,
            account=(await self._accounts.account(account_id)).account,
            request_id=request_id,
            # A caller that brings its own id may bring it twice.
            records=[(record, _spans(record)) for record in found.records],
        )

    async def events(self, request: Request) -> Response:
        """Told whenever another request has ended."""
        session, account_id = await self._access.for_account(request)
        asked = request_log_pb2.ListRequestsRequest(account_id=account_id, page_size=_LATEST)

        async def look() -> bytes:
            return (await self._accounts.requests(asked)).SerializeToString(deterministic=True)

        return self._live.follow(session, lambda: self._access.for_account(request), look)


def _asked(request: Request, account_id: str) -> request_log_pb2.ListRequestsRequest:
    query = request.query_params
    outcome = query.get("outcome", "")
    return request_log_pb2.ListRequestsRequest(
        account_id=account_id,
        page_token=query.get("page", "")[:32],
        request_id=query.get("id", "").strip()[:128],
        key_id=query.get("key", "")[:64],
        dialect=query.get("dialect", "").strip()[:32],
        outcome=outcome if outcome in _OUTCOMES else "",
    )


def _spans(record: request_log_pb2.RequestRecord) -> list[object]:
    stages = [(stage.stage, stage.duration.ToNanoseconds() / 1e9) for stage in record.stages]
    return list(waterfall(stages, record.duration.ToNanoseconds() / 1e9))
