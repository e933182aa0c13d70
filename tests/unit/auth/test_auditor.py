"""The look through the books finds what is there, and outlives a store that is away."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from prometheus_client import CollectorRegistry

from matteworks_auth.auditor import Auditor
from matteworks_auth.metrics import AuthMetrics
from matteworks_auth.rules.plans import Plan, Plans
from matteworks_auth.stores.contract import AccountRecord
from matteworks_auth.stores.memory.store import MemoryAccountStore
from matteworks_auth.stores.refusals import store_unavailable
from tests.support.clock import ManualClock

PLAIN = Plan("plain", 500, 0, 0, 0, 0, 0)
PLANS = Plans({"plain": PLAIN}, "plain")


class LosingStore(MemoryAccountStore):
    """Of the account `lost` a part has vanished; the first looks fail while `is_away`."""

    def __init__(self) -> None:
        super().__init__(PLANS, ManualClock(), 0, 3_600_000_000)
        self.is_away = False
        self._rounds = 0
        self.listed_twice = asyncio.Event()

    async def list_accounts(self, after: str = "", prefix: str = "", limit: int = 0) -> list[str]:
        if self.is_away:
            self.is_away = False
            raise store_unavailable()
        self._rounds += not after
        if self._rounds == 2:
            self.listed_twice.set()
        return await super().list_accounts(after, prefix, limit)

    async def get_account(self, account_id: str) -> AccountRecord:
        record = await super().get_account(account_id)
        return replace(record, payg=record.payg - 7) if account_id == "lost" else record


async def accounts(*granted: tuple[str, int]) -> LosingStore:
    store = LosingStore()
    for account_id, credits_milli in granted:
        await store.create_account(account_id, "", PLAIN)
        if credits_milli:
            await store.grant(f"grant-{account_id}", account_id, "payg", credits_milli)
    return store


async def test_a_look_tells_sums_states_and_what_vanished() -> None:
    store = await accounts(("rich", 90_000), ("poor", 4_000), ("lost", 50_000), ("none", 0))
    registry = CollectorRegistry()

    await Auditor(store, ManualClock(), 60, 10_000, AuthMetrics(registry)).look()

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"matteworks_auth_{name}", labels)

    assert value("books_drift_milli") == 7
    assert {state: value("accounts", state=state) for state in ("all", "faulty", "low", "empty")} == {
        "all": 4, "faulty": 1, "low": 1, "empty": 1,
    }  # fmt: skip
    assert (value("books_credits_milli", state="granted") or 0) >= 144_000
    assert (value("books_look_timestamp_seconds") or 0) > 0


async def test_a_store_that_is_away_is_looked_at_again() -> None:
    store = await accounts(("rich", 90_000))
    store.is_away = True
    registry = CollectorRegistry()

    task = asyncio.create_task(Auditor(store, ManualClock(), 0.001, 0, AuthMetrics(registry)).run())
    async with asyncio.timeout(10):
        await store.listed_twice.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert registry.get_sample_value("matteworks_auth_accounts", {"state": "all"}) == 1
