"""The keys of an account: made, replaced, restricted, ended."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from matteworks.auth.v1 import auth_pb2, key_restrictions_pb2
from matteworks_common.clock import Clock
from matteworks_console.clients import AccountsClient
from matteworks_console.errors import PageError
from matteworks_console.rendering import Renderer
from matteworks_console.security.access import Access
from matteworks_console.security.forms import Form, check_once, new_form_id
from matteworks_console.security.session_store import SessionStore
from matteworks_console.security.sessions import Session

MAX_DAYS: Final = 3650
MAX_OVERLAP_HOURS: Final = 24 * 30


class KeyPages:
    """`/console/accounts/ID/keys`."""

    def __init__(
        self, renderer: Renderer, access: Access, accounts: AccountsClient, store: SessionStore, clock: Clock
    ) -> None:
        self._renderer = renderer
        self._access = access
        self._accounts = accounts
        self._store = store
        self._clock = clock

    @property
    def routes(self) -> list[Route]:
        keys = "/console/accounts/{account_id}/keys"
        return [
            Route(keys, self.page, methods=["GET"]),
            Route(keys, self.create, methods=["POST"]),
            Route(keys + "/{key_id}/rotate", self.rotate, methods=["POST"]),
            Route(keys + "/{key_id}/restrict", self.restrict, methods=["POST"]),
            Route(keys + "/{key_id}/revoke", self.revoke, methods=["POST"]),
        ]

    async def page(self, request: Request) -> Response:
        """All keys, without secrets."""
        session, account_id = await self._access.for_account(request)
        return await self._show(session, account_id)

    async def create(self, request: Request) -> Response:
        """A new key; its secret is on this one page and nowhere else."""
        session, account_id = await self._access.for_account(request)
        form = await self._access.form(request, session)
        wanted = auth_pb2.CreateKeyRequest(
            account_id=account_id,
            display_name=form.text("display_name", 200),
            is_test=form.text("kind") == "test",
            dialect=form.text("dialect", 32),
            restrictions=_restrictions(form),
        )
        if form.text("days"):
            wanted.time_to_live.FromTimedelta(timedelta(days=form.whole_number("days", 1, MAX_DAYS)))
        await check_once(self._store, form)
        made = await self._accounts.create_key(wanted, session.actor)
        return await self._show(session, account_id, secret=made.api_key, secret_of=made.key)

    async def rotate(self, request: Request) -> Response:
        """A successor; the old key works on for the overlap."""
        session, key = await self._own_key(request)
        form = await self._access.form(request, session)
        wanted = auth_pb2.RotateKeyRequest(key_id=key.key_id)
        hours = form.whole_number("overlap_hours", 0, MAX_OVERLAP_HOURS)
        wanted.overlap.FromTimedelta(timedelta(hours=hours))
        await check_once(self._store, form)
        made = await self._accounts.rotate_key(wanted, session.actor)
        return await self._show(session, key.account_id, secret=made.api_key, secret_of=made.key)

    async def restrict(self, request: Request) -> Response:
        """Where, and until when, the key may be used from now on."""
        session, key = await self._own_key(request)
        form = await self._access.form(request, session)
        wanted = auth_pb2.UpdateKeyRequest(key_id=key.key_id, restrictions=_restrictions(form))
        if form.text("days"):
            days = form.whole_number("days", 1, MAX_DAYS)
            wanted.expire_time.FromNanoseconds(round((self._clock.unix_s() + days * 86_400) * 1e9))
            if _ends_before(key, wanted.expire_time):
                raise PageError(400, "days: The key ends before that already, and an end never moves away.")
        await self._accounts.restrict_key(wanted, session.actor)
        return RedirectResponse(f"/console/accounts/{key.account_id}/keys", status_code=303)

    async def revoke(self, request: Request) -> Response:
        """The key ends, at once and for good."""
        session, key = await self._own_key(request)
        await self._access.form(request, session)
        await self._accounts.revoke_key(key.key_id, session.actor)
        return RedirectResponse(f"/console/accounts/{key.account_id}/keys", status_code=303)

    async def _own_key(self, request: Request) -> tuple[Session, auth_pb2.Key]:
        # Auth's administration knows no owners: that the key is this account's is checked here.
        session, account_id = await self._access.for_account(request)
        for key in await self._accounts.keys(account_id):
            if key.key_id == request.path_params["key_id"]:
                return session, key
        raise PageError(404, "This account has no such key.")

    async def _show(
        self,
        session: Session,
        account_id: str,
        secret: str = "",
        secret_of: auth_pb2.Key | None = None,
    ) -> Response:
        answer = await self._accounts.account(account_id)
        now_s = self._clock.unix_s()
        keys = [(_state(key, now_s), key) for key in reversed(await self._accounts.keys(account_id))]
        return self._renderer.page(
            "keys.html",
            session=session,
            account=answer.account,
            keys=[entry for entry in keys if entry[0] == "active"],
            ended_keys=[entry for entry in keys if entry[0] != "active"],
            secret=secret,
            secret_of=secret_of,
            form_id=new_form_id,
            max_days=MAX_DAYS,
            max_overlap_hours=MAX_OVERLAP_HOURS,
        )


def _ends_before(key: auth_pb2.Key, time: Timestamp) -> bool:
    return key.HasField("expire_time") and key.expire_time.ToNanoseconds() < time.ToNanoseconds()


def _state(key: auth_pb2.Key, now_s: float) -> str:
    if key.HasField("revoke_time"):
        return "revoked"
    if key.HasField("expire_time") and key.expire_time.ToNanoseconds() / 1e9 <= now_s:
        return "expired"
    return "active"


def _restrictions(form: Form) -> key_restrictions_pb2.KeyRestrictions:
    return key_restrictions_pb2.KeyRestrictions(
        allowed_origins=form.lines("allowed_origins"),
        allowed_networks=form.lines("allowed_networks"),
        allowed_dialects=form.lines("allowed_dialects"),
    )
