"""Who may start: the sum of megapixels in flight is bounded, and so is memory.

Requests wait in the order in which they came; a large one at the head is not overtaken, so it cannot
starve. The queue is bounded in megapixels too: beyond it a request is refused at once, with a time to
come back. Nothing is polled.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass

from matteworks_common.clock import Clock
from matteworks_common.context import is_deferred
from matteworks_common.errors import DeadlineExceeded, overloaded
from matteworks_compositor.yielding import InteractiveFirst

__all__ = ["Admission"]

# Weight of the newest request in the running mean of how long a megapixel is held.
_NEWEST_WEIGHT = 0.1
_LONGEST_RETRY_S = 30.0


@dataclass(eq=False, slots=True)
class _Waiter:
    megapixels: int
    admitted: asyncio.Future[None]


class Admission:
    """A first-come semaphore over megapixels. For one event loop.

    `capacity_megapixels` may be in flight at once, `max_waiting_megapixels` may wait. A request that
    weighs more than the capacity counts as the whole capacity: it runs alone. Deferred requests get in
    line when `turns` says so.
    """

    def __init__(
        self,
        capacity_megapixels: int,
        max_waiting_megapixels: int,
        clock: Clock,
        turns: InteractiveFirst | None = None,
    ) -> None:
        self._capacity = capacity_megapixels
        self._max_waiting = max_waiting_megapixels
        self._clock = clock
        self._turns = turns
        self._waiters: deque[_Waiter] = deque()
        self._seconds_per_megapixel = 0.1
        self.in_flight_megapixels = 0
        self.waiting_megapixels = 0
        # Told how long each request waited that was let in.
        self.on_admitted: Callable[[float], None] = lambda _: None

    @asynccontextmanager
    async def admit(self, megapixels: int, timeout_s: float | None) -> AsyncIterator[None]:
        """Hold `megapixels` while the block runs, after waiting at most `timeout_s`.

        Raises LimitExceeded (OVERLOADED) at once when the queue is full, DeadlineExceeded when the
        wait was too long.
        """
        weight = min(max(megapixels, 1), self._capacity)
        came_s = self._clock.monotonic_s()
        async with self._turn(timeout_s):
            if timeout_s is not None:
                timeout_s -= self._clock.monotonic_s() - came_s
            async with self._admitted(weight, timeout_s):
                self.on_admitted(self._clock.monotonic_s() - came_s)
                yield

    def _turn(self, timeout_s: float | None) -> AbstractAsyncContextManager[None]:
        if self._turns is None:
            return nullcontext()
        return self._turns.deferred(timeout_s) if is_deferred() else self._turns.interactive()

    @asynccontextmanager
    async def _admitted(self, weight: int, timeout_s: float | None) -> AsyncIterator[None]:
        await self._enter(weight, timeout_s)
        start_s = self._clock.monotonic_s()
        try:
            yield
        finally:
            held_s = self._clock.monotonic_s() - start_s
            self._seconds_per_megapixel += _NEWEST_WEIGHT * (held_s / weight - self._seconds_per_megapixel)
            self.in_flight_megapixels -= weight
            self._admit_waiting()

    async def _enter(self, weight: int, timeout_s: float | None) -> None:
        if not self._waiters and self._fits(weight):
            self.in_flight_megapixels += weight
            return
        if self.waiting_megapixels + weight > self._max_waiting:
            raise overloaded("Too many megapixels are waiting already.", self._expected_wait_s())
        waiter = _Waiter(weight, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        self.waiting_megapixels += weight
        try:
            async with asyncio.timeout(timeout_s):
                await waiter.admitted
        except TimeoutError:
            self._give_up(waiter)
            raise DeadlineExceeded("The deadline passed while the request waited for its turn.") from None
        except asyncio.CancelledError:
            self._give_up(waiter)
            raise

    def _give_up(self, waiter: _Waiter) -> None:
        if waiter in self._waiters:
            self._waiters.remove(waiter)
            self.waiting_megapixels -= waiter.megapixels
        else:  # Its turn came in the same moment: hand it on.
            self.in_flight_megapixels -= waiter.megapixels
        self._admit_waiting()

    def _admit_waiting(self) -> None:
        while self._waiters and self._fits(self._waiters[0].megapixels):
            waiter = self._waiters.popleft()
            self.waiting_megapixels -= waiter.megapixels
            self.in_flight_megapixels += waiter.megapixels
            if not waiter.admitted.done():
                waiter.admitted.set_result(None)

    def _fits(self, weight: int) -> bool:
        return self.in_flight_megapixels + weight <= self._capacity

    def _expected_wait_s(self) -> float:
        ahead = self.in_flight_megapixels + self.waiting_megapixels
        shared = ahead * self._seconds_per_megapixel * ahead / max(self._capacity, 1)
        return min(max(1.0, shared), _LONGEST_RETRY_S)
