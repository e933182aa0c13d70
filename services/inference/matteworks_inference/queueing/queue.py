"""The queue in front of a device that serves one batch at a time.

Nothing here knows what an item is. Items of equal key may share a batch; keys take turns. A batch forms
when the device is free, from what is waiting, or as soon as a full one waits: then it is prepared ahead and
handed to the device's thread, which takes it up the moment the one before ends. A fast device would otherwise
idle until a busy event loop gets round to giving it more work.

Invariants:
  * a future ends exactly once: with its result, an error, or its caller's cancellation;
  * an item that is cancelled or expired is never run, unless the device already has it;
  * nothing waits by polling, and nothing is unbounded; all waiting is by the clock that was given.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Final, Generic

import structlog

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.clock import Clock, Timer
from matteworks_common.errors import DeadlineExceeded, MatteworksError, Unavailable, overloaded
from matteworks_inference.queueing.contract import (
    BatchLimits,
    BatchRunner,
    DeviceLost,
    Outcome,
    QueueObserver,
)
from matteworks_inference.queueing.turns import DeviceTurns, Turn
from matteworks_inference.queueing.waiting import Entry, ItemT, KeyT, ResultT, WaitingLine

# Batches that the device's thread has: one that runs, and one that it finds when that ends.
_DEVICE_BATCHES: Final = 2
# How fast the remembered time per item follows what is measured: a share of each new batch.
_FOLLOWING: Final = 0.2
log = structlog.get_logger()


@dataclass(eq=False)
class _Batch(Generic[KeyT, ItemT, ResultT]):
    key: KeyT
    entries: list[Entry[KeyT, ItemT, ResultT]] = field(default_factory=list)


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
        self._waiting: WaitingLine[KeyT, ItemT, ResultT] = WaitingLine()
        # Batches that were taken from the queue and have not ended: running, handed over, in preparation.
        self._taken: list[_Batch[KeyT, ItemT, ResultT]] = []
        self._changed = asyncio.Condition()
        self._device_batch_count = 0
        self._turns: DeviceTurns[ResultT] = DeviceTurns(runner, clock)
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
        return len(self._waiting)

    @property
    def handed_over_count(self) -> int:
        """Batches that the device's thread has: the one that runs and the one after it."""
        return self._device_batch_count

    def expected_wait_s(self, *, is_deferred: bool = False) -> float:
        """Seconds until the device would take an item submitted now, from the time of recent items."""
        ahead = [(batch.key, len(batch.entries)) for batch in self._taken]
        ahead += self._waiting.counts(is_deferred=is_deferred)
        return sum(count * self._item_run_s.get(key, 0.0) for key, count in ahead)

    def start(self) -> None:
        """Begin to serve."""
        self._dispatcher = asyncio.create_task(self._dispatch())
        self._dispatcher.add_done_callback(self._dispatcher_ended)

    async def submit(
        self, key: KeyT, item: ItemT, *, deadline_s: float | None = None, is_deferred: bool = False
    ) -> Outcome[ResultT]:
        """The outcome of `item`, at the latest at `deadline_s` on the clock's monotonic scale. Deferred
        items go behind all others.

        Raises LimitExceeded (OVERLOADED) at once when the queue is full or the item could not begin in
        time, and later when it has waited too long; DeadlineExceeded at its deadline, also while it
        runs; Unavailable when the engine failed or the queue closes.
        """
        now_s = self._clock.monotonic_s()
        self._admit(now_s, deadline_s, is_deferred)
        entry: Entry[KeyT, ItemT, ResultT] = Entry(
            key, item, now_s, asyncio.get_running_loop().create_future(), is_deferred
        )
        self._waiting.add(entry)
        self._tell_depth()
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
            deadline_s = self._clock.monotonic_s() + grace_s
            async with self._changed:
                while not self._is_idle and self._lost is None:
                    left_s = deadline_s - self._clock.monotonic_s()
                    if left_s <= 0:
                        log.warning("queue_not_finished", waiting_count=len(self._waiting))
                        break
                    await self._change_within(left_s)
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
        return not self._waiting and not self._taken

    # --- admission and expiry ------------------------------------------------------------------

    def _admit(self, now_s: float, deadline_s: float | None, is_deferred: bool) -> None:
        if self._lost is not None:
            raise Unavailable(
                "The engine of this server is gone; it restarts.", reason=reasons.ERROR_REASON_ENGINE_FAILED
            )
        if not self.is_alive:
            raise Unavailable("The server is starting or shutting down.")
        if deadline_s is not None and deadline_s <= now_s:
            self._observer.item_dropped("late")
            raise DeadlineExceeded()
        expected_s = self.expected_wait_s(is_deferred=is_deferred)
        if len(self._waiting) >= self._limits.max_queued_items:
            self._observer.item_dropped("full")
            raise overloaded("The queue is full.", expected_s)
        most_s = self._limits.max_wait_s
        if deadline_s is not None:
            most_s = min(most_s, deadline_s - now_s)
        # Waiting for nothing helps nobody: the caller can still go elsewhere now. But an idle device takes
        # what it gets: a picture's items come together, and were the second refused for what the first once
        # took, the first would be given up with it, and never be measured anew.
        if self._device_batch_count and expected_s > most_s:
            self._observer.item_dropped("late")
            raise overloaded("The queue is too long for the time that is left.", expected_s)

    def _set_timers(
        self, entry: Entry[KeyT, ItemT, ResultT], now_s: float, deadline_s: float | None
    ) -> list[Timer]:
        """An item ends at its own time, not when the batch before it does."""
        timers = [self._clock.call_later(self._limits.max_wait_s, lambda: self._waited(entry))]
        if deadline_s is not None:
            timers.append(self._clock.call_later(deadline_s - now_s, lambda: self._expire(entry)))
        return timers

    def _expire(self, entry: Entry[KeyT, ItemT, ResultT]) -> None:
        if not entry.future.done():
            entry.future.set_exception(DeadlineExceeded())
            if self._forget(entry):
                self._observer.item_dropped("expired")

    def _waited(self, entry: Entry[KeyT, ItemT, ResultT]) -> None:
        if not entry.future.done() and self._forget(entry):
            self._observer.item_dropped("waited")
            entry.future.set_exception(
                overloaded("The request waited too long for the device.", self.expected_wait_s())
            )

    def _forget(self, entry: Entry[KeyT, ItemT, ResultT]) -> bool:
        """Take `entry` out of the queue; False: it had left already."""
        if not self._waiting.forget(entry):
            return False
        self._tell_depth()
        # Whoever closes the queue waits for it to be empty.
        self._wake()
        return True

    def _tell_depth(self) -> None:
        self._observer.depth_changed(len(self._waiting))

    def _wake(self) -> None:
        task = asyncio.create_task(self._notify())
        self._notices.add(task)
        task.add_done_callback(self._notices.discard)

    async def _change_within(self, delay_s: float) -> None:
        """Until something changes, at most `delay_s`. The condition is held."""
        timer = self._clock.call_later(delay_s, self._wake)
        try:
            await self._changed.wait()
        finally:
            timer.cancel()

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
            turn = loop.run_in_executor(
                self._device_thread,
                self._turns.take,
                prepared,
                [entry.future for entry in batch.entries],
            )
            # A task of its own: the next batch is prepared meanwhile.
            task = asyncio.create_task(self._see_through(batch, turn))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _next_batch(self) -> _Batch[KeyT, ItemT, ResultT]:
        """The next batch: once the device is free and something waits, or once a full one waits."""
        async with self._changed:
            while True:
                await self._changed.wait_for(self._may_take)
                if self._waiting.next_count >= self._most_items(self._waiting.next_key):
                    break
                if self._device_batch_count:
                    await self._changed.wait()
                    continue
                held_until_s = self._waiting.next_since_s + self._limits.max_queue_delay_s
                hold_s = held_until_s - self._clock.monotonic_s()
                if self._limits.max_queue_delay_s <= 0 or hold_s <= 0 or self._is_closing:
                    break
                await self._change_within(hold_s)
            return self._take()

    def _may_take(self) -> bool:
        # Deferred work is not handed over ahead: others who come meanwhile would be behind it.
        most = 1 if self._waiting.next_is_deferred else _DEVICE_BATCHES
        return len(self._waiting) > 0 and self._device_batch_count < most

    def _most_items(self, key: KeyT) -> int:
        most = self._limits.max_batch_items
        return most if self._most_items_of is None else min(most, self._most_items_of(key))

    def _take(self) -> _Batch[KeyT, ItemT, ResultT]:
        key = self._waiting.next_key
        batch = _Batch(key, self._waiting.take(self._most_items(key)))
        self._taken.append(batch)
        self._tell_depth()
        return batch

    async def _see_through(
        self, batch: _Batch[KeyT, ItemT, ResultT], coming: Awaitable[Turn[ResultT] | None]
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
        self._observer.batch_finished(batch.key, item_count, turn.run_s)
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
    def _end(entry: Entry[KeyT, ItemT, ResultT], failure: BaseException) -> None:
        if entry.future.done():
            return
        if isinstance(failure, MatteworksError):
            entry.future.set_exception(failure)
            return
        error = Unavailable("The engine failed on this request.", reason=reasons.ERROR_REASON_ENGINE_FAILED)
        error.__cause__ = failure
        entry.future.set_exception(error)

    def _fail_waiting(self, failure: MatteworksError, reason: str) -> None:
        for entry in self._waiting.clear():
            self._observer.item_dropped(reason)
            self._end(entry, failure)
        self._tell_depth()

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
