"""The batch queue: what shares a run, what is refused, and that every caller is answered once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.errors import DeadlineExceeded, LimitExceeded, Unavailable
from matteworks_inference.queueing.contract import BatchLimits, DeviceLost
from matteworks_inference.queueing.queue import BatchQueue
from tests.support.clock import ManualClock

LIMITS = BatchLimits(max_queued_items=100, max_batch_items=4, max_queue_delay_s=0, max_wait_s=30)


@dataclass
class DoublingRunner:
    """Doubles numbers. Holds while `gate` is cleared; raises what `failures` holds."""

    gate: threading.Event = field(default_factory=threading.Event)
    begun: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    failures: list[Exception] = field(default_factory=list)
    batches: list[tuple[str, list[int]]] = field(default_factory=list)
    prepared: list[list[int]] = field(default_factory=list)
    discarded: list[list[int]] = field(default_factory=list)
    missing_results: int = 0

    def prepare(self, key: str, items: Sequence[int]) -> tuple[str, list[int]]:
        self.prepared.append(list(items))
        return key, list(items)

    def run(self, prepared: tuple[str, list[int]]) -> list[int]:
        self.batches.append(prepared)
        self.begun.release()
        self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)
        return [2 * item for item in prepared[1]][self.missing_results :]

    def discard(self, prepared: tuple[str, list[int]]) -> None:
        self.discarded.append(prepared[1])


@dataclass
class Recorder:
    """Remembers what the queue reports."""

    dropped: list[str] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)

    def depth_changed(self, item_count: int) -> None:
        self.depths.append(item_count)

    def item_dropped(self, reason: str) -> None:
        self.dropped.append(reason)

    def batch_finished(self, key: object, item_count: int, run_s: float) -> None:
        self.sizes.append(item_count)


@dataclass
class Bench:
    """A queue with its runner and threads."""

    queue: BatchQueue[str, int, int]
    runner: DoublingRunner
    recorder: Recorder
    clock: ManualClock

    async def device_begins(self) -> None:
        """Until the device has begun one more batch."""
        await asyncio.get_running_loop().run_in_executor(None, self.runner.begun.acquire)

    def submit(
        self, item: int, key: str = "k", deadline_s: float | None = None, *, is_deferred: bool = False
    ) -> asyncio.Task[int]:
        async def result() -> int:
            outcome = await self.queue.submit(key, item, deadline_s=deadline_s, is_deferred=is_deferred)
            return outcome.result

        return asyncio.create_task(result())

    async def occupy(self) -> asyncio.Task[int]:
        """Put the device to work on an item of its own kind, so that what follows waits."""
        self.runner.gate.clear()
        task = self.submit(-1, key="occupying")
        await self.device_begins()
        return task


@asynccontextmanager
async def bench(
    limits: BatchLimits = LIMITS, most_items_of: Callable[[str], int] | None = None
) -> AsyncIterator[Bench]:
    runner, recorder, clock = DoublingRunner(), Recorder(), ManualClock()
    runner.gate.set()
    with ThreadPoolExecutor(1) as device, ThreadPoolExecutor(1) as preparing:
        queue = BatchQueue(
            runner, limits, clock=clock, observer=recorder, device_thread=device,
            preparing_thread=preparing, most_items_of=most_items_of,
        )  # fmt: skip
        queue.start()
        try:
            yield Bench(queue, runner, recorder, clock)
        finally:
            runner.gate.set()
            await queue.close(5)


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until `condition`; the test's timeout bounds it."""
    while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
        await asyncio.sleep(0)


async def test_what_waits_while_the_device_works_shares_the_next_run() -> None:
    async with bench() as b:
        occupying = await b.occupy()
        tasks = [b.submit(item) for item in (1, 2, 3)]
        await until(lambda: b.queue.waiting_count == 3)
        b.runner.gate.set()
        assert await asyncio.gather(*tasks) == [2, 4, 6]
        assert await occupying == -2
        assert b.runner.batches == [("occupying", [-1]), ("k", [1, 2, 3])]


async def test_a_batch_never_exceeds_the_items_limit() -> None:
    async with bench() as b:
        await b.occupy()
        tasks = [b.submit(item) for item in range(10)]
        await until(lambda: b.queue.waiting_count >= 6)
        b.runner.gate.set()
        assert await asyncio.gather(*tasks) == [2 * item for item in range(10)]
        assert max(len(items) for _, items in b.runner.batches) == 4


async def test_different_keys_never_share_a_run_and_take_turns() -> None:
    async with bench(BatchLimits(100, 2, 0, 30)) as b:
        await b.occupy()
        many = [b.submit(item, key="many") for item in range(6)]
        await until(lambda: b.queue.waiting_count + len(b.runner.prepared) >= 6)
        rare = b.submit(100, key="rare")
        await until(lambda: b.queue.waiting_count >= 5)
        b.runner.gate.set()
        await asyncio.gather(rare, *many)
        order = [key for key, _ in b.runner.batches[1:]]
        # One full batch of the crowded key may have been prepared ahead, one more have its turn.
        assert order.index("rare") <= 2


async def test_deferred_items_wait_for_all_others_and_share_no_run_with_them() -> None:
    async with bench() as b:
        await b.occupy()
        deferred = [b.submit(item, is_deferred=True) for item in range(5)]
        await until(lambda: b.queue.waiting_count == 5)
        urgent = [b.submit(item, key=key) for item, key in ((10, "k"), (11, "other"))]
        await until(lambda: b.queue.waiting_count + len(b.runner.prepared) >= 8)
        b.runner.gate.set()
        await asyncio.gather(*deferred, *urgent)
        assert [items for _, items in b.runner.batches[1:]] == [[10], [11], [0, 1, 2, 3], [4]]


async def test_a_deferred_item_is_not_handed_to_a_busy_device() -> None:
    """Even a full batch of them waits: whoever comes next would be behind it."""
    async with bench() as b:
        await b.occupy()
        deferred = [b.submit(item, is_deferred=True) for item in range(4)]
        await until(lambda: b.queue.waiting_count == 4)
        for _ in range(20):
            await asyncio.sleep(0)
        assert b.queue.waiting_count == 4
        assert b.queue.expected_wait_s() <= b.queue.expected_wait_s(is_deferred=True)
        b.runner.gate.set()
        await asyncio.gather(*deferred)


async def test_a_key_that_cannot_batch_runs_one_by_one() -> None:
    async with bench(most_items_of=lambda key: 1 if key == "single" else 4) as b:
        await b.occupy()
        tasks = [b.submit(item, key="single") for item in range(3)]
        b.runner.gate.set()
        await asyncio.gather(*tasks)
        assert [items for key, items in b.runner.batches if key == "single"] == [[0], [1], [2]]


async def test_a_full_batch_is_prepared_while_the_device_works() -> None:
    async with bench() as b:
        await b.occupy()
        tasks = [b.submit(item) for item in range(4)]
        await until(lambda: [0, 1, 2, 3] in b.runner.prepared)
        assert [key for key, _ in b.runner.batches] == ["occupying"]
        b.runner.gate.set()
        await asyncio.gather(*tasks)


async def test_the_device_takes_up_the_next_batch_while_the_event_loop_is_busy() -> None:
    """A fast device would idle between batches for as long as a busy loop takes to come round."""
    async with bench() as b:
        await b.occupy()
        tasks = [b.submit(item) for item in range(4)]
        await until(lambda: b.runner.prepared[1:] == [[0, 1, 2, 3]])
        # One turn after the other, until the prepared batch is in the hands of the device's thread.
        await until(lambda: b.queue.handed_over_count == 2)
        b.runner.gate.set()
        # This blocks the event loop on purpose.
        assert b.runner.begun.acquire(timeout=10)
        await asyncio.gather(*tasks)


async def test_no_third_batch_is_taken_while_one_runs_and_one_is_handed_over() -> None:
    async with bench() as b:
        await b.occupy()
        tasks = [b.submit(item) for item in range(12)]
        await until(lambda: b.queue.handed_over_count == 2)
        assert b.queue.waiting_count == 8
        b.runner.gate.set()
        await asyncio.gather(*tasks)


async def test_a_batch_that_was_handed_to_a_device_that_is_lost_is_not_run() -> None:
    async with bench() as b:
        occupying = await b.occupy()
        tasks = [b.submit(item) for item in range(4)]
        await until(lambda: b.queue.handed_over_count == 2)
        b.runner.failures = [DeviceLost("gone")]
        b.runner.gate.set()
        outcomes = await asyncio.gather(occupying, *tasks, return_exceptions=True)
        assert all(isinstance(outcome, Unavailable) for outcome in outcomes)
        assert b.runner.batches == [("occupying", [-1])]


async def test_a_batch_that_is_not_full_stays_open_while_the_device_works() -> None:
    async with bench() as b:
        await b.occupy()
        first = b.submit(1)
        await until(lambda: b.queue.waiting_count == 1)
        second = b.submit(2)
        await until(lambda: b.queue.waiting_count == 2)
        b.runner.gate.set()
        await asyncio.gather(first, second)
        assert b.runner.batches[1] == ("k", [1, 2])


async def test_a_batch_waits_for_company_as_long_as_the_setting_says() -> None:
    async with bench(BatchLimits(100, 2, 10.0, 30)) as b:
        first = b.submit(1)
        await until(lambda: b.queue.waiting_count == 1)
        assert b.runner.batches == []
        second = b.submit(2)
        await asyncio.gather(first, second)
        assert b.runner.batches == [("k", [1, 2])]


async def test_a_batch_does_not_wait_longer_than_the_setting_says() -> None:
    async with bench(BatchLimits(100, 2, 10.0, 30)) as b:
        task = b.submit(1)
        await until(lambda: b.queue.waiting_count == 1)
        await until(lambda: b.clock.timer_count == 2)
        b.clock.advance(9.9)
        assert b.runner.batches == []
        b.clock.advance(0.1)
        assert await task == 2


async def test_a_full_queue_refuses_at_once_and_says_when_to_come_back() -> None:
    async with bench(BatchLimits(2, 4, 0, 30)) as b:
        await b.occupy()
        tasks = [b.submit(item) for item in (1, 2)]
        await until(lambda: b.queue.waiting_count == 2)
        with pytest.raises(LimitExceeded) as caught:
            await b.queue.submit("k", 3)
        assert caught.value.reason == reasons.ERROR_REASON_OVERLOADED
        assert caught.value.retry_after_s is not None
        assert caught.value.retry_after_s >= 1
        assert b.recorder.dropped == ["full"]
        b.runner.gate.set()
        await asyncio.gather(*tasks)


async def test_a_slow_run_does_not_refuse_the_next_picture_of_an_idle_device() -> None:
    """A picture asks several networks at once, and gives all of them up when one is refused."""
    async with bench() as b:
        b.runner.gate.clear()
        slow = b.submit(1, key="first")
        await b.device_begins()
        # Nobody waits as long, but the device goes on with it and its time is remembered.
        b.clock.advance(600)
        b.runner.gate.set()
        await slow
        assert await asyncio.gather(b.submit(2, key="first"), b.submit(3, key="second")) == [4, 6]
        assert b.recorder.dropped == []


async def test_behind_a_slow_run_an_item_is_refused_until_that_ends() -> None:
    async with bench() as b:
        b.runner.gate.clear()
        slow = b.submit(1)
        await b.device_begins()
        b.clock.advance(600)
        b.runner.gate.set()
        await slow
        b.runner.gate.clear()
        running = b.submit(2)
        await b.device_begins()
        with pytest.raises(LimitExceeded, match="too long"):
            await b.queue.submit("k", 3)
        b.runner.gate.set()
        await running
        assert (await b.queue.submit("k", 4)).result == 8


async def test_a_cancelled_item_is_not_run() -> None:
    async with bench() as b:
        await b.occupy()
        kept, left = b.submit(1), b.submit(2)
        await until(lambda: b.queue.waiting_count == 2)
        left.cancel()
        await asyncio.gather(left, return_exceptions=True)
        b.runner.gate.set()
        assert await kept == 2
        assert b.runner.batches[1] == ("k", [1])
        assert b.recorder.dropped == ["cancelled"]


async def test_an_item_expires_at_its_own_deadline_while_the_device_is_stuck() -> None:
    """Another server let such items wait for the stuck batch: nine times their timeout."""
    async with bench() as b:
        await b.occupy()
        task = b.submit(1, deadline_s=b.clock.monotonic_s() + 2)
        await until(lambda: b.queue.waiting_count == 1)
        b.clock.advance(2)
        with pytest.raises(DeadlineExceeded):
            await task
        assert b.recorder.dropped == ["expired"]
        assert not b.runner.gate.is_set()


async def test_a_running_item_is_answered_at_its_deadline() -> None:
    async with bench() as b:
        b.runner.gate.clear()
        task = b.submit(1, deadline_s=b.clock.monotonic_s() + 2)
        await b.device_begins()
        b.clock.advance(2)
        with pytest.raises(DeadlineExceeded):
            await task
        assert not b.runner.gate.is_set()


async def test_an_item_without_a_deadline_waits_no_longer_than_the_setting_says() -> None:
    async with bench(BatchLimits(100, 4, 0, 2)) as b:
        await b.occupy()
        task = b.submit(1)
        await until(lambda: b.queue.waiting_count == 1)
        b.clock.advance(2)
        with pytest.raises(LimitExceeded):
            await task
        assert b.recorder.dropped == ["waited"]


async def test_a_deadline_in_the_past_is_refused_at_once() -> None:
    async with bench() as b:
        with pytest.raises(DeadlineExceeded):
            await b.queue.submit("k", 1, deadline_s=b.clock.monotonic_s() - 1)
        assert b.runner.batches == []


async def test_a_prepared_batch_that_everybody_left_is_not_run() -> None:
    async with bench() as b:
        await b.occupy()
        tasks = [b.submit(item) for item in range(4)]
        await until(lambda: [0, 1, 2, 3] in b.runner.prepared)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        b.runner.gate.set()
        assert await b.submit(9) == 18
        assert b.runner.discarded == [[0, 1, 2, 3]]
        assert ("k", [0, 1, 2, 3]) not in b.runner.batches


async def test_an_engine_error_reaches_every_item_of_its_batch_and_no_other() -> None:
    async with bench() as b:
        await b.occupy()
        tasks = [b.submit(item) for item in (1, 2)]
        other = b.submit(3, key="other")
        await until(lambda: b.queue.waiting_count == 3)
        b.runner.failures = [RuntimeError("first run"), RuntimeError("second run")]
        b.runner.gate.set()
        failures = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(failure) for failure in failures] == [Unavailable, Unavailable]
        assert await other == 6
        assert b.queue.is_alive


async def test_an_engine_error_does_not_tell_what_the_engine_said() -> None:
    async with bench() as b:
        b.runner.failures = [RuntimeError("/secret/path")]
        with pytest.raises(Unavailable) as caught:
            await b.submit(1)
        assert caught.value.reason == reasons.ERROR_REASON_ENGINE_FAILED
        assert "secret" not in caught.value.message


async def test_too_few_results_are_an_error_for_all() -> None:
    """With a result missing nobody can know whose matte is whose."""
    async with bench() as b:
        b.runner.missing_results = 1
        with pytest.raises(Unavailable):
            await b.submit(1)


async def test_a_lost_device_fails_what_waits_and_refuses_what_comes() -> None:
    async with bench() as b:
        occupying = await b.occupy()
        waiting = b.submit(1)
        await until(lambda: b.queue.waiting_count == 1)
        b.runner.failures = [DeviceLost("an illegal memory access was encountered")]
        b.runner.gate.set()
        results = await asyncio.gather(occupying, waiting, return_exceptions=True)
        assert [type(result) for result in results] == [Unavailable, Unavailable]
        assert not b.queue.is_alive
        with pytest.raises(Unavailable):
            await b.queue.submit("k", 2)


async def test_a_failing_preparation_fails_its_batch_and_nothing_else() -> None:
    async with bench() as b:
        original = b.runner.prepare

        def failing(key: str, items: Sequence[int]) -> tuple[str, list[int]]:
            raise ValueError("shape")

        b.runner.prepare = failing  # type: ignore[method-assign]
        with pytest.raises(Unavailable):
            await b.submit(1)
        b.runner.prepare = original  # type: ignore[method-assign]
        assert await b.submit(2) == 4


async def test_closing_finishes_what_waits_and_refuses_what_comes() -> None:
    async with bench() as b:
        await b.occupy()
        waiting = b.submit(1)
        await until(lambda: b.queue.waiting_count == 1)
        closing = asyncio.create_task(b.queue.close(5))
        await until(lambda: not b.queue.is_alive)
        with pytest.raises(Unavailable):
            await b.queue.submit("k", 2)
        b.runner.gate.set()
        assert await waiting == 2
        await closing


async def test_closing_fails_what_does_not_fit_into_the_grace() -> None:
    async with bench() as b:
        occupying = await b.occupy()
        waiting = b.submit(1)
        await until(lambda: b.queue.waiting_count == 1)
        closing = asyncio.create_task(b.queue.close(5))
        await until(lambda: b.clock.timer_count == 3)
        b.clock.advance(5)
        assert not await closing, "the device is stuck, and its owner must know"
        results = await asyncio.gather(occupying, waiting, return_exceptions=True)
        assert [type(result) for result in results] == [Unavailable, Unavailable]


async def test_a_queue_that_cannot_begin_in_time_refuses_at_once() -> None:
    async with bench(BatchLimits(100, 1, 0, 30)) as b:
        occupying = await b.occupy()
        b.clock.advance(10)
        b.runner.gate.set()
        await occupying
        again = await b.occupy()
        with pytest.raises(LimitExceeded):
            await b.queue.submit("k", 1, deadline_s=b.clock.monotonic_s() + 5)
        assert b.recorder.dropped == ["late"]
        b.runner.gate.set()
        await again


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    items=st.lists(
        st.tuples(st.integers(0, 1000), st.sampled_from(["a", "b", "c"]), st.booleans()), max_size=25
    ),
    max_batch_items=st.integers(1, 5),
)
def test_every_caller_gets_its_own_answer_however_batches_form(
    items: list[tuple[int, str, bool]], max_batch_items: int
) -> None:
    """Batch of n equals n batches of one; cancelled callers neither get nor take an answer."""

    async def scenario() -> None:
        async with bench(BatchLimits(100, max_batch_items, 0, 30)) as b:
            await b.occupy()
            tasks = [(b.submit(item, key=key), item, leaves) for item, key, leaves in items]
            await asyncio.sleep(0)
            for task, _, leaves in tasks:
                if leaves:
                    task.cancel()
            b.runner.gate.set()
            results = await asyncio.gather(*(task for task, _, _ in tasks), return_exceptions=True)
            for result, (_, item, leaves) in zip(results, tasks, strict=True):
                assert isinstance(result, asyncio.CancelledError) if leaves else result == 2 * item
            for key, batch in b.runner.batches:
                assert len(batch) <= max_batch_items
                assert key == "occupying" or all(
                    (item, key) in [(i, k) for i, k, _ in items] for item in batch
                )
            assert b.queue.waiting_count == 0

    asyncio.run(scenario())
