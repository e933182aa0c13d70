"""Serves the edge over HTTP, and stops without cutting off a request."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import structlog
import uvicorn
import uvloop
from prometheus_client import start_http_server

from matteworks_common.lifecycle import Running
from matteworks_common.logs import configure_logging
from matteworks_common.settings import SettingsError, load_settings
from matteworks_common.telemetry import configure_tracing
from matteworks_edge.app import EdgeApp, build
from matteworks_edge.settings import EdgeSettings

log = structlog.get_logger()


@asynccontextmanager
async def running(app: EdgeApp, settings: EdgeSettings) -> AsyncIterator[Running]:
    """Listen while the block runs. Then: not ready, wait for the proxy to notice, stop accepting, finish
    what runs, settle what was reserved, close.
    """
    async with app.closing:
        listener = _listen(settings.listen_address)
        port: int = listener.getsockname()[1]
        server = _Server(
            uvicorn.Config(
                app.asgi,
                http="httptools",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=settings.keep_alive_s,
                timeout_graceful_shutdown=max(1, round(settings.grace_s)),
            )
        )
        serving = asyncio.create_task(server.serve([listener]))
        poller = asyncio.create_task(app.monitor.run())
        try:
            await server.wait_started(serving)
            log.info("listening", port=port)
            yield Running(port, app.monitor)
        finally:
            app.draining.set()
            await app.monitor.drain()
            await asyncio.sleep(settings.drain_delay_s)
            server.should_exit = True
            poller.cancel()
            await asyncio.gather(serving, poller, return_exceptions=True)


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
    return socket.create_server((host, int(port)), family=family, backlog=2048)


def main() -> None:
    """Entry point of the process: exits 0 after SIGTERM or SIGINT, 2 when it cannot start."""
    try:
        settings = load_settings(EdgeSettings)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    configure_logging("edge", settings.log_level)
    try:
        uvloop.run(_serve(settings))
    except OSError as error:
        sys.stderr.write(f"Cannot listen on {settings.listen_address}: {error.strerror}\n")
        sys.exit(2)


async def _serve(settings: EdgeSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    provider = configure_tracing("edge", settings.otlp_endpoint)
    try:
        app = await build(settings)
        if settings.metrics_port:
            host = settings.listen_address.rpartition(":")[0]
            start_http_server(settings.metrics_port, addr=host, registry=app.registry)
        # What lives now lives until the end; collecting it again and again only costs pauses.
        gc.collect()
        gc.freeze()
        async with running(app, settings):
            await stop.wait()
    finally:
        if provider:
            provider.shutdown()
        log.info("stopped")
