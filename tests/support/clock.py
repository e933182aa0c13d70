"""A clock that a test moves."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(order=True)
class ManualTimer:
    """What happens when the clock gets to `at_s`, unless it was cancelled."""

    at_s: float
    number: int
    callback: Callable[[], None] = field(compare=False)
    is_cancelled: bool = field(default=False, compare=False)

    def cancel(self) -> None:
        self.is_cancelled = True


class ManualClock:
    """Stands still until `advance` is called."""

    def __init__(self, unix_s: float = 1_800_000_000.0) -> None:
        self._unix_s = unix_s
        self._monotonic_s = 1000.0
        self._numbers = itertools.count()
        self._timers: list[ManualTimer] = []

    def unix_s(self) -> float:
        return self._unix_s

    def monotonic_s(self) -> float:
        return self._monotonic_s

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> ManualTimer:
        timer = ManualTimer(self._monotonic_s + delay_s, next(self._numbers), callback)
        self._timers.append(timer)
        return timer

    @property
    def timer_count(self) -> int:
        """What is still to happen."""
        return sum(not timer.is_cancelled for timer in self._timers)

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass, and what was to happen in them happen in order."""
        self._unix_s += seconds
        self._monotonic_s += seconds
        due = sorted(timer for timer in self._timers if timer.at_s <= self._monotonic_s)
        self._timers = [timer for timer in self._timers if timer.at_s > self._monotonic_s]
        for timer in due:
            if not timer.is_cancelled:
                timer.callback()
