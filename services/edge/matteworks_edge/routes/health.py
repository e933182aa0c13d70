"""Liveness and readiness for whoever routes requests here."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from matteworks_common.errors import Unavailable
from matteworks_common.health import HealthMonitor
from matteworks_edge.exchange import exchange_of
from matteworks_edge.operations.services import Services
from matteworks_edge.responses import json_response


@dataclass(frozen=True, slots=True)
class HealthEndpoint:
    """Health as a provider tells it: needs no key, and its 503 is no error document."""

    services: Services

    async def __call__(self, request: Request) -> Response:
        exchange_of(request).route = "health"
        if self.services.is_ready():
            return json_response({"status": "ok"})
        return json_response({"status": "unavailable"}, 503, {"Retry-After": "1"})


async def is_alive(request: Request) -> Response:
    """The process answers; it depends on nothing else."""
    exchange_of(request).route = "healthz"
    return json_response({"status": "ok"})


@dataclass(frozen=True, slots=True)
class ReadinessEndpoint:
    """200 while auth, its store and the compositor answer and the process is not about to end."""

    monitor: HealthMonitor

    async def __call__(self, request: Request) -> Response:
        exchange_of(request).route = "readyz"
        if not self.monitor.is_serving:
            raise Unavailable("A service that removals need does not answer, or this one is stopping.")
        return json_response({"status": "ready"})
