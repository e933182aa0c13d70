"""What an account does in the background: batches, stored results, webhooks and their deliveries."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from google.protobuf.message import Message
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from matteworks.jobs.v1 import webhooks_pb2
from matteworks_console.clients import AccountsClient
from matteworks_console.errors import PageError
from matteworks_console.jobs_client import JobsClient
from matteworks_console.pages.live import LiveStreams
from matteworks_console.rendering import Renderer
from matteworks_console.security.access import Access
from matteworks_console.security.forms import check_once, new_form_id
from matteworks_console.security.session_store import SessionStore
from matteworks_console.security.sessions import Session

EVENTS: Final = {
    "image.completed": webhooks_pb2.WEBHOOK_EVENT_IMAGE_COMPLETED,
    "image.failed": webhooks_pb2.WEBHOOK_EVENT_IMAGE_FAILED,
    "batch.completed": webhooks_pb2.WEBHOOK_EVENT_BATCH_COMPLETED,
    "credits.low": webhooks_pb2.WEBHOOK_EVENT_CREDITS_LOW,
}
_EVENT_NAMES: Final = {value: name for name, value in EVENTS.items()}
_STATES: Final = {
    webhooks_pb2.DELIVERY_STATE_PENDING: "waiting",
    webhooks_pb2.DELIVERY_STATE_DELIVERED: "delivered",
    webhooks_pb2.DELIVERY_STATE_FAILED: "failed",
}


Handler = Callable[[Request], Awaitable[Response]]


class JobPages:
    """`/console/accounts/ID/batches`, `…/results` and `…/webhooks`."""

    def __init__(
        self,
        renderer: Renderer,
        access: Access,
        accounts: AccountsClient,
        jobs: JobsClient,
        store: SessionStore,
        live: LiveStreams,
    ) -> None:
        self._renderer = renderer
        self._access = access
        self._accounts = accounts
        self._jobs = jobs
        self._store = store
        self._live = live

    @property
    def routes(self) -> list[Route]:
        account = "/console/accounts/{account_id}"
        return [
            Route(account + "/batches", self.batches, methods=["GET"]),
            Route(account + "/batches/list", self.batch_list, methods=["GET"]),
            Route(account + "/batches/events", self._events(self._jobs.batches), methods=["GET"]),
            Route(account + "/batches/{batch_id}/cancel", self.cancel, methods=["POST"]),
            Route(account + "/results", self.results, methods=["GET"]),
            Route(account + "/results/list", self.result_list, methods=["GET"]),
            Route(account + "/results/events", self._events(self._jobs.results), methods=["GET"]),
            Route(account + "/results/{result_id}/delete", self.delete_result, methods=["POST"]),
            Route(account + "/webhooks", self.webhooks, methods=["GET"]),
            Route(account + "/webhooks", self.create_endpoint, methods=["POST"]),
            Route(account + "/deliveries/list", self.delivery_list, methods=["GET"]),
            Route(account + "/deliveries/events", self._events(self._jobs.deliveries), methods=["GET"]),
            Route(account + "/webhooks/{endpoint_id}/rotate", self.rotate_secret, methods=["POST"]),
            Route(account + "/webhooks/{endpoint_id}/delete", self.delete_endpoint, methods=["POST"]),
            Route(account + "/deliveries/{delivery_id}/resend", self.resend, methods=["POST"]),
        ]

    async def batches(self, request: Request) -> Response:
        """The latest batches and how far they are."""
        session, account_id = await self._access.for_account(request)
        return self._renderer.page(
            "batches.html",
            session=session,
            account=(await self._accounts.account(account_id)).account,
            batches=await self._jobs.batches(account_id),
        )

    async def batch_list(self, request: Request) -> Response:
        """The part of the page that moves."""
        session, account_id = await self._access.for_account(request)
        return self._renderer.page(
            "batches_part.html",
            session=session,
            account_id=account_id,
            batches=await self._jobs.batches(account_id),
        )

    async def cancel(self, request: Request) -> Response:
        """What has not been charged yet is not done any more."""
        session, account_id = await self._access.for_account(request)
        await self._access.form(request, session)
        await self._jobs.cancel_batch(account_id, request.path_params["batch_id"])
        return RedirectResponse(f"/console/accounts/{account_id}/batches", status_code=303)

    async def results(self, request: Request) -> Response:
        """The latest results that are still kept."""
        session, account_id = await self._access.for_account(request)
        return self._renderer.page(
            "results.html",
            session=session,
            account=(await self._accounts.account(account_id)).account,
            results=await self._jobs.results(account_id),
        )

    async def result_list(self, request: Request) -> Response:
        """The part of the page that moves."""
        session, account_id = await self._access.for_account(request)
        return self._renderer.page(
            "results_part.html",
            session=session,
            account_id=account_id,
            results=await self._jobs.results(account_id),
        )

    async def delete_result(self, request: Request) -> Response:
        """Delete a result for good."""
        session, account_id = await self._access.for_account(request)
        await self._access.form(request, session)
        await self._jobs.delete_result(account_id, request.path_params["result_id"])
        return RedirectResponse(f"/console/accounts/{account_id}/results", status_code=303)

    async def webhooks(self, request: Request) -> Response:
        """Endpoints and the latest deliveries."""
        session, account_id = await self._access.for_account(request)
        return await self._show_webhooks(session, account_id)

    async def delivery_list(self, request: Request) -> Response:
        """The part of the page that moves."""
        session, account_id = await self._access.for_account(request)
        return self._renderer.page(
            "deliveries_part.html",
            session=session,
            account_id=account_id,
            deliveries=await self._jobs.deliveries(account_id),
            event_names=_EVENT_NAMES,
            states=_STATES,
        )

    async def create_endpoint(self, request: Request) -> Response:
        """A new endpoint; its secret is on this one page."""
        session, account_id = await self._access.for_account(request)
        form = await self._access.form(request, session)
        events = [value for name, value in EVENTS.items() if form.text(name) == "on"]
        if not events:
            raise PageError(400, "Choose at least one event.")
        url = form.text("url", 2000)
        await check_once(self._store, form)
        made = await self._jobs.create_endpoint(account_id, url, events)
        return await self._show_webhooks(session, account_id, secret=made.secret)

    async def rotate_secret(self, request: Request) -> Response:
        """A new secret for an endpoint, shown once."""
        session, account_id = await self._access.for_account(request)
        form = await self._access.form(request, session)
        await check_once(self._store, form)
        secret = await self._jobs.rotate_secret(account_id, request.path_params["endpoint_id"])
        return await self._show_webhooks(session, account_id, secret=secret)

    async def delete_endpoint(self, request: Request) -> Response:
        """Tell an endpoint no more."""
        session, account_id = await self._access.for_account(request)
        await self._access.form(request, session)
        await self._jobs.delete_endpoint(account_id, request.path_params["endpoint_id"])
        return RedirectResponse(f"/console/accounts/{account_id}/webhooks", status_code=303)

    async def resend(self, request: Request) -> Response:
        """Send a delivery again."""
        session, account_id = await self._access.for_account(request)
        await self._access.form(request, session)
        await self._jobs.resend(account_id, request.path_params["delivery_id"])
        return RedirectResponse(f"/console/accounts/{account_id}/webhooks", status_code=303)

    def _events(self, read: Callable[[str], Awaitable[Sequence[Message]]]) -> Handler:
        """Told whenever what `read` tells of an account has changed."""

        async def handle(request: Request) -> Response:
            session, account_id = await self._access.for_account(request)

            async def look() -> bytes:
                return b"".join(
                    message.SerializeToString(deterministic=True) for message in await read(account_id)
                )

            return self._live.follow(session, lambda: self._access.for_account(request), look)

        return handle

    async def _show_webhooks(self, session: Session, account_id: str, secret: str = "") -> Response:
        return self._renderer.page(
            "webhooks.html",
            session=session,
            account=(await self._accounts.account(account_id)).account,
            endpoints=await self._jobs.endpoints(account_id),
            deliveries=await self._jobs.deliveries(account_id),
            secret=secret,
            events=EVENTS,
            event_names=_EVENT_NAMES,
            states=_STATES,
            form_id=new_form_id,
        )
