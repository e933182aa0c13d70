"""A console before a real auth service, and people with browsers that only keep cookies."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import httpx

from matteworks.auth.v1 import auth_pb2, auth_pb2_grpc, request_log_pb2, request_log_pb2_grpc
from matteworks.auth.v1.key_restrictions_pb2 import KeyRestrictions
from matteworks_auth.app import build as build_auth
from matteworks_auth.settings import AuthSettings
from matteworks_common.channels import call, open_channel
from matteworks_common.http_lifecycle import running as http_running
from matteworks_common.lifecycle import running as grpc_running
from matteworks_common.settings import MEBIBYTE
from matteworks_console.app import ConsoleDependencies, build
from matteworks_console.security.session_store import MemorySessionStore
from matteworks_console.settings import ConsoleSettings
from tests.support.clock import ManualClock

ADMIN_TOKEN = "admin-token-of-the-tests"
_ADMIN = (("authorization", f"Bearer {ADMIN_TOKEN}"),)
_TOKEN = re.compile(r'name="csrf" value="([^"]+)"')
_FORM_ID = re.compile(r'name="form_id" value="([^"]+)"')


@dataclass
class Person:
    """Somebody with a browser. `csrf` is the token of the last page."""

    http: httpx.AsyncClient
    csrf: str = ""
    form_id: str = ""

    async def get(self, path: str, **options: Any) -> httpx.Response:
        answer = await self.http.get(path, **options)
        self._read(answer.text)
        return answer

    async def post(self, path: str, headers: dict[str, str] | None = None, **fields: str) -> httpx.Response:
        """Send a form as the last page would, with its token and id unless `fields` say otherwise."""
        data = {"csrf": self.csrf, "form_id": self.form_id, **fields}
        answer = await self.http.post(path, data=data, headers=headers)
        self._read(answer.text)
        return answer

    async def sign_in(self, secret: str, **fields: str) -> httpx.Response:
        await self.get("/console/sign-in")
        return await self.post("/console/sign-in", secret=secret, **fields)

    def _read(self, page: str) -> None:
        found, form = _TOKEN.search(page), _FORM_ID.search(page)
        self.csrf = found[1] if found else self.csrf
        self.form_id = form[1] if form else self.form_id


@dataclass
class Site:
    """What runs. Accounts `a` and `b` have a live key each."""

    url: str
    auth_target: str
    clock: ManualClock
    auth: auth_pb2_grpc.AuthServiceAsyncStub
    admin: auth_pb2_grpc.KeyAdminServiceAsyncStub
    log: request_log_pb2_grpc.RequestLogServiceAsyncStub
    store: MemorySessionStore
    keys: dict[str, auth_pb2.CreateKeyResponse] = field(default_factory=dict)
    browsers: list[httpx.AsyncClient] = field(default_factory=list)

    def person(self, address: str = "203.0.113.7") -> Person:
        """Somebody new, whose requests come through a proxy from `address`."""
        http = httpx.AsyncClient(
            base_url=self.url, headers={"Accept": "text/html", "X-Forwarded-For": f"1.2.3.4, {address}"}
        )
        self.browsers.append(http)
        return Person(http)

    async def signed_in(self, account_id: str = "") -> Person:
        """Somebody with a key of the account; without one an operator."""
        person = self.person(f"198.51.100.{len(self.browsers)}")
        secret = self.keys[account_id].api_key if account_id else ADMIN_TOKEN
        answer = await person.sign_in(secret)
        assert answer.status_code == 303, answer.text
        return person

    async def make_account(self, account_id: str, display_name: str = "") -> None:
        request = auth_pb2.CreateAccountRequest(
            account_id=account_id, plan="development", display_name=display_name
        )
        await call(self.admin.CreateAccount, request, timeout_s=5, metadata=_ADMIN)

    async def make_key(
        self, account_id: str, is_test: bool = False, restrictions: KeyRestrictions | None = None
    ) -> auth_pb2.CreateKeyResponse:
        request = auth_pb2.CreateKeyRequest(account_id=account_id, is_test=is_test, restrictions=restrictions)
        return await call(self.admin.CreateKey, request, timeout_s=5, metadata=_ADMIN)

    async def live_keys(self, account_id: str) -> list[auth_pb2.Key]:
        request = auth_pb2.ListKeysRequest(account_id=account_id)
        answer = await call(self.admin.ListKeys, request, timeout_s=5, metadata=_ADMIN)
        return [key for key in answer.keys if not key.HasField("revoke_time")]

    async def spend(self, account_id: str, request_id: str, dialect: str = "removebg") -> None:
        """A removal that costs one credit."""
        reserve = auth_pb2.ReserveRequest(
            request_id=request_id, account_id=account_id, key_id=self.keys[account_id].key.key_id,
            prices=[auth_pb2.Price(credits_milli=1000)], megapixels=1, dialect=dialect,
        )  # fmt: skip
        held = await call(self.auth.Reserve, reserve, timeout_s=5)
        commit = auth_pb2.CommitRequest(reservation_id=held.reservation_id, request_id=request_id)
        await call(self.auth.Commit, commit, timeout_s=5)

    async def note(self, account_id: str, request_id: str, **facts: Any) -> None:
        """A request that has ended."""
        record = request_log_pb2.RequestRecord(
            **{"request_id": request_id, "account_id": account_id, "dialect": "removebg", "route": "removebg",
               "status": 200, "outcome": "ok", "key_id": self.keys[account_id].key.key_id, **facts}
        )  # fmt: skip
        record.start_time.FromMicroseconds(round(self.clock.unix_s() * 1e6))
        self.clock.advance(1)
        record.duration.FromMilliseconds(100)
        for stage, milliseconds in (("reserve", 10), ("render", 80), ("render.decode", 20)):
            record.stages.add(stage=stage).duration.FromMilliseconds(milliseconds)
        request = request_log_pb2.RecordRequestsRequest(records=[record])
        await call(self.log.RecordRequests, request, timeout_s=5)

    async def credits_milli(self, account_id: str) -> int:
        answer = await call(
            self.auth.GetAccount, auth_pb2.GetAccountRequest(account_id=account_id), timeout_s=5
        )
        return answer.account.payg_credits_milli


@asynccontextmanager
async def running_site(**settings: Any) -> AsyncIterator[Site]:
    """Auth in memory, a console before it, and two accounts."""
    clock = ManualClock()
    auth_settings = AuthSettings(
        store_url="memory:", key_pepper="pepper-of-the-tests", admin_token=ADMIN_TOKEN, drain_delay_s=0,
        key_cache_s=0,
    )  # fmt: skip
    async with (
        grpc_running(await build_auth(auth_settings, clock), auth_settings) as auth,
        site_before(f"127.0.0.1:{auth.port}", clock, **settings) as site,
    ):
        for account_id in ("a", "b"):
            await site.make_account(account_id)
            site.keys[account_id] = await site.make_key(account_id)
        yield site


@asynccontextmanager
async def site_before(auth_target: str, clock: ManualClock, **settings: Any) -> AsyncIterator[Site]:
    """A console before an auth service that runs."""
    store = MemorySessionStore(clock)
    console_settings = ConsoleSettings(
        listen_address="127.0.0.1:0", drain_delay_s=0, grace_s=1, auth_target=auth_target,
        # Nobody serves these there.
        inference_target=auth_target, compositor_target=auth_target, admin_token=ADMIN_TOKEN, **settings,
    )  # fmt: skip
    console = await build(console_settings, ConsoleDependencies(clock, store, poll_s=0.02))
    async with (
        http_running(console, console_settings) as service,
        open_channel(auth_target, 96 * MEBIBYTE) as channel,
    ):
        site = Site(f"http://127.0.0.1:{service.port}", auth_target, clock, *_stubs(channel), store)
        try:
            yield site
        finally:
            for browser in site.browsers:
                await browser.aclose()


def _stubs(
    channel: grpc.aio.Channel,
) -> tuple[
    auth_pb2_grpc.AuthServiceAsyncStub,
    auth_pb2_grpc.KeyAdminServiceAsyncStub,
    request_log_pb2_grpc.RequestLogServiceAsyncStub,
]:
    auth: Any = auth_pb2_grpc.AuthServiceStub(channel)
    admin: Any = auth_pb2_grpc.KeyAdminServiceStub(channel)
    log: Any = request_log_pb2_grpc.RequestLogServiceStub(channel)
    return auth, admin, log
