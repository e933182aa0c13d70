"""Gives back reservations that nobody settled: their callers died between the two steps."""

from __future__ import annotations

import asyncio

import structlog

from matteworks_auth.metrics import AuthMetrics
from matteworks_auth.stores.contract import AccountStore
from matteworks_common.errors import Unavailable

log = structlog.get_logger()


class Sweeper:
    """Any look at an account gives its overdue reservations back too; this reaches the idle accounts.

    Each replica sweeps: giving back is atomic in the store, so nothing is given back twice.
    """

    def __init__(self, store: AccountStore, interval_s: float, metrics: AuthMetrics) -> None:
        self._store = store
        self._interval_s = interval_s
        self._metrics = metrics

    async def run(self) -> None:
        """Sweep until cancelled; a store that is away is tried again at the next turn."""
        while True:
            await asyncio.sleep(self._interval_s)
            try:
                count = await self._store.release_overdue()
            except Unavailable:
                self._metrics.sweep_failures.inc()
                continue
            except Exception:
                # A bug must not end the sweeping: what is held would stay held.
                self._metrics.sweep_failures.inc()
                log.exception("sweep_failed")
                continue
            if count:
                self._metrics.overdue.inc(count)
                log.info("overdue_reservations_released", count=count)
