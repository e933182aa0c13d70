"""Health of a service: polls its dependencies and turns healthy or not. Only changes are logged."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog
from grpc_health.v1 import health, health_pb2

from matteworks_common.telemetry import DependencyMetrics

Check = Callable[[], Awaitable[None]]
log = structlog.get_logger()

# One lost poll of a service with several workers means that a worker was lost, not the service. If this
# service turned unhealthy at once, everything that depends on it would go down with it.
TOLERATED_FAILURES = 2


class HealthMonitor:
    """Serves `grpc.health.v1` for "" and for each service name.

    Starts NOT_SERVING. Each poll runs every check, with a timeout shorter than the interval; a check
    says no by raising. A service that was well turns NOT_SERVING when a check says no more than
    TOLERATED_FAILURES times in a row, and back on its first yes. After `drain` it stays NOT_SERVING for
    good.
    """

    def __init__(
        self,
        service_names: tuple[str, ...],
        checks: Mapping[str, Check],
        interval_s: float,
        metrics: DependencyMetrics | None = None,
    ) -> None:
        self.servicer = health.aio.HealthServicer()
        self._names = ("", *service_names)
        self._checks = checks
        self._interval_s = interval_s
        self._timeout_s = interval_s * 0.8
        self._problems: dict[str, str] | None = None
        self._failure_counts = dict.fromkeys(checks, 0)
        self._is_draining = False
        self._metrics = metrics

    @property
    def is_serving(self) -> bool:
        """Whether the last poll found every dependency well."""
        return self._problems == {} and not self._is_draining

    async def poll(self) -> None:
        """Run the checks once and set the status."""
        was_serving = self._problems == {}
        problems: dict[str, str] = {}
        for name, check in self._checks.items():
            try:
                async with asyncio.timeout(self._timeout_s):
                    await check()
            except Exception as error:
                self._looked(name, is_well=False)
                self._failure_counts[name] += 1
                if not was_serving or self._failure_counts[name] > TOLERATED_FAILURES:
                    problems[name] = type(error).__name__
            else:
                self._looked(name, is_well=True)
                self._failure_counts[name] = 0
        if self._is_draining:
            return
        if problems != self._problems:
            log.info("health_changed", is_serving=not problems, problems=problems)
            self._problems = problems
        await self._set(not problems)

    async def run(self) -> None:
        """Poll until cancelled or drained."""
        # A check may swallow the cancellation, as asyncio.wait_for can; draining still ends the loop.
        while not self._is_draining:
            await self.poll()
            await asyncio.sleep(self._interval_s)

    async def drain(self) -> None:
        """Turn NOT_SERVING for good."""
        self._is_draining = True
        await self._set(False)

    def _looked(self, name: str, *, is_well: bool) -> None:
        if self._metrics:
            self._metrics.looked(name, is_well=is_well)

    async def _set(self, is_serving: bool) -> None:
        if self._metrics:
            self._metrics.decided(is_serving=is_serving)
        status = (
            health_pb2.HealthCheckResponse.SERVING
            if is_serving
            else health_pb2.HealthCheckResponse.NOT_SERVING
        )
        for name in self._names:
            await self.servicer.set(name, status)
