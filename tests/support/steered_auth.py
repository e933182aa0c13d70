"""The real auth service over its store in memory, with faults on command and its books at hand."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry

from matteworks.auth.v1 import auth_pb2
from matteworks_auth.authenticator import Authenticator
from matteworks_auth.metrics import AuthMetrics
from matteworks_auth.rules.keys import KeyHasher, KeyRecord
from matteworks_auth.rules.plans import Plans, load_plans
from matteworks_auth.servicer import AuthServicer
from matteworks_auth.settings import AuthSettings
from matteworks_auth.stores.memory.store import MemoryAccountStore
from matteworks_common.errors import MatteworksError
from tests.support.clock import ManualClock

T = TypeVar("T")
_SETTINGS = AuthSettings.model_validate(
    {"store_url": "memory:", "key_pepper": "p" * 32, "admin_token": "t" * 32}
)


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns that never waits, as those of the store in memory do."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    raise AssertionError("the store in memory waited for something")


class Books:
    """What one account has, by auth's own store."""

    def __init__(self, store: MemoryAccountStore, account_id: str) -> None:
        self._store = store
        self.account_id = account_id

    @property
    def spent_milli(self) -> int:
        return at_once(self._store.get_account(self.account_id)).spent

    @property
    def held_milli(self) -> int:
        return at_once(self._store.get_account(self.account_id)).held

    @property
    def free_calls(self) -> int:
        return at_once(self._store.get_account(self.account_id)).free_calls


class SteeredAuth(AuthServicer):
    """Auth, whose answers a test can hold up or replace.

    `failures[rpc]` is raised instead of an answer, first to last; `calls` are the RPCs in order.
    """

    def __init__(self) -> None:
        self._clock_of_tests = ManualClock()
        self._plans_of_tests = load_plans(_SETTINGS.plans_file)
        self.store = MemoryAccountStore(
            Plans(self._plans_of_tests.by_name, self._plans_of_tests.default),
            self._clock_of_tests,
            round(_SETTINGS.repeat_window_s * 1e6),
            3_600_000_000,
        )
        self._hasher = KeyHasher(b"p" * 32)
        metrics = AuthMetrics(CollectorRegistry())
        authenticator = Authenticator(self.store, self._hasher, self._clock_of_tests, 0.0, metrics)
        super().__init__(
            self.store,
            self._plans_of_tests,
            authenticator,
            self._clock_of_tests,
            _SETTINGS.reservation_ttl_s,
            metrics,
        )
        self._numbers = itertools.count()
        self.books: dict[str, Books] = {}
        self.failures: dict[str, list[MatteworksError]] = {}
        self.calls: list[str] = []
        self.reserve_requests: list[auth_pb2.ReserveRequest] = []
        self.pause: dict[str, asyncio.Event] = {}
        self.entered: dict[str, asyncio.Event] = {}
        self.released = asyncio.Event()

    def new_key(self, *, credits_milli: int = 10_000, free_calls: int = 0, is_test: bool = False) -> str:
        """A key of a new account."""
        account_id = f"acc-{next(self._numbers):08d}"
        plan = replace(self._plans_of_tests.find("starter"), free_calls_per_month=free_calls)
        at_once(self.store.create_account(account_id, "", plan))
        if credits_milli:
            at_once(self.store.grant(account_id, account_id, "subscription", credits_milli))
        made = self._hasher.new_key("test" if is_test else "live")
        record = KeyRecord(made.key_id, account_id, made.secret_hash, "", is_test, 1)
        at_once(self.store.put_key(record))
        self.books[made.text] = Books(self.store, account_id)
        return made.text

    def hold_up(self, rpc: str) -> asyncio.Event:
        """Let calls of `rpc` wait until the returned event is set; `entered[rpc]` tells that one waits."""
        self.entered[rpc] = asyncio.Event()
        self.pause[rpc] = asyncio.Event()
        return self.pause[rpc]

    async def _enter(self, rpc: str) -> None:
        self.calls.append(rpc)
        if rpc in self.pause:
            self.entered[rpc].set()
            await self.pause[rpc].wait()
        if self.failures.get(rpc):
            raise self.failures[rpc].pop(0)

    async def Authenticate(self, request: Any, context: Any) -> auth_pb2.AuthenticateResponse:
        await self._enter("Authenticate")
        return await super().Authenticate(request, context)

    async def Reserve(self, request: Any, context: Any) -> auth_pb2.ReserveResponse:
        await self._enter("Reserve")
        self.reserve_requests.append(request)
        return await super().Reserve(request, context)

    async def Commit(self, request: Any, context: Any) -> auth_pb2.CommitResponse:
        await self._enter("Commit")
        return await super().Commit(request, context)

    async def Release(self, request: Any, context: Any) -> auth_pb2.ReleaseResponse:
        await self._enter("Release")
        try:
            return await super().Release(request, context)
        finally:
            self.released.set()

    async def GetAccount(self, request: Any, context: Any) -> auth_pb2.GetAccountResponse:
        await self._enter("GetAccount")
        return await super().GetAccount(request, context)
