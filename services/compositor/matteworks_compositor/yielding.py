"""Pictures that nobody waits for go behind those that somebody waits for.

A picture that has begun cannot be stopped, so the rule is about beginning: while interactive work is in
hand, and for a moment after it, deferred work does not begin. A caller who sends one picture after the
other then hardly meets any. So that deferred work ends even under traffic that never pauses, it gets a
small share of the time: after a picture that took a second, the next may begin half a minute later.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from matteworks_common.clock import Clock, Timer
from matteworks_common.errors import DeadlineExceeded

__all__ = ["InteractiveFirst"]

# Time without deferred work for each second of it, while there is interactive work: a share of 3 %, so
# that the 95th percentile of interactive calls does not feel it.
_REST_FACTOR: Final = 30.0


class InteractiveFirst:
    """Lets interactive work begin at once, deferred work in turn. For one event loop.

    `quiet_s`: how long after interactive work deferred work begins freely; `most_deferred` runs at once.
    """

    def __init__(self, clock: Clock, *, quiet_s: float, most_deferred: int) -> None:
        self._clock = clock
        self._quiet_s = quiet_s
        self._most_deferred = most_deferred
        self._interactive_count = 0
        self._last_interactive_s = float("-inf")
        self._deferred_count = 0
        self._rested_s = float("-inf")
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timer: Timer | None = None

    @property
    def waiting_count(self) -> int:
        """Deferred requests that have not begun."""
        return len(self._waiting)

    @asynccontextmanager
    async def interactive(self) -> AsyncIterator[None]:
        """Somebody waits while the block runs."""
        self._interactive_count += 1
        try:
            yield
        finally:
            self._interactive_count -= 1
            self._last_interactive_s = self._clock.monotonic_s()
            self._look()

    @asynccontextmanager
    async def deferred(self, timeout_s: float | None) -> AsyncIterator[None]:
        """Run the block when its turn has come. Raises DeadlineExceeded after `timeout_s`."""
        await self._enter(timeout_s)
        start_s = self._clock.monotonic_s()
        try:
            yield
        finally:
            end_s = self._clock.monotonic_s()
            self._rested_s = end_s + (end_s - start_s) * _REST_FACTOR
            self._leave()

    async def _enter(self, timeout_s: float | None) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._look()
        try:
            async with asyncio.timeout(timeout_s):
                await turn
        except BaseException as error:
            if turn in self._waiting:
                self._waiting.remove(turn)
            else:  # Its turn came in the same moment: hand it on.
                self._leave()
            if isinstance(error, TimeoutError):
                raise DeadlineExceeded("The deadline passed while others went first.") from None
            raise

    def _leave(self) -> None:
        self._deferred_count -= 1
        self._look()

    def _look(self) -> None:
        """Begin what may begin; look again when time alone may let more begin."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting and self._may_begin():
            turn = self._waiting.popleft()
            self._deferred_count += 1
            if not turn.done():  # Else its caller has gone, and gives the turn back in a moment.
                turn.set_result(None)
        if self._waiting and self._deferred_count < self._most_deferred:
            self._timer = self._clock.call_later(self._until_next_s(), self._look)

    def _may_begin(self) -> bool:
        if self._deferred_count >= self._most_deferred:
            return False
        now_s = self._clock.monotonic_s()
        return now_s >= self._quiet_from_s or (self._deferred_count == 0 and now_s >= self._rested_s)

    @property
    def _quiet_from_s(self) -> float:
        return float("inf") if self._interactive_count else self._last_interactive_s + self._quiet_s

    def _until_next_s(self) -> float:
        due_s = self._quiet_from_s if self._deferred_count else min(self._quiet_from_s, self._rested_s)
        # Something else wakes us sooner when nothing but the end of a call can let more begin.
        return min(max(due_s - self._clock.monotonic_s(), 0.001), 60.0)
