"""Admission: bounded, first come first served, nothing lost."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from matteworks_common.errors import DeadlineExceeded, LimitExceeded
from matteworks_compositor.admission import Admission
from tests.support.clock import ManualClock


def make(capacity: int = 10, waiting: int = 20) -> Admission:
    return Admission(capacity, waiting, ManualClock())


async def hold(admission: Admission, megapixels: int) -> AsyncExitStack:
    held = AsyncExitStack()
    await held.enter_async_context(admission.admit(megapixels, None))
    return held


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_megapixels_in_flight_never_exceed_the_capacity() -> None:
    admission = make(capacity=10, waiting=10_000)
    most = 0

    async def one(megapixels: int) -> None:
        nonlocal most
        async with admission.admit(megapixels, None):
            most = max(most, admission.in_flight_megapixels)
            await asyncio.sleep(0)

    await asyncio.gather(*(one(weight) for weight in (3, 7, 1, 50, 9, 2, 10, 4) * 8))
    assert most == 10
    assert admission.in_flight_megapixels == admission.waiting_megapixels == 0


async def test_a_large_request_is_not_overtaken_by_small_ones() -> None:
    admission = make()
    first = await hold(admission, 5)
    large = asyncio.create_task(hold(admission, 10))
    await settle()
    small = asyncio.create_task(hold(admission, 1))
    await settle()
    assert not large.done()
    assert not small.done()
    await first.aclose()
    await settle()
    assert large.done()
    assert not small.done()
    await (await large).aclose()
    await (await small).aclose()


async def test_a_full_queue_refuses_with_a_time_to_come_back() -> None:
    admission = make(capacity=10, waiting=5)
    held = await hold(admission, 10)
    waiting = asyncio.create_task(hold(admission, 5))
    await settle()
    with pytest.raises(LimitExceeded) as raised:
        await hold(admission, 1)
    assert raised.value.retry_after_s is not None
    assert 1 <= raised.value.retry_after_s <= 30
    await held.aclose()
    await (await waiting).aclose()


async def test_waiting_ends_at_the_deadline_and_gives_the_place_up() -> None:
    admission = make()
    held = await hold(admission, 10)
    with pytest.raises(DeadlineExceeded):
        async with admission.admit(1, 0.0):
            pass
    assert admission.waiting_megapixels == 0
    await held.aclose()
    assert admission.in_flight_megapixels == 0


async def test_a_caller_that_leaves_the_queue_lets_the_next_one_in() -> None:
    admission = make()
    held = await hold(admission, 5)
    large = asyncio.create_task(hold(admission, 10))
    small = asyncio.create_task(hold(admission, 1))
    await settle()
    large.cancel()
    await settle()
    assert small.done()
    await (await small).aclose()
    await held.aclose()
    assert admission.in_flight_megapixels == 0


async def test_a_caller_that_leaves_in_the_moment_of_its_turn_loses_no_capacity() -> None:
    admission = make()
    held = await hold(admission, 10)
    waiting = asyncio.create_task(hold(admission, 10))
    await settle()
    await held.aclose()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    if not waiting.cancelled():
        await waiting.result().aclose()
    assert admission.in_flight_megapixels == 0


async def test_a_failing_request_gives_its_megapixels_back() -> None:
    admission = make()
    with pytest.raises(RuntimeError):
        async with admission.admit(7, None):
            raise RuntimeError
    assert admission.in_flight_megapixels == 0


async def test_a_request_beyond_the_capacity_runs_alone() -> None:
    admission = make()
    async with admission.admit(50, None):
        assert admission.in_flight_megapixels == 10
