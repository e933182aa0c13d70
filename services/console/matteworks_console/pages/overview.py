"""An account at a glance, and its changes as they happen."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from matteworks_console.clients import AccountsClient
from matteworks_console.pages.live import LiveStreams
from matteworks_console.rendering import Renderer
from matteworks_console.security.access import Access
from matteworks_console.security.forms import new_form_id


class OverviewPages:
    """`/console` and `/console/accounts/ID`."""

    def __init__(
        self, renderer: Renderer, access: Access, accounts: AccountsClient, live: LiveStreams
    ) -> None:
        self._renderer = renderer
        self._access = access
        self._accounts = accounts
        self._live = live

    @property
    def routes(self) -> list[Route]:
        account = "/console/accounts/{account_id}"
        return [
            Route("/console", self.home, methods=["GET"]),
            Route(account, self.page, methods=["GET"]),
            Route(account + "/balance", self.balance, methods=["GET"]),
            Route(account + "/events", self.events, methods=["GET"]),
        ]

    async def home(self, request: Request) -> Response:
        """Where somebody belongs."""
        session = await self._access.session(request)
        path = "/console/accounts" if session.is_operator else f"/console/accounts/{session.account_id}"
        return RedirectResponse(path, status_code=303)

    async def page(self, request: Request) -> Response:
        """Balances, limits, and what an operator may change."""
        session, account_id = await self._access.for_account(request)
        plans = await self._accounts.plans() if session.is_operator else None
        return self._renderer.page(
            "account.html",
            session=session,
            details=await self._accounts.account(account_id),
            plans=plans.plans if plans else (),
            form_id=new_form_id,
        )

    async def balance(self, request: Request) -> Response:
        """The part of the page that moves."""
        _, account_id = await self._access.for_account(request)
        return self._renderer.page("balance_part.html", details=await self._accounts.account(account_id))

    async def events(self, request: Request) -> Response:
        """Told whenever the account's balances or counters have changed."""
        session, account_id = await self._access.for_account(request)

        async def look() -> bytes:
            account = (await self._accounts.account(account_id)).account
            return account.SerializeToString(deterministic=True)

        return self._live.follow(session, lambda: self._access.for_account(request), look)
