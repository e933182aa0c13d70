"""What a process tells its operators of itself: what it was set to, what it holds, how busy it is."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import socket
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from pydantic_settings import BaseSettings

from matteworks.common.v1 import instance_pb2

SERVICE_NAME: Final = "matteworks.common.v1.InstanceService"
HTTP_PATH: Final = b"/instance"
HTTP_TYPE: Final = b"application/x-protobuf"
HIDDEN: Final = "***"
# Names of settings and of parameters in URLs whose values nobody is shown.
SECRET_NAME: Final = re.compile(r"secret|token|password|pepper|access_key|credential", re.IGNORECASE)
_USER_OF_URL: Final = re.compile(r"(://)[^/?#@\s]*@")
_PARAMETER: Final = re.compile(r"([?&;]([^=&;]*)=)([^&;]*)")

LoadReader = Callable[[], instance_pb2.DeviceLoad]


class Instance:
    """This process. `is_serving` tells its health, `read_load` how busy its device is; None: it has none."""

    def __init__(
        self,
        name: str,
        settings: BaseSettings,
        registry: CollectorRegistry,
        is_serving: Callable[[], bool],
        read_load: LoadReader | None = None,
    ) -> None:
        self._name = name
        self._settings = list(settings_in_force(settings))
        self._registry = registry
        self._is_serving = is_serving
        self._read_load = read_load
        self._started = datetime.now(UTC)

    def describe(self, own_requests: int = 0) -> instance_pb2.GetInstanceResponse:
        """As it is now; `own_requests` is how many of the requests under way ask this."""
        described = instance_pb2.GetInstanceResponse(
            service=self._name,
            version=version("matteworks"),
            host=socket.gethostname(),
            process_id=os.getpid(),
            is_serving=self._is_serving(),
            memory_bytes=resident_bytes(),
            in_flight_count=max(0, self._in_flight_count() - own_requests),
            settings=self._settings,
            device_load=self._read_load() if self._read_load else None,
        )
        described.start_time.FromDatetime(self._started)
        return described

    def _in_flight_count(self) -> int:
        return round(
            sum(
                sample.value
                for metric in self._registry.collect()
                for sample in metric.samples
                if sample.name.endswith("_in_flight")
            )
        )


Asgi = Callable[..., Awaitable[Any]]


def answering_for(instance: Instance, asgi: Asgi) -> Asgi:
    """`asgi`, and before it the description for those who reach this process itself.

    The proxy writes `x-forwarded-for` into everything that comes from outside, so to strangers there is
    nothing at this path but what `asgi` says. The raw path is compared: no other spelling is the same.
    """

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        is_asked = scope["type"] == "http" and scope["method"] == "GET" and scope["raw_path"] == HTTP_PATH
        if not is_asked or any(name == b"x-forwarded-for" for name, _ in scope["headers"]):
            await asgi(scope, receive, send)
            return
        body = instance.describe().SerializeToString()
        headers = [(b"content-type", HTTP_TYPE), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return serve


def settings_in_force(settings: BaseSettings) -> Iterator[instance_pb2.Setting]:
    """Every setting by the name of its variable, without secrets."""
    prefix = str(settings.model_config.get("env_prefix", ""))
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        yield instance_pb2.Setting(
            variable=f"{prefix}{name}".upper(),
            value=shown(value),
            is_default=not field.is_required() and value == field.get_default(call_default_factory=True),
        )


def shown(value: Any) -> str:
    """`value` as people may read it: a secret as `***`, and a URL without its password."""
    if isinstance(value, SecretStr):
        return HIDDEN if value.get_secret_value() else ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(shown(part) for part in value)
    if isinstance(value, dict):
        return ", ".join(f"{key}={shown(part)}" for key, part in value.items())
    text = "" if value is None else str(value)
    if "://" not in text:
        return text
    text = _USER_OF_URL.sub(rf"\1{HIDDEN}@", text)
    return _PARAMETER.sub(
        lambda found: found[1] + (HIDDEN if SECRET_NAME.search(found[2]) else found[3]), text
    )


def give_back_free_memory() -> None:
    """Give the system what the allocator keeps for later; nothing where the allocator cannot. Takes
    milliseconds, so not for requests.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def resident_bytes() -> int:
    """Memory of the machine that this process holds; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
