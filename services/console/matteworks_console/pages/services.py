"""What stands behind the pages: whether it answers, how busy it is, and what it was set to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from matteworks.common.v1 import instance_pb2
from matteworks_common.errors import MatteworksError
from matteworks_console.instances import Answer, InstancesClient, by_service
from matteworks_console.pages.live import LiveStreams
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


@dataclass(frozen=True, slots=True)
class SettingOfAll:
    """A setting as the processes of a service have it; more than one value: they differ."""

    variable: str
    values: tuple[str, ...]
    is_default: bool


class ServicePages:
    """`/console/services`, `/console/load` and `/console/settings`, for operators. A probe returns when its
    service, and what that needs, answer.
    """

    def __init__(
        self,
        renderer: Renderer,
        access: Access,
        probes: Mapping[str, Probe],
        instances: InstancesClient,
        live: LiveStreams,
    ) -> None:
        self._renderer = renderer
        self._access = access
        self._probes = probes
        self._instances = instances
        self._live = live

    @property
    def routes(self) -> list[Route]:
        return [
            Route("/console/services", self.page, methods=["GET"]),
            Route("/console/services/list", self.part, methods=["GET"]),
            Route("/console/load", self.load, methods=["GET"]),
            Route("/console/load/list", self.load_part, methods=["GET"]),
            Route("/console/instances/events", self.events, methods=["GET"]),
            Route("/console/settings", self.settings, methods=["GET"]),
        ]

    async def page(self, request: Request) -> Response:
        """Every service, and every process of it, now."""
        session = await self._access.operator(request)
        return self._renderer.page("services.html", session=session, **await self._ask())

    async def part(self, request: Request) -> Response:
        """The part of the page that moves."""
        await self._access.operator(request)
        return self._renderer.page("services_part.html", **await self._ask())

    async def load(self, request: Request) -> Response:
        """How busy the devices are."""
        session = await self._access.operator(request)
        return self._renderer.page("load.html", session=session, **await self._loads())

    async def load_part(self, request: Request) -> Response:
        """The part of the page that moves."""
        await self._access.operator(request)
        return self._renderer.page("load_part.html", **await self._loads())

    async def events(self, request: Request) -> Response:
        """Told whenever a process says something else of itself."""
        session = await self._access.operator(request)

        async def look() -> bytes:
            return b"".join(
                answer.told.SerializeToString(deterministic=True) if answer.told else answer.problem.encode()
                for answer in await self._instances.answers()
            )

        return self._live.follow(session, lambda: self._access.operator(request), look)

    async def settings(self, request: Request) -> Response:
        """What each service was set to, without secrets."""
        session = await self._access.operator(request)
        services = by_service(await self._instances.answers())
        return self._renderer.page(
            "settings.html",
            session=session,
            services={
                name: (settings_of(answers), sum(answer.told is None for answer in answers))
                for name, answers in services.items()
            },
        )

    async def _ask(self) -> dict[str, Any]:
        services, answers = await asyncio.gather(
            asyncio.gather(*(_probe(name, probe) for name, probe in self._probes.items())),
            self._instances.answers(),
        )
        return {"services": services, "answers": answers}

    async def _loads(self) -> dict[str, Any]:
        answers = await self._instances.answers()
        loads = [answer for answer in answers if answer.told and answer.told.HasField("device_load")]
        silent = [answer for answer in answers if answer.address.name == "inference" and not answer.told]
        return {
            "loads": loads,
            "silent": silent,
            "pictures_a_second": sum(_pace(answer.told.device_load) for answer in loads if answer.told),
            "waiting_count": sum(answer.told.device_load.waiting_count for answer in loads if answer.told),
            "pace": _pace,
            "busy": _busy,
        }


def settings_of(answers: Sequence[Answer]) -> list[SettingOfAll]:
    """The settings of a service's processes side by side, those that all have alike as one value."""
    found: dict[str, list[instance_pb2.Setting]] = {}
    for answer in answers:
        for setting in answer.told.settings if answer.told else ():
            found.setdefault(setting.variable, []).append(setting)
    return [
        SettingOfAll(
            variable,
            tuple(dict.fromkeys(setting.value for setting in settings)),
            all(setting.is_default for setting in settings),
        )
        for variable, settings in found.items()
    ]


def _pace(load: instance_pb2.DeviceLoad) -> float:
    """Pictures a second."""
    window_s = load.window.ToNanoseconds() / 1e9
    return load.finished_count / window_s if window_s else 0.0


def _busy(load: instance_pb2.DeviceLoad) -> float:
    """The share of the time in which the device was at work, 0 to 1."""
    window_s = load.window.ToNanoseconds() / 1e9
    return min(1.0, load.busy_time.ToNanoseconds() / 1e9 / window_s) if window_s else 0.0


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
