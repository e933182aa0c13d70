"""What must be done without being asked: reminding the queue, sweeping results, delivering webhooks, telling
how much waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from matteworks_common.clock import Clock
from matteworks_common.errors import Unavailable
from matteworks_jobs.metrics import JobsMetrics
from matteworks_jobs.results.keeper import ResultKeeper
from matteworks_jobs.stores.items import ItemStore
from matteworks_jobs.stores.webhooks import WebhookStore
from matteworks_jobs.webhooks.deliverer import Deliverer
from matteworks_jobs.work.queue import ItemQueue

_REMINDED_AT_ONCE: Final = 1000
log = structlog.get_logger()


class Upkeep:
    """Each replica does all of it: every step is atomic in the store, and safe to do twice."""

    def __init__(
        self,
        items: ItemStore,
        queue: ItemQueue,
        keeper: ResultKeeper,
        deliverer: Deliverer,
        webhooks: WebhookStore,
        clock: Clock,
        metrics: JobsMetrics,
        interval_s: float,
    ) -> None:
        self._items = items
        self._queue = queue
        self._keeper = keeper
        self._deliverer = deliverer
        self._webhooks = webhooks
        self._clock = clock
        self._metrics = metrics
        self._interval_s = interval_s

    async def run(self) -> None:
        """Until cancelled. The duties do not wait for each other."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._repeat("remind", self.remind))
            group.create_task(self._repeat("sweep", self.sweep))
            group.create_task(self._repeat("deliver", self._deliverer.deliver_due))
            group.create_task(self._repeat("measure", self.measure))

    async def remind(self) -> int:
        """Queue open items again that the queue was not told of for a minute: whoever accepted them may
        have died in between, or the queue may have lost them. One that is queued is left alone.
        """
        count = 0
        while items := await self._items.forgotten(_REMINDED_AT_ONCE):
            await self._queue.put(items)
            await self._items.remembered(items)
            count += len(items)
        self._metrics.reminded.inc(count)
        return count

    async def sweep(self) -> int:
        """Delete what has expired."""
        count = await self._keeper.sweep()
        self._metrics.swept.inc(count)
        return count

    async def measure(self) -> int:
        """Tell how much waits, and how long."""
        now_s = self._clock.unix_s()
        waiting = await self._items.waiting_count()
        oldest_us = await self._items.oldest_us()
        due_count, due_us = await self._webhooks.overdue()
        self._metrics.waiting.set(waiting)
        self._metrics.oldest.set(max(0.0, now_s - oldest_us / 1e6) if oldest_us else 0)
        self._metrics.due.set(due_count)
        self._metrics.overdue.set(max(0.0, now_s - due_us / 1e6) if due_us else 0)
        return waiting

    async def _repeat(self, duty: str, act: Callable[[], Awaitable[int]]) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            try:
                await act()
            except* Unavailable:
                self._metrics.upkeep_failures.labels(duty).inc()
            except* Exception:
                # A bug in one round must not end all upkeep.
                self._metrics.upkeep_failures.labels(duty).inc()
                log.exception("upkeep_failed", duty=duty)
