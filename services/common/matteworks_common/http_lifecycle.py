"""As `lifecycle`, for services that speak HTTP: serve, drain without cutting off a request, close."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog
import uvicorn
from prometheus_client import CollectorRegistry
from pydantic import Field

from matteworks_common.health import HealthMonitor
from matteworks_common.instance import Instance, answering_for
from matteworks_common.lifecycle import Running, run_process
from matteworks_common.settings import ServiceSettings, SettingsError
from matteworks_common.tls import Identity, identity_in

log = structlog.get_logger()


class HttpSettings(ServiceSettings):
    """What every HTTP service reads."""

    keep_alive_s: int = Field(
        3700,
        ge=1,
        description="Seconds that an idle connection stays open; longer than the proxy's own idle time, "
        "so that no request meets a connection that is being closed.",
    )


@dataclass
class HttpApp:
    """A wired service, not yet listening.

    `name` is the service's. Once `draining` is set, answers should close their connections. `closing` holds
    what was opened, closed in reverse order after the server has stopped.
    """

    name: str
    asgi: Callable[..., Awaitable[Any]]
    monitor: HealthMonitor
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    closing: AsyncExitStack = field(default_factory=AsyncExitStack)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)


@asynccontextmanager
async def running(app: HttpApp, settings: HttpSettings) -> AsyncIterator[Running]:
    """Listen while the block runs. Then: not ready, wait for the proxy to notice, stop accepting, finish
    what runs, close. Raises SettingsError when the address is taken or not ours.
    """
    instance = Instance(app.name, settings, app.registry, lambda: app.monitor.is_serving)
    asgi = answering_for(instance, app.asgi)
    async with (
        app.closing,
        listening(
            asgi,
            settings.listen_address,
            settings.keep_alive_s,
            settings.grace_s,
            identity_in(settings.tls_directory),
        ) as port,
    ):
        poller = asyncio.create_task(app.monitor.run())
        try:
            log.info("listening", port=port)
            yield Running(port, app.monitor)
        finally:
            app.draining.set()
            await app.monitor.drain()
            await asyncio.sleep(settings.drain_delay_s)
            poller.cancel()
            await asyncio.gather(poller, return_exceptions=True)


@asynccontextmanager
async def listening(
    asgi: Callable[..., Awaitable[Any]],
    address: str,
    keep_alive_s: int,
    grace_s: float,
    identity: Identity | None = None,
) -> AsyncIterator[int]:
    """Serve while the block runs; yields the port. Then stop accepting, and finish what runs within
    `grace_s`. With an `identity` by mutual TLS, else in plaintext. Raises SettingsError when the address is
    taken or not ours.
    """
    listener = _listen(address)
    port: int = listener.getsockname()[1]
    server = _Server(
        uvicorn.Config(
            asgi,
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=keep_alive_s,
            timeout_graceful_shutdown=max(1, round(grace_s)),
            **_tls_options(identity),
        )
    )
    serving = asyncio.create_task(server.serve([listener]))
    try:
        await server.wait_started(serving)
        yield port
    finally:
        server.should_exit = True
        await asyncio.gather(serving, return_exceptions=True)


S = TypeVar("S", bound=HttpSettings)


def main(name: str, kind: type[S], build: Callable[[S], Awaitable[HttpApp]]) -> None:
    """Entry point of a service process: exits 0 after SIGTERM or SIGINT, 2 when it cannot start."""
    run_process(name, kind, build, running)


def _tls_options(identity: Identity | None) -> dict[str, Any]:
    if identity is None:
        return {}
    return {
        "ssl_certfile": identity.certificate,
        "ssl_keyfile": identity.key,
        "ssl_ca_certs": str(identity.authority),
        "ssl_cert_reqs": ssl.CERT_REQUIRED,
    }


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers, and with an event for its start."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._is_started = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._is_started.set()

    async def wait_started(self, serving: asyncio.Task[None]) -> None:
        """Return once connections are accepted; raise what kept `serving` from it."""
        starting = asyncio.create_task(self._is_started.wait())
        await asyncio.wait((starting, serving), return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            serving.result()
            raise RuntimeError("the HTTP server ended before it had started")

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listen(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, int(port)), family=family, backlog=2048)
    except OSError as error:
        raise SettingsError(f"Cannot listen on {address}: {error.strerror}") from error
