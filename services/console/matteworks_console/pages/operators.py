"""What only operators see: accounts, plans, grants, models, the audit log."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Iterable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from matteworks.auth.v1 import audit_pb2, auth_pb2
from matteworks_common.context import CallContext, current_call, new_request_id
from matteworks_common.errors import MatteworksError
from matteworks_console.clients import AccountsClient, ModelsClient
from matteworks_console.errors import PageError
from matteworks_console.rendering import Renderer
from matteworks_console.security.access import Access
from matteworks_console.security.forms import check_once, new_form_id
from matteworks_console.security.session_store import SessionStore

_BALANCES: Final = {
    "subscription": auth_pb2.BALANCE_SUBSCRIPTION,
    "payg": auth_pb2.BALANCE_PAYG,
    "enterprise": auth_pb2.BALANCE_ENTERPRISE,
}
_MAX_GRANT: Final = Decimal(10) ** 12
_AUDIT_COLUMNS: Final = ("time", "actor", "action", "account_id", "key_id", "details", "request_id")
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")
_EXPORTED_AT_ONCE: Final = 500


class OperatorPages:
    """For others these pages do not exist."""

    def __init__(
        self,
        renderer: Renderer,
        access: Access,
        accounts: AccountsClient,
        models: ModelsClient,
        store: SessionStore,
    ) -> None:
        self._renderer = renderer
        self._access = access
        self._accounts = accounts
        self._models = models
        self._store = store

    @property
    def routes(self) -> list[Route]:
        return [
            Route("/console/accounts", self.list_accounts, methods=["GET"]),
            Route("/console/accounts", self.create_account, methods=["POST"]),
            Route("/console/accounts/{account_id}/plan", self.set_plan, methods=["POST"]),
            Route("/console/accounts/{account_id}/grants", self.grant, methods=["POST"]),
            Route("/console/plans", self.plans, methods=["GET"]),
            Route("/console/models", self.models, methods=["GET"]),
            Route("/console/audit", self.audit, methods=["GET"]),
            Route("/console/audit.csv", self.audit_table, methods=["GET"]),
        ]

    async def list_accounts(self, request: Request) -> Response:
        """Accounts by id, a page at a time."""
        session = await self._access.operator(request)
        prefix = request.query_params.get("prefix", "").strip()[:64]
        found = await self._accounts.accounts(prefix, request.query_params.get("page", ""))
        return self._renderer.page(
            "accounts.html",
            session=session,
            accounts=found.accounts,
            next_page=found.next_page_token,
            prefix=prefix,
            plans=await self._accounts.plans(),
            form_id=new_form_id,
        )

    async def create_account(self, request: Request) -> Response:
        """A new account."""
        session = await self._access.operator(request)
        form = await self._access.form(request, session)
        await check_once(self._store, form)
        made = await self._accounts.create_account(
            form.text("account_id", 64), form.text("display_name", 200), form.text("plan", 64), session.actor
        )
        return RedirectResponse(f"/console/accounts/{made.account_id}", status_code=303)

    async def set_plan(self, request: Request) -> Response:
        """Another plan for an account."""
        session = await self._access.operator(request)
        account_id = request.path_params["account_id"]
        form = await self._access.form(request, session)
        await self._accounts.set_plan(account_id, form.text("plan", 64), session.actor)
        return RedirectResponse(f"/console/accounts/{account_id}", status_code=303)

    async def grant(self, request: Request) -> Response:
        """More credits; the same form grants once, however often it is sent."""
        session = await self._access.operator(request)
        account_id = request.path_params["account_id"]
        form = await self._access.form(request, session)
        balance = _BALANCES.get(form.text("balance"))
        if balance is None:
            raise PageError(400, "balance: choose subscription, payg or enterprise.")
        credits_milli = _credits_milli(form.text("credits"))
        await self._accounts.grant(
            auth_pb2.GrantCreditsRequest(
                request_id=f"console-{await check_once(self._store, form)}",
                account_id=account_id,
                balance=balance,
                credits_milli=credits_milli,
            ),
            session.actor,
        )
        return RedirectResponse(f"/console/accounts/{account_id}", status_code=303)

    async def plans(self, request: Request) -> Response:
        """What plans allow."""
        session = await self._access.operator(request)
        found = await self._accounts.plans()
        return self._renderer.page(
            "plans.html", session=session, plans=found.plans, default_plan=found.default_plan
        )

    async def models(self, request: Request) -> Response:
        """The networks, who runs them, and under which licence."""
        session = await self._access.operator(request)
        try:
            models, problem = await self._models.models(), ""
        except MatteworksError as error:
            models, problem = [], error.message
        return self._renderer.page("models.html", session=session, models=models, problem=problem)

    async def audit(self, request: Request) -> Response:
        """Who did what, latest first."""
        session = await self._access.operator(request)
        account_id = request.query_params.get("account", "").strip()[:64]
        found = await self._accounts.audit_events(account_id, request.query_params.get("page", ""))
        return self._renderer.page(
            "audit.html",
            session=session,
            events=found.events,
            next_page=found.next_page_token,
            account_id=account_id,
        )

    async def audit_table(self, request: Request) -> Response:
        """The whole log as CSV, sent while it is read."""
        await self._access.operator(request)
        account_id = request.query_params.get("account", "").strip()[:64]
        first = await self._accounts.audit_events(account_id, "", _EXPORTED_AT_ONCE)
        return StreamingResponse(
            self._audit_rows(account_id, first),
            media_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": 'attachment; filename="audit.csv"', "Cache-Control": "no-store"},
        )

    async def _audit_rows(
        self, account_id: str, part: audit_pb2.ListAuditEventsResponse
    ) -> AsyncIterator[str]:
        yield csv_rows([_AUDIT_COLUMNS])
        while True:
            yield csv_rows(_audit_cells(event) for event in part.events)
            if not part.next_page_token:
                return
            # The time of a page is not enough for the largest log; each part has its own.
            current_call.set(CallContext(new_request_id(), None))
            part = await self._accounts.audit_events(account_id, part.next_page_token, _EXPORTED_AT_ONCE)


def _audit_cells(event: audit_pb2.AuditEvent) -> tuple[str, ...]:
    details = "; ".join(f"{name}={value}" for name, value in sorted(event.details.items()))
    return (
        event.time.ToJsonString(), event.actor, event.action, event.account_id, event.key_id, details,
        event.request_id,
    )  # fmt: skip


def csv_rows(rows: Iterable[Sequence[str]]) -> str:
    """The rows as a table. No cell is a formula to a spreadsheet."""
    target = io.StringIO()
    csv.writer(target).writerows(
        ["'" + cell if cell.startswith(_FORMULA_STARTS) else cell for cell in row] for row in rows
    )
    return target.getvalue()


def _credits_milli(text: str) -> int:
    try:
        credits = Decimal(text.replace(",", "."))
    except InvalidOperation:
        credits = Decimal(0)
    if not credits.is_finite() or not 0 < credits <= _MAX_GRANT or credits * 1000 % 1:
        raise PageError(400, "credits: give a number above 0, with at most three decimals.")
    return int(credits * 1000)
