"""Whether the services that stand behind the pages answer, and how fast."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from matteworks_common.errors import MatteworksError
from matteworks_console.rendering import Renderer
from matteworks_console.security.access import Access

# A service that takes longer is in trouble, whatever it says then.
PROBE_TIMEOUT_S: Final = 3.0

Probe = Callable[[], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Health:
    """What one service said. `problem` is empty when it answered."""

    name: str
    duration_s: float
    problem: str


class ServicePages:
    """`/console/services`, for operators. A probe returns when its service, and what that needs, answer."""

    def __init__(self, renderer: Renderer, access: Access, probes: Mapping[str, Probe]) -> None:
        self._renderer = renderer
        self._access = access
        self._probes = probes

    @property
    def routes(self) -> list[Route]:
        return [
            Route("/console/services", self.page, methods=["GET"]),
            Route("/console/services/list", self.part, methods=["GET"]),
        ]

    async def page(self, request: Request) -> Response:
        """Every service, now."""
        session = await self._access.operator(request)
        return self._renderer.page("services.html", session=session, services=await self._ask())

    async def part(self, request: Request) -> Response:
        """The part of the page that moves."""
        await self._access.operator(request)
        return self._renderer.page("services_part.html", services=await self._ask())

    async def _ask(self) -> list[Health]:
        return await asyncio.gather(*(_probe(name, probe) for name, probe in self._probes.items()))


async def _probe(name: str, probe: Probe) -> Health:
    start = time.perf_counter()
    problem = ""
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            await probe()
    except TimeoutError:
        problem = f"No answer within {PROBE_TIMEOUT_S:g} s."
    except MatteworksError as error:
        problem = error.message
    return Health(name, time.perf_counter() - start, problem)
