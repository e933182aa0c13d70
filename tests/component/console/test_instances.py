"""Operators see every process by itself: its load, its settings without secrets, and that one is silent."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pydantic import SecretStr

from matteworks.common.v1 import instance_pb2
from matteworks_common.lifecycle import App, running
from matteworks_common.settings import ServiceSettings
from matteworks_console.settings import ConsoleSettings
from tests.component.console.site import ADMIN_TOKEN, Site, running_site


class DeviceSettings(ServiceSettings):
    """Of a service with a device."""

    threads: int = 1
    api_secret: SecretStr = SecretStr("hush-hush-hush")
    triton_target: str = ""


class Device:
    """A process that computes, whose load a test sets."""

    def __init__(self, finished_count: int = 0, waiting_count: int = 0, busy_s: int = 0) -> None:
        self.load = instance_pb2.DeviceLoad(
            engines="openvino/cpu", waiting_count=waiting_count, max_waiting_count=128,
            finished_count=finished_count,
        )  # fmt: skip
        self.load.window.FromSeconds(60)
        self.load.busy_time.FromSeconds(busy_s)
        self.load.expected_wait.FromMilliseconds(250)


@asynccontextmanager
async def serving(device: Device, **settings: object) -> AsyncIterator[str]:
    """The process; yields its address."""
    values = DeviceSettings(listen_address="127.0.0.1:0", drain_delay_s=0, grace_s=0.5, **settings)  # type: ignore[arg-type]
    app = App("inference", (), lambda _server: None, read_load=lambda: device.load)
    async with running(app, values) as service:
        await service.health.poll()
        yield f"127.0.0.1:{service.port}"


def unused_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@asynccontextmanager
async def site_with(*instances: str) -> AsyncIterator[Site]:
    async with running_site(instances=",".join(instances)) as site:
        yield site


async def test_processes_of_one_service_are_told_apart_and_a_silent_one_is_named() -> None:
    first, second = Device(finished_count=120, busy_s=45), Device(finished_count=30, waiting_count=7)
    silent = unused_address()
    async with (
        serving(first) as one,
        serving(second) as another,
        site_with(f"inference={one}", f"inference={another}", f"inference={silent}") as site,
    ):
        operator = await site.signed_in()
        load = (await operator.get("/console/load")).text
        services = (await operator.get("/console/services")).text

    assert re.findall(r"<dt>Processes</dt><dd>([^<]+)<", load) == ["2 of 3"]
    assert re.findall(r"<dt>Pictures a second</dt><dd>([^<]+)<", load) == ["2.50", "2.00", "0.50"]
    assert re.findall(r"<dt>Waiting</dt><dd>([^<]+)<", load) == ["0 of 128", "7 of 128"]
    assert re.findall(r"</progress> ([^<]+)<", load) == ["75 %", "0 %"]
    assert f"{silent} does not answer" in load
    assert re.findall(r'mono whole">([\d.:]+)</td><td><span[^>]*>([^<]+)<', services) == [
        (one, "well"),
        (another, "well"),
        (silent, "does not answer"),
    ]


async def test_settings_that_differ_between_processes_are_told_and_secrets_are_not() -> None:
    async with (
        serving(Device(), threads=1) as one,
        serving(Device(), threads=4) as another,
        site_with(f"inference={one}", f"inference={another}") as site,
    ):
        operator = await site.signed_in()
        page = (await operator.get("/console/settings")).text

    rows = dict(re.findall(r'class="mono">(\w+)</th><td class="mono long">(.*?)</td>', page))
    assert re.sub(r"\s+", " ", rows["THREADS"]).startswith('1<br>4 <span class="tag bad">processes differ')
    assert rows["API_SECRET"] == "***"
    assert rows["TRITON_TARGET"] == "empty"
    assert "hush-hush" not in page


async def test_what_the_real_services_tell_holds_none_of_their_secrets() -> None:
    """Auth and the console itself, each with secrets of the tests."""
    async with running_site() as site:
        own = site.url.removeprefix("http://")
        async with site_with(f"console=http://{own}", f"auth={site.auth_target}") as watching:
            operator = await watching.signed_in()
            page = (await operator.get("/console/settings")).text
            services = (await operator.get("/console/services")).text

    assert "MATTEWORKS_CONSOLE_ADMIN_TOKEN" in page
    assert "MATTEWORKS_AUTH_KEY_PEPPER" in page
    assert ADMIN_TOKEN not in page
    assert "pepper-of-the-tests" not in page
    assert services.count('<span class="tag">well</span>') == 2


async def test_the_page_of_load_hears_of_a_change() -> None:
    device = Device()
    async with serving(device) as one, site_with(f"inference={one}") as site:
        operator = await site.signed_in()
        async with (
            asyncio.timeout(20),
            operator.http.stream("GET", "/console/instances/events") as stream,
        ):
            lines = stream.aiter_lines()
            while await anext(lines) not in (": no change", "event: changed"):
                pass
            device.load.waiting_count = 9
            # Answers are kept for a second of the clock that the console has.
            site.clock.advance(2)
            while await anext(lines) != "event: changed":
                pass
        page = (await operator.get("/console/load/list")).text

    assert "9 of 128" in page


@pytest.mark.parametrize("text", ["inference", "x=y", "a=b:c", "INF=h:1", "a=https://h:1", "a=h:1;b=h:2"])
def test_an_address_that_is_none_is_refused_at_the_start(text: str) -> None:
    with pytest.raises(ValueError, match="NAME=HOST:PORT"):
        ConsoleSettings(instances=text)
