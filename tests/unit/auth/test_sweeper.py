"""The sweeper goes on, whatever one sweep meets."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from matteworks_auth.metrics import AuthMetrics
from matteworks_auth.rules.plans import Plan, Plans
from matteworks_auth.stores.memory.store import MemoryAccountStore
from matteworks_auth.stores.refusals import store_unavailable
from matteworks_auth.sweeper import Sweeper
from tests.support.clock import ManualClock

PLANS = Plans({"plain": Plan("plain", 500, 0, 0, 0, 0, 0)}, "plain")


class FailingOnceStore(MemoryAccountStore):
    """Raises `error` in the first sweep; `swept` is set by the second."""

    def __init__(self, error: Exception) -> None:
        super().__init__(PLANS, ManualClock(), 0, 3_600_000_000)
        self._errors = [error]
        self.swept = asyncio.Event()

    async def release_overdue(self) -> int:
        if self._errors:
            raise self._errors.pop()
        self.swept.set()
        return 3


@pytest.mark.parametrize("error", [store_unavailable(), ValueError("a bug")], ids=["away", "bug"])
async def test_a_failed_sweep_is_counted_and_followed_by_another(error: Exception) -> None:
    registry = CollectorRegistry()
    store = FailingOnceStore(error)
    task = asyncio.create_task(Sweeper(store, 0.001, AuthMetrics(registry)).run())
    async with asyncio.timeout(5):
        await store.swept.wait()
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert registry.get_sample_value("matteworks_auth_sweep_failures_total") == 1
    assert (registry.get_sample_value("matteworks_auth_overdue_reservations_total") or 0) >= 3
