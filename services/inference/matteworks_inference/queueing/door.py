"""Which pictures are taken in, so that those that are served hardly notice a flood of others.

The queue of the device refuses what it cannot run in time, but by then a picture was looked at and
resized, on the same cores that small servers run their networks on. So the same question is asked at the
door: how long would this picture take behind all that are in hand? By Little's law that is their
number times the time from one answer to the next.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from matteworks_common.clock import Clock
from matteworks_common.errors import overloaded

__all__ = ["PictureAdmission"]

# How fast the time between answers follows the latest one.
_FOLLOWING: Final = 0.1


class DoorObserver(Protocol):
    """Where the door reports what happens. Called on the event loop; must not raise."""

    def picture_refused(self, reason: str) -> None:
        """A picture was not taken in: full or late."""


class PictureAdmission:
    """At most `max_pictures` in hand, and none that would be answered later than `max_wait_s`.

    Use from one event loop.
    """

    def __init__(self, max_pictures: int, max_wait_s: float, clock: Clock, observer: DoorObserver) -> None:
        self._max_pictures = max_pictures
        self._max_wait_s = max_wait_s
        self._clock = clock
        self._observer = observer
        self._in_hand = 0
        # Seconds from one answer to the next on a busy server; 0: not known yet.
        self._interval_s = 0.0
        self._last_answer_s = float("-inf")

    @property
    def in_hand_count(self) -> int:
        """Pictures that were taken in and not answered yet."""
        return self._in_hand

    @property
    def expected_s(self) -> float:
        """Seconds until a picture that came now would be answered, from the pace of the last ones."""
        return (self._in_hand + 1) * self._interval_s

    @contextmanager
    def hold(self, deadline_s: float | None, picture_count: int = 1) -> Iterator[None]:
        """Count pictures in hand, to be answered by `deadline_s` on the clock's monotonic scale.

        Raises LimitExceeded (OVERLOADED) instead when there are too many, or they would be too late.
        """
        expected_s = self.expected_s + (picture_count - 1) * self._interval_s
        if self._in_hand + picture_count > self._max_pictures:
            self._observer.picture_refused("full")
            raise overloaded("Too many pictures are in hand.", expected_s)
        now_s = self._clock.monotonic_s()
        most_s = self._max_wait_s
        if deadline_s is not None:
            most_s = min(most_s, deadline_s - now_s)
        # An idle server takes what it gets: its pace may have been another picture's.
        if self._in_hand and expected_s > most_s:
            self._observer.picture_refused("late")
            raise overloaded("Too many pictures are in hand for the time that is left.", expected_s)
        self._in_hand += picture_count
        try:
            yield
            for _ in range(picture_count):
                self._learn(now_s)
        finally:
            self._in_hand -= picture_count

    def _learn(self, came_s: float) -> None:
        """A picture was answered; one that failed tells nothing.

        Of the time since the answer before no more counts than this picture was in hand: the rest was idle.
        So even single pictures unlearn a pace that was slow once.
        """
        now_s = self._clock.monotonic_s()
        interval_s = now_s - max(came_s, self._last_answer_s)
        known_s = self._interval_s or interval_s
        self._interval_s = known_s + _FOLLOWING * (interval_s - known_s)
        self._last_answer_s = now_s
