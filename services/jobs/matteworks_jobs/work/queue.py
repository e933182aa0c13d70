"""The queue of items: streaq, behind the two things that we ask of a queue.

At least once: an item may be handed out again after its worker has died, so whoever works on one makes sure
that it ends once. Only ids travel, as JSON, signed: nobody who can write to Valkey can make a worker load
an object.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final

from anyio import CancelScope
from coredis.exceptions import RedisError
from streaq import StreaqRetry, Worker
from streaq.task import Task

from matteworks_common.errors import Unavailable

_NAME: Final = "matteworks-jobs"
# Lowest first. Large batches must not make a small one wait for hours.
_PRIORITIES: Final = ("large", "small")
LARGE_BATCH_ITEMS: Final = 100
Handler = Callable[[str, str], Awaitable[None]]


class TryLater(Exception):
    """The item cannot be worked on now; hand it out again after `delay_s`."""

    def __init__(self, delay_s: float) -> None:
        super().__init__()
        self.delay_s = delay_s


class ItemQueue:
    """`reclaim_s`: without a sign of life from its worker for so long, an item is handed out again."""

    def __init__(self, url: str, secret: str, *, reclaim_s: float = 10.0, concurrency: int = 1) -> None:
        logging.getLogger("streaq").setLevel(logging.ERROR)
        self._worker: Worker[Any] = _SteeredWorker(
            redis_url=url,
            queue_name=_NAME,
            priorities=list(_PRIORITIES),
            concurrency=concurrency,
            # What is fetched ahead by a worker that dies is idle for a whole reclaim time.
            prefetch=1,
            serializer=_to_bytes,
            deserializer=json.loads,
            signing_secret=secret,
            idle_timeout=reclaim_s,
        )
        self._handler: Handler | None = None

        async def run_item(account_id: str, item_id: str) -> None:
            assert self._handler is not None  # noqa: S101 - consume() has set it
            try:
                await self._handler(account_id, item_id)
            except TryLater as later:
                raise StreaqRetry(delay=timedelta(seconds=later.delay_s)) from None

        self._task = self._worker.task(name="item", max_tries=None, ttl=0, silent=True)(run_item)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[ItemQueue]:
        """Connected while the block runs; for `put`. The library wants its connection closed by the task that
        opened it, so it has a task of its own.
        """
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        closing = asyncio.Event()

        async def hold() -> None:
            async with self._worker:
                opened.set_result(None)
                await closing.wait()

        holding = asyncio.create_task(hold())
        await asyncio.wait((holding, opened), return_when=asyncio.FIRST_COMPLETED)
        if not opened.done():
            await holding
        try:
            yield self
        finally:
            closing.set()
            await holding

    async def put(self, items: Sequence[tuple[str, str]], *, is_large: bool = False) -> None:
        """Queue items, as account and id; one that is queued or running already is left alone. Raises
        Unavailable.
        """
        tasks: list[Task[Any, Any]] = []
        for account_id, item_id in items:
            task = self._task.enqueue(account_id, item_id).start(priority="large" if is_large else "small")
            task.id = item_id
            tasks.append(task)
        try:
            await self._worker.enqueue_many(tasks)
        except* (RedisError, OSError) as errors:
            raise Unavailable("The queue does not answer.") from errors

    async def consume(self, handler: Handler) -> None:
        """Hand out items until cancelled; those that are being worked on end first."""
        self._handler = handler
        await self._worker.run_async()


class _SteeredWorker(Worker[Any]):
    """Leaves signals to the process that it runs in."""

    async def signal_handler(self, scope: CancelScope) -> None:
        """Nothing: `consume` ends by being cancelled."""


def _to_bytes(value: Any) -> bytes:
    return json.dumps(value, default=str).encode()
