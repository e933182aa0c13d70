"""The queue in front of a device that serves one batch at a time.

Nothing here knows what an item is. Items of equal key may share a batch; keys take turns. A batch forms
when the device is free, from what is waiting, or as soon as a full one waits: then it is prepared ahead and
handed to the device's thread, which takes it up the moment the one before ends. A fast device would otherwise
idle until a busy event loop gets round to giving it more work.

Invariants:
  * a future ends exactly once: with its result, an error, or its caller's cancellation;
  * an item that is cancelled or expired is never run, unless the device already has it;
  * nothing waits by polling, and nothing is unbounded.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

import structlog

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.clock import Clock
from matteworks_common.errors import DeadlineExceeded, MatteworksError, Unavailable
from matteworks_inference.queueing.contract import (
    BatchLimits,
    BatchRunner,
    DeviceLost,
    Outcome,
    QueueObserver,
    overloaded,
)

# Batches that the device's thread has: one that runs, and one that it finds when that ends.
_DEVICE_BATCHES: Final = 2
# How fast the remembered time per item follows what is measured: a share of each new batch.
_FOLLOWING: Final = 0.2
log = structlog.get_logger()

KeyT = TypeVar("KeyT", bound=Hashable)
ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


@dataclass(eq=False)
class _Entry(Generic[KeyT, ItemT, ResultT]):
    key: KeyT
    item: ItemT
    cost: int
    submitted_s: float
    future: asyncio.Future[Outcome[ResultT]]


@dataclass(eq=False)
class _Batch(Generic[KeyT, ItemT, ResultT]):
    key: KeyT
    entries: list[_Entry[KeyT, ItemT, ResultT]] = field(default_factory=list)


@dataclass(frozen=True)
class _Turn(Generic[ResultT]):
    """What the device made of a batch."""

    started_s: float
    run_s: float
    results: Sequence[ResultT]
    failure: Exception | None


class BatchQueue(Generic[KeyT, ItemT, ResultT]):
    """Bounded, fair, and honest about time. Use from one event loop.

    `most_items_of` says how many items of a key may share a batch, because not every network can batch.
    `on_lost` is called once when the device or the dispatcher is gone for good.
    """

    def __init__(
        self,
        runner: BatchRunner[KeyT, ItemT, ResultT],
        limits: BatchLimits,
        *,
        clock: Clock,
        observer: QueueObserver,
        device_thread: Executor,
        preparing_thread: Executor,
        most_items_of: Callable[[KeyT], int] | None = None,
        on_lost: Callable[[], None] | None = None,
    ) -> None:
        self._runner = runner
        self._limits = limits
        self._clock = clock
        self._observer = observer
        self._device_thread = device_thread
        self._preparing_thread = preparing_thread
        self._most_items_of = most_items_of
        self._on_lost = on_lost
        # The first key is served next; a key that was served moves to the end.
        self._waiting: OrderedDict[KeyT, deque[_Entry[KeyT, ItemT, ResultT]]] = OrderedDict()
        self._waiting_count = 0
        # Batches that were taken from the queue and have not ended: running, handed over, in preparation.
        self._taken: list[_Batch[KeyT, ItemT, ResultT]] = []
        self._changed = asyncio.Condition()
        self._device_batch_count = 0
        # Written by the device's thread, which must not believe its device again, whatever waits for it.
        self._is_device_lost = False
        self._is_closing = False
        self._lost: BaseException | None = None
        self._item_run_s: dict[KeyT, float] = {}
        self._dispatcher: asyncio.Task[None] | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._notices: set[asyncio.Task[None]] = set()

    @property
    def is_alive(self) -> bool:
        """Whether items that are submitted now can be run."""
        dispatcher = self._dispatcher
        return (
            dispatcher is not None and not dispatcher.done() and self._lost is None and not self._is_closing
        )

    @property
    def lost(self) -> BaseException | None:
        """Why the device or the dispatcher is gone; None while it is not."""
        return self._lost

    @property
    def waiting_count(self) -> int:
        """Items that wait for the device."""
        return self._waiting_count

    @property
    def handed_over_count(self) -> int:
        """Batches that the device's thread has: the one that runs and the one after it."""
        return self._device_batch_count

    @property
    def expected_wait_s(self) -> float:
        """Seconds until the device would take an item submitted now, from the time of recent items."""
        ahead = [(batch.key, len(batch.entries)) for batch in self._taken]
        ahead += [(key, len(entries)) for key, entries in self._waiting.items()]
        return sum(count * self._item_run_s.get(key, 0.0) for key, count in ahead)

    def start(self) -> None:
        """Begin to serve."""
        self._dispatcher = asyncio.create_task(self._dispatch())
        self._dispatcher.add_done_callback(self._dispatcher_ended)

    async def submit(
        self, key: KeyT, item: ItemT, *, cost: int = 1, deadline_s: float | None = None
    ) -> Outcome[ResultT]:
        """The outcome of `item`, at the latest at `deadline_s` on the clock's monotonic scale.

        Raises LimitExceeded (OVERLOADED) at once when the queue is full or the item could not begin in
        time, and later when it has waited too long; DeadlineExceeded at its deadline, also while it
        runs; Unavailable when the engine failed or the queue closes.
        """
        now_s = self._clock.monotonic_s()
        self._admit(now_s, deadline_s)
        entry = _Entry(key, item, cost, now_s, asyncio.get_running_loop().create_future())
        self._waiting.setdefault(key, deque()).append(entry)
        self._count_waiting(+1)
        timers = self._set_timers(entry, now_s, deadline_s)
        try:
            await self._notify()
            return await entry.future
        except asyncio.CancelledError:
            # The device may have it already; then only the answer is dropped.
            if self._forget(entry):
                self._observer.item_dropped("cancelled")
            raise
        finally:
            for timer in timers:
                timer.cancel()

    async def close(self, grace_s: float) -> bool:
        """Refuse new items, finish what fits into `grace_s`, fail the rest with Unavailable.

        False: the device is still at work and may never end; its thread cannot be joined.
        """
        async with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        dispatcher = self._dispatcher
        if dispatcher is not None and not dispatcher.done():
            try:
                async with asyncio.timeout(grace_s):
                    async with self._changed:
                        await self._changed.wait_for(lambda: self._is_idle or self._lost is not None)
            except TimeoutError:
                log.warning("queue_not_finished", waiting_count=self._waiting_count)
            dispatcher.cancel()
            await asyncio.gather(dispatcher, return_exceptions=True)
        closing = Unavailable("The server is shutting down.")
        self._fail_waiting(closing, "closed")
        for batch in self._taken:
            for entry in batch.entries:
                self._end(entry, closing)
        return self._device_batch_count == 0

    @property
    def _is_idle(self) -> bool:
        return self._waiting_count == 0 and not self._taken

    # --- admission and expiry ------------------------------------------------------------------

    def _admit(self, now_s: float, deadline_s: float | None) -> None:
        if self._lost is not None:
            raise Unavailable(
                "The engine of this server is gone; it restarts.", reason=reasons.ERROR_REASON_ENGINE_FAILED
            )
        if not self.is_alive:
            raise Unavailable("The server is starting or shutting down.")
        if deadline_s is not None and deadline_s <= now_s:
            self._observer.item_dropped("late")
            raise DeadlineExceeded()
        expected_s = self.expected_wait_s
        if self._waiting_count >= self._limits.max_queued_items:
            self._observer.item_dropped("full")
            raise overloaded("The queue is full.", expected_s)
        most_s = self._limits.max_wait_s
        if deadline_s is not None:
            most_s = min(most_s, deadline_s - now_s)
        # Waiting for nothing helps nobody: the caller can still go elsewhere now.
        if expected_s > most_s:
            self._observer.item_dropped("late")
            raise overloaded("The queue is too long for the time that is left.", expected_s)

    def _set_timers(
        self, entry: _Entry[KeyT, ItemT, ResultT], now_s: float, deadline_s: float | None
    ) -> list[asyncio.TimerHandle]:
        """An item ends at its own time, not when the batch before it does."""
        loop = asyncio.get_running_loop()
        timers = [loop.call_later(self._limits.max_wait_s, self._waited, entry)]
        if deadline_s is not None:
            timers.append(loop.call_later(deadline_s - now_s, self._expire, entry))
        return timers

    def _expire(self, entry: _Entry[KeyT, ItemT, ResultT]) -> None:
        if not entry.future.done():
            entry.future.set_exception(DeadlineExceeded())
            if self._forget(entry):
                self._observer.item_dropped("expired")

    def _waited(self, entry: _Entry[KeyT, ItemT, ResultT]) -> None:
        if not entry.future.done() and self._forget(entry):
            self._observer.item_dropped("waited")
            entry.future.set_exception(
                overloaded("The request waited too long for the device.", self.expected_wait_s)
            )

    def _forget(self, entry: _Entry[KeyT, ItemT, ResultT]) -> bool:
        """Take `entry` out of the queue; False: it had left already."""
        entries = self._waiting.get(entry.key)
        if entries is None or entry not in entries:
            return False
        entries.remove(entry)
        if not entries:
            del self._waiting[entry.key]
        self._count_waiting(-1)
        # Whoever closes the queue waits for it to be empty.
        task = asyncio.create_task(self._notify())
        self._notices.add(task)
        task.add_done_callback(self._notices.discard)
        return True

    def _count_waiting(self, change: int) -> None:
        self._waiting_count += change
        self._observer.depth_changed(self._waiting_count)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    # --- dispatch --------------------------------------------------------------------------------

    async def _dispatch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            batch = await self._next_batch()
            try:
                prepared = await loop.run_in_executor(
                    self._preparing_thread,
                    self._runner.prepare,
                    batch.key,
                    [entry.item for entry in batch.entries],
                )
            except Exception as error:
                log.exception("batch_not_prepared", item_count=len(batch.entries))
                await self._finish(batch, error)
                continue
            self._device_batch_count += 1
            turn = loop.run_in_executor(self._device_thread, self._take_turn, batch, prepared)
            # A task of its own: the next batch is prepared meanwhile.
            task = asyncio.create_task(self._see_through(batch, turn))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _next_batch(self) -> _Batch[KeyT, ItemT, ResultT]:
        """The next batch: once the device is free and something waits, or once a full one waits."""
        async with self._changed:
            while True:
                await self._changed.wait_for(
                    lambda: self._waiting_count > 0 and self._device_batch_count < _DEVICE_BATCHES
                )
                if self._has_full_batch():
                    break
                if self._device_batch_count:
                    await self._changed.wait()
                    continue
                oldest_s = next(iter(self._waiting.values()))[0].submitted_s
                hold_s = oldest_s + self._limits.max_queue_delay_s - self._clock.monotonic_s()
                if self._limits.max_queue_delay_s <= 0 or hold_s <= 0 or self._is_closing:
                    break
                try:
                    async with asyncio.timeout(hold_s):
                        await self._changed.wait()
                except TimeoutError:
                    if self._waiting_count:
                        break
            return self._take()

    def _most_items(self, key: KeyT) -> int:
        most = self._limits.max_batch_items
        return most if self._most_items_of is None else min(most, self._most_items_of(key))

    def _has_full_batch(self) -> bool:
        key, entries = next(iter(self._waiting.items()))
        cost = sum(entry.cost for entry in entries)
        return len(entries) >= self._most_items(key) or cost >= self._limits.max_batch_cost

    def _take(self) -> _Batch[KeyT, ItemT, ResultT]:
        key, entries = next(iter(self._waiting.items()))
        batch: _Batch[KeyT, ItemT, ResultT] = _Batch(key)
        cost = 0
        while entries and len(batch.entries) < self._most_items(key):
            # The first item is always taken: one above the budget runs alone and blocks nobody.
            if batch.entries and cost + entries[0].cost > self._limits.max_batch_cost:
                break
            entry = entries.popleft()
            cost += entry.cost
            batch.entries.append(entry)
        if entries:
            self._waiting.move_to_end(key)
        else:
            del self._waiting[key]
        self._taken.append(batch)
        self._count_waiting(-len(batch.entries))
        return batch

    async def _see_through(
        self, batch: _Batch[KeyT, ItemT, ResultT], coming: Awaitable[_Turn[ResultT] | None]
    ) -> None:
        try:
            turn = await coming
        finally:
            self._device_batch_count -= 1
        if turn is None:
            # Everybody left while the device was busy with the batch before.
            for _ in batch.entries:
                self._observer.item_dropped("abandoned")
            await self._finish(batch, None)
            return
        item_count = len(batch.entries)
        self._observer.batch_finished(item_count, turn.run_s)
        if turn.failure is not None:
            log.error("batch_failed", item_count=item_count, exc_info=turn.failure)
            await self._finish(batch, turn.failure)
            return
        self._learn(batch.key, turn.run_s / item_count)
        for entry, result in zip(batch.entries, turn.results, strict=True):
            if not entry.future.done():
                queue_s = turn.started_s - entry.submitted_s
                entry.future.set_result(Outcome(result, queue_s, turn.run_s, item_count))
        await self._finish(batch, None)

    def _take_turn(self, batch: _Batch[KeyT, ItemT, ResultT], prepared: Any) -> _Turn[ResultT] | None:
        """Run `batch` on the device's thread; None: nobody waits for it any more."""
        if all(entry.future.done() for entry in batch.entries):
            self._runner.discard(prepared)
            return None
        started_s = self._clock.monotonic_s()
        results: Sequence[ResultT] = ()
        failure: Exception | None = None
        try:
            if self._is_device_lost:
                raise DeviceLost("the batch before this one lost the device")
            results = self._runner.run(prepared)
            if len(results) != len(batch.entries):
                failure = RuntimeError(f"{len(results)} results for {len(batch.entries)} items")
        except Exception as error:
            failure = error
            self._is_device_lost = isinstance(error, DeviceLost)
        return _Turn(started_s, self._clock.monotonic_s() - started_s, results, failure)

    def _learn(self, key: KeyT, item_s: float) -> None:
        known_s = self._item_run_s.get(key, item_s)
        self._item_run_s[key] = known_s + _FOLLOWING * (item_s - known_s)

    async def _finish(self, batch: _Batch[KeyT, ItemT, ResultT], failure: BaseException | None) -> None:
        self._taken.remove(batch)
        if failure is not None:
            for entry in batch.entries:
                self._end(entry, failure)
            if isinstance(failure, DeviceLost):
                self._lose(failure)
        await self._notify()

    @staticmethod
    def _end(entry: _Entry[KeyT, ItemT, ResultT], failure: BaseException) -> None:
        if entry.future.done():
            return
        if isinstance(failure, MatteworksError):
            entry.future.set_exception(failure)
            return
        error = Unavailable("The engine failed on this request.", reason=reasons.ERROR_REASON_ENGINE_FAILED)
        error.__cause__ = failure
        entry.future.set_exception(error)

    def _fail_waiting(self, failure: MatteworksError, reason: str) -> None:
        waiting = [entry for entries in self._waiting.values() for entry in entries]
        self._waiting.clear()
        for entry in waiting:
            self._observer.item_dropped(reason)
            self._end(entry, failure)
        self._count_waiting(-len(waiting))

    def _dispatcher_ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        error = task.exception() or RuntimeError("the dispatcher ended")
        log.error("dispatcher_ended", exc_info=error)
        self._lose(error)

    def _lose(self, cause: BaseException) -> None:
        is_first = self._lost is None
        self._lost = cause
        self._fail_waiting(
            Unavailable("The engine is gone.", reason=reasons.ERROR_REASON_ENGINE_FAILED), "lost"
        )
        if is_first and self._on_lost is not None:
            self._on_lost()
