"""The simulator against answers that are known without it."""

from __future__ import annotations

import itertools

import pytest
from tools.scaling import DAY_S, ScalingRule, ServiceTimes, Walls, day_of_pictures, first_wall, simulate

TIMES = ServiceTimes(edge_core_s=0.01, compositor_core_s=0.04, auth_core_s=0.0, device_rate=100)


def steady(rate: int, seconds: int) -> itertools.repeat[int]:
    return itertools.repeat(rate, seconds)


def test_what_one_device_carries_never_waits_and_needs_no_other() -> None:
    outcome = simulate(iter(steady(90, 600)), TIMES, ScalingRule())

    assert outcome.most_devices == 1
    assert outcome.delay_s(1.0) == 0


def test_devices_are_added_until_a_rate_is_carried() -> None:
    outcome = simulate(iter(steady(450, 3600)), TIMES, ScalingRule())

    assert 5 <= outcome.most_devices <= 12
    assert outcome.delays_s[-1] == 0


def test_cores_follow_use() -> None:
    """450 pictures a second at 0.05 s of a core are 22.5 cores, and two thirds of them may be busy."""
    outcome = simulate(iter(steady(450, 600)), TIMES, ScalingRule(core_use=0.65))

    assert outcome.most_cores == 35


def test_nothing_is_lost_while_it_waits() -> None:
    """A backlog takes as long as its size by the free capacity says."""
    trace = [1000, *([0] * 20)]
    outcome = simulate(iter(trace), TIMES, ScalingRule(reaction_s=1000))

    assert [round(delay, 1) for delay in outcome.delays_s[:11]] == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0]


def test_a_device_that_was_asked_for_is_there_after_its_start() -> None:
    slow = simulate(iter(steady(300, 3600)), TIMES, ScalingRule(start_s=300))
    quick = simulate(iter(steady(300, 3600)), TIMES, ScalingRule(start_s=15))

    assert max(quick.delays_s) < max(slow.delays_s) / 4


def test_a_day_has_the_mean_that_was_asked_for_and_is_the_same_each_time() -> None:
    first, again = list(day_of_pictures(20)), list(day_of_pictures(20))

    assert first == again
    assert len(first) == DAY_S
    assert sum(first) / DAY_S == pytest.approx(20, rel=0.05)


@pytest.mark.parametrize(("rate", "wall"), [(10, ""), (360, "one inference process"), (5000, "one Envoy")])
def test_the_tightest_wall_is_told_first(rate: float, wall: str) -> None:
    told = first_wall(rate, ServiceTimes(), Walls())

    assert (told == "") if not wall else wall in told
