"""What a device did in the last minute, for people who look."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from matteworks_common.clock import Clock

WINDOW_S: Final = 60


@dataclass(slots=True)
class _Second:
    number: int
    picture_count: int = 0
    busy_s: float = 0.0


@dataclass(frozen=True, slots=True)
class LastMinute:
    """`window_s` is less than a minute for a process that is younger."""

    picture_count: int
    busy_s: float
    window_s: float


class LoadMeter:
    """Counts by second, and forgets what is older than WINDOW_S. Use from one event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._started_s = clock.monotonic_s()
        self._seconds: deque[_Second] = deque(maxlen=WINDOW_S + 1)

    def add(self, *, picture_count: int = 0, busy_s: float = 0.0) -> None:
        """Something ended just now."""
        number = int(self._clock.monotonic_s())
        if not self._seconds or self._seconds[-1].number != number:
            self._seconds.append(_Second(number))
        self._seconds[-1].picture_count += picture_count
        self._seconds[-1].busy_s += busy_s

    def read(self) -> LastMinute:
        """The last minute, to the second."""
        now_s = self._clock.monotonic_s()
        recent = [second for second in self._seconds if second.number > now_s - WINDOW_S]
        window_s = max(1.0, min(float(WINDOW_S), now_s - self._started_s))
        return LastMinute(
            sum(second.picture_count for second in recent),
            # A run that began before the window counts whole.
            min(window_s, sum(second.busy_s for second in recent)),
            window_s,
        )
