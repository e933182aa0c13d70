"""Which pictures the door lets in, by the pace of the answers before."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from matteworks_common.errors import LimitExceeded
from matteworks_inference.queueing.door import PictureAdmission
from tests.support.clock import ManualClock


class Drops:
    """What the metrics would hear."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def picture_refused(self, reason: str) -> None:
        self.reasons.append(reason)

    def depth_changed(self, item_count: int) -> None:
        raise AssertionError("the door has no queue")

    def batch_finished(self, key: object, item_count: int, run_s: float) -> None:
        raise AssertionError("the door runs nothing")


class Door:
    """An admission whose pictures come and go in order."""

    def __init__(self, max_pictures: int = 100, max_wait_s: float = 10.0) -> None:
        self.clock = ManualClock()
        self.drops = Drops()
        self.admission = PictureAdmission(max_pictures, max_wait_s, self.clock, self.drops)
        self._inside: list[ExitStack] = []

    def enter(self, within_s: float | None = None) -> None:
        picture = ExitStack()
        deadline_s = None if within_s is None else self.clock.monotonic_s() + within_s
        picture.enter_context(self.admission.hold(deadline_s))
        self._inside.append(picture)

    def answer(self, after_s: float) -> None:
        self.clock.advance(after_s)
        self._inside.pop(0).close()

    def learn(self, interval_s: float, in_hand: int) -> None:
        """Answers at that pace, then `in_hand` pictures inside."""
        for _ in range(in_hand):
            self.enter()
        for _ in range(200):
            self.enter()
            self.answer(interval_s)


def test_a_server_that_knows_no_pace_takes_as_many_as_it_may_hold() -> None:
    door = Door(max_pictures=3)
    for _ in range(3):
        door.enter(within_s=0.001)
    with pytest.raises(LimitExceeded, match="Too many pictures are in hand\\."):
        door.enter()
    assert door.drops.reasons == ["full"]


def test_a_picture_that_would_be_answered_too_late_is_refused_at_once() -> None:
    door = Door(max_wait_s=1.1)
    door.learn(interval_s=0.2, in_hand=4)
    assert door.admission.expected_s == pytest.approx(1.0)
    door.enter()
    with pytest.raises(LimitExceeded, match="for the time that is left"):
        door.enter()
    assert door.drops.reasons == ["late"]
    door.answer(0.2)
    door.enter()


def test_the_callers_own_deadline_counts_when_it_is_nearer() -> None:
    door = Door(max_wait_s=100.0)
    door.learn(interval_s=0.5, in_hand=3)
    door.enter(within_s=2.1)
    with pytest.raises(LimitExceeded):
        door.enter(within_s=2.1)
    door.enter(within_s=2.6)


def test_retry_after_is_half_of_what_was_expected() -> None:
    door = Door(max_wait_s=100.0)
    door.learn(interval_s=2.0, in_hand=5)
    with pytest.raises(LimitExceeded) as refused:
        door.enter(within_s=11.9)
    assert refused.value.retry_after_s == pytest.approx(6.0)


def test_time_without_a_picture_in_hand_is_not_counted() -> None:
    door = Door()
    for _ in range(50):
        door.clock.advance(60.0)
        door.enter()
        door.answer(0.5)
    assert door.admission.expected_s == pytest.approx(0.5)


def test_a_pace_that_was_slow_once_is_unlearnt_by_single_pictures() -> None:
    """A machine that stood still for minutes must not refuse every second picture ever after."""
    door = Door(max_wait_s=30.0)
    door.enter()
    door.answer(300.0)
    door.enter()
    with pytest.raises(LimitExceeded):
        door.enter()
    door.answer(0.5)
    for _ in range(40):
        door.enter()
        door.answer(0.5)
    door.enter()
    door.enter()


def test_an_idle_server_takes_what_it_gets() -> None:
    door = Door(max_wait_s=100.0)
    door.learn(interval_s=3.0, in_hand=1)
    with pytest.raises(LimitExceeded):
        door.enter(within_s=1.0)
    door.answer(3.0)
    door.enter(within_s=1.0)


def test_an_idle_server_takes_pictures_that_come_together_whatever_its_pace_was() -> None:
    door = Door(max_pictures=3, max_wait_s=30.0)
    door.enter()
    door.answer(300.0)
    with door.admission.hold(None, picture_count=2):
        assert door.admission.in_hand_count == 2
        with pytest.raises(LimitExceeded, match="for the time that is left"):
            door.enter()
    assert door.admission.expected_s < 300.0
    with pytest.raises(LimitExceeded, match="in hand\\."), door.admission.hold(None, picture_count=4):
        pass
    assert door.drops.reasons == ["late", "full"]


def test_a_picture_that_failed_tells_nothing_of_the_pace() -> None:
    door = Door()
    door.learn(interval_s=0.2, in_hand=2)
    before = door.admission.expected_s
    with pytest.raises(ValueError, match="broken"), door.admission.hold(None):
        raise ValueError("broken")
    assert door.admission.expected_s == pytest.approx(before)
