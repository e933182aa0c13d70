"""When a service counts as well."""

from __future__ import annotations

from matteworks_common.health import TOLERATED_FAILURES, HealthMonitor


class Dependency:
    """Answers while `is_well`."""

    def __init__(self, is_well: bool) -> None:
        self.is_well = is_well

    async def check(self) -> None:
        if not self.is_well:
            raise ConnectionError


def monitor_of(dependency: Dependency) -> HealthMonitor:
    return HealthMonitor((), {"dependency": dependency.check}, interval_s=1.0)


async def test_a_service_whose_dependency_never_answered_is_not_ready() -> None:
    monitor = monitor_of(Dependency(is_well=False))

    await monitor.poll()

    assert not monitor.is_serving


async def test_the_first_answer_of_a_dependency_makes_a_service_ready() -> None:
    dependency = Dependency(is_well=False)
    monitor = monitor_of(dependency)
    await monitor.poll()

    dependency.is_well = True
    await monitor.poll()

    assert monitor.is_serving


async def test_a_lost_poll_does_not_take_a_service_out_of_rotation() -> None:
    """Otherwise one frozen worker of a service takes everything that depends on the service down."""
    dependency = Dependency(is_well=True)
    monitor = monitor_of(dependency)
    await monitor.poll()

    dependency.is_well = False
    for _ in range(TOLERATED_FAILURES):
        await monitor.poll()

    assert monitor.is_serving


async def test_a_dependency_that_stays_away_takes_the_service_out_of_rotation() -> None:
    dependency = Dependency(is_well=True)
    monitor = monitor_of(dependency)
    await monitor.poll()

    dependency.is_well = False
    for _ in range(TOLERATED_FAILURES + 1):
        await monitor.poll()

    assert not monitor.is_serving


async def test_a_drained_service_never_comes_back() -> None:
    monitor = monitor_of(Dependency(is_well=True))
    await monitor.poll()

    await monitor.drain()
    await monitor.poll()

    assert not monitor.is_serving
