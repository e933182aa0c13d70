"""Interactive work begins at once; deferred work begins when it is quiet, and a little of it anyway."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from matteworks_common.errors import DeadlineExceeded
from matteworks_compositor.yielding import InteractiveFirst
from tests.support.clock import ManualClock


class Turns:
    """What has begun, by the order in which it came."""

    def __init__(self, most_deferred: int = 2) -> None:
        self.clock = ManualClock()
        self.first = InteractiveFirst(self.clock, quiet_s=1.0, most_deferred=most_deferred)
        self.begun: dict[str, AsyncExitStack] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, name: str, *, is_deferred: bool) -> None:
        async def begin() -> None:
            stack = AsyncExitStack()
            turn = self.first.deferred(None) if is_deferred else self.first.interactive()
            await stack.enter_async_context(turn)
            self.begun[name] = stack

        self.tasks[name] = asyncio.create_task(begin())
        await self.settle()

    async def end(self, name: str) -> None:
        await self.begun.pop(name).aclose()
        await self.settle()

    async def pass_s(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await self.settle()

    @staticmethod
    async def settle() -> None:
        for _ in range(5):
            await asyncio.sleep(0)


async def test_deferred_work_begins_freely_while_it_is_quiet_but_not_on_every_core() -> None:
    turns = Turns(most_deferred=2)
    for name in "abc":
        await turns.come(name, is_deferred=True)
    assert set(turns.begun) == {"a", "b"}
    await turns.end("a")
    assert set(turns.begun) == {"b", "c"}


async def test_interactive_work_never_waits_and_holds_deferred_work_back_for_a_moment() -> None:
    turns = Turns()
    await turns.come("early", is_deferred=True)
    await turns.pass_s(1.0)
    await turns.end("early")
    await turns.come("call", is_deferred=False)
    await turns.come("late", is_deferred=True)
    assert set(turns.begun) == {"call"}
    await turns.end("call")
    await turns.pass_s(0.9)
    await turns.come("next call", is_deferred=False)
    await turns.end("next call")
    await turns.pass_s(0.9)
    assert not turns.begun
    await turns.pass_s(0.1)
    assert set(turns.begun) == {"late"}


async def test_under_traffic_without_a_pause_deferred_work_gets_three_percent_of_the_time() -> None:
    turns = Turns()
    await turns.come("call", is_deferred=False)
    for number in range(50):
        await turns.come(str(number), is_deferred=True)
    done, steps = 0, 310
    for _ in range(steps):
        running = [name for name in turns.begun if name != "call"]
        assert len(running) <= 1
        await turns.pass_s(1.0)
        for name in running:
            await turns.end(name)
            done += 1
    assert done == steps / 31


async def test_a_turn_that_is_given_up_is_handed_on() -> None:
    turns = Turns(most_deferred=1)
    await turns.come("a", is_deferred=True)
    await turns.come("b", is_deferred=True)
    await turns.come("c", is_deferred=True)
    turns.tasks["b"].cancel()
    await turns.end("a")
    assert set(turns.begun) == {"c"}
    assert turns.first.waiting_count == 0
    await turns.end("c")
    await turns.come("d", is_deferred=True)
    assert set(turns.begun) == {"d"}


async def test_a_deadline_ends_the_wait() -> None:
    turns = Turns(most_deferred=1)
    await turns.come("a", is_deferred=True)
    with pytest.raises(DeadlineExceeded):
        async with turns.first.deferred(0.01):
            raise AssertionError("it was not its turn")
    await turns.end("a")
    await turns.come("b", is_deferred=True)
    assert set(turns.begun) == {"b"}
