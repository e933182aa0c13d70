"""The same tests on both stores: the memory of this process and a real Valkey."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from matteworks_auth.rules.plans import Plan, Plans
from matteworks_auth.stores.contract import AccountStore, AuditLimits
from matteworks_auth.stores.memory.store import MemoryAccountStore
from matteworks_auth.stores.valkey.connection import open_valkey
from matteworks_auth.stores.valkey.store import ValkeyAccountStore
from tests.support.clock import ManualClock
from tests.support.valkey import ValkeyProcess

REPEAT_WINDOW_US = 30_000_000
RECORD_TTL_US = 3_600_000_000
MAX_SETTLED = 20
AUDIT_LIMITS = AuditLimits(max_events=300, retention_ms=3_600_000)

PLANS = Plans(
    {
        plan.name: plan
        for plan in (
            Plan("plain", 500, 0, 0, 0, 10_000, 0),
            Plan("free", 500, 0, 0, 0, 0, 2),
            Plan("tight", 500, 2, 3, 5, 100_000, 0),
            Plan("wide", 1_000_000, 0, 0, 0, 0, 0, requests_per_minute=1_000_000),
            Plan("paced", 500, 0, 0, 0, 0, 0, requests_per_minute=3),
            Plan("metered", 500, 0, 2, 0, 0, 0, requests_per_minute=3),
            Plan("daily", 500, 0, 0, 0, 0, 3, free_calls_per_day=2),
            Plan("monthly", 500, 0, 0, 0, 0, 0, monthly_credits_milli=5000),
        )
    },
    "plain",
)


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyProcess]:
    directory: Path = tmp_path_factory.mktemp("valkey")
    process = ValkeyProcess(directory)
    process.start()
    try:
        yield process
    finally:
        process.kill()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=["memory", "valkey"])
async def store(
    request: pytest.FixtureRequest, clock: ManualClock, valkey: ValkeyProcess
) -> AsyncIterator[AccountStore]:
    if request.param == "memory":
        yield MemoryAccountStore(PLANS, clock, REPEAT_WINDOW_US, RECORD_TTL_US, MAX_SETTLED, AUDIT_LIMITS)
        return
    client = open_valkey(valkey.url, timeout_s=5)
    await client.flushdb()
    store = ValkeyAccountStore(
        client, PLANS, REPEAT_WINDOW_US, RECORD_TTL_US, clock, MAX_SETTLED, 5, AUDIT_LIMITS
    )
    yield store
    await store.close()
