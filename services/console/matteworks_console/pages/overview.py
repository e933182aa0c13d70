"""An account at a glance, and its changes as they happen."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from matteworks_common.context import CallContext, current_call, new_request_id
from matteworks_common.errors import MatteworksError
from matteworks_console.clients import AccountsClient
from matteworks_console.errors import PageError
from matteworks_console.rendering import Renderer
from matteworks_console.security.access import Access, SignInNeeded
from matteworks_console.security.forms import new_form_id

POLL_S: Final = 2.0
# Ends before the proxy would end it; the browser then asks again.
STREAM_S: Final = 110.0
MAX_STREAMS: Final = 200
MAX_STREAMS_OF_ONE: Final = 12
_CALL_S: Final = 5.0


class OverviewPages:
    """`/console` and `/console/accounts/ID`. Streams look every `poll_s` and end when `draining` is set."""

    def __init__(
        self,
        renderer: Renderer,
        access: Access,
        accounts: AccountsClient,
        draining: asyncio.Event,
        poll_s: float = POLL_S,
    ) -> None:
        self._renderer = renderer
        self._access = access
        self._accounts = accounts
        self._draining = draining
        self._poll_s = poll_s
        self._streams: Counter[str] = Counter()

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
        """Server-sent events: `changed` whenever the account's balances or counters have."""
        session, account_id = await self._access.for_account(request)
        is_full = self._streams.total() >= MAX_STREAMS
        if is_full or self._streams[session.principal] >= MAX_STREAMS_OF_ONE:
            raise PageError(503, "Too many pages are open. This one is not updated.", retry_after_s=30)
        return StreamingResponse(
            self._stream(request, session.principal, account_id),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    async def _stream(self, request: Request, principal: str, account_id: str) -> AsyncIterator[str]:
        self._streams[principal] += 1
        try:
            # How long the browser waits before it asks again.
            yield "retry: 1000\n\n"
            ends_s = time.monotonic() + STREAM_S
            last = b""
            while time.monotonic() < ends_s and not self._draining.is_set():
                current_call.set(CallContext(new_request_id(), time.monotonic() + _CALL_S))
                try:
                    # A session that has ended, or a key that was revoked, sees nothing more.
                    await self._access.for_account(request)
                    now = (await self._accounts.account(account_id)).account.SerializeToString(
                        deterministic=True
                    )
                except SignInNeeded:
                    yield "event: signed-out\ndata: 1\n\n"
                    return
                except MatteworksError:
                    # Auth is away: the page stays as it is, and the next look may succeed.
                    yield ": waiting\n\n"
                else:
                    yield "event: changed\ndata: 1\n\n" if last not in (b"", now) else ": no change\n\n"
                    last = now
                try:
                    await asyncio.wait_for(self._draining.wait(), self._poll_s)
                except TimeoutError:
                    continue
        finally:
            self._streams[principal] -= 1
            if not self._streams[principal]:
                del self._streams[principal]
