"""From settings to a running service and back: build, serve, drain, close in reverse order."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import grpc
import structlog
import uvloop
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import CollectorRegistry, start_http_server

from matteworks.common.v1 import instance_pb2_grpc
from matteworks_common.channels import channel_options
from matteworks_common.health import Check, HealthMonitor
from matteworks_common.instance import Instance, LoadReader
from matteworks_common.instance_servicer import InstanceServicer
from matteworks_common.interceptors import server_interceptors
from matteworks_common.logs import configure_logging
from matteworks_common.settings import ServiceSettings, SettingsError, load_settings
from matteworks_common.telemetry import DependencyMetrics, RpcMetrics, observe_process
from matteworks_common.tls import identity_in, until_renewed
from matteworks_common.tracing import configure_tracing

log = structlog.get_logger()


@dataclass
class App:
    """A wired service, not yet listening.

    `add_servicers` registers the generated servicers on a server. `checks` decide readiness.
    `closing` holds what was opened, closed in reverse order after the server has stopped. `beside`, given the
    service's health, listens for another protocol while its block runs and yields its port. `read_load` tells
    how busy its device is.
    """

    name: str
    service_names: tuple[str, ...]
    add_servicers: Callable[[grpc.aio.Server], None]
    checks: Mapping[str, Check] = field(default_factory=dict)
    closing: AsyncExitStack = field(default_factory=AsyncExitStack)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    rpc_metrics: RpcMetrics | None = None
    beside: Callable[[HealthMonitor], AbstractAsyncContextManager[int]] | None = None
    read_load: LoadReader | None = None


@dataclass(frozen=True)
class Running:
    """A service that listens; `beside_port` is that of its other protocol, 0 when it has none."""

    port: int
    health: HealthMonitor
    beside_port: int = 0


@asynccontextmanager
async def running(app: App, settings: ServiceSettings) -> AsyncIterator[Running]:
    """Listen while the block runs; then drain and close. Tests and `serve` share this path."""
    async with app.closing:
        server = grpc.aio.server(
            interceptors=server_interceptors(app.rpc_metrics or RpcMetrics(app.name, app.registry)),
            options=[*channel_options(settings.max_message_bytes), ("grpc.so_reuseport", 0)],
        )
        app.add_servicers(server)
        monitor = HealthMonitor(
            app.service_names,
            app.checks,
            settings.health_interval_s,
            DependencyMetrics(app.name.replace("_", "-"), app.registry),
        )
        health_pb2_grpc.add_HealthServicer_to_server(monitor.servicer, server)
        instance = Instance(app.name, settings, app.registry, lambda: monitor.is_serving, app.read_load)
        instance_pb2_grpc.add_InstanceServiceServicer_to_server(InstanceServicer(instance), server)
        reflection.enable_server_reflection(
            (*app.service_names, reflection.SERVICE_NAME, "grpc.health.v1.Health"), server
        )
        identity = identity_in(settings.tls_directory)
        port = (
            server.add_secure_port(settings.listen_address, identity.server_credentials())
            if identity
            else server.add_insecure_port(settings.listen_address)
        )
        await server.start()
        poller = asyncio.create_task(monitor.run())
        async with AsyncExitStack() as others:
            try:
                beside_port = await others.enter_async_context(app.beside(monitor)) if app.beside else 0
                log.info("listening", port=port, beside_port=beside_port)
                yield Running(port, monitor, beside_port)
            finally:
                await monitor.drain()
                await asyncio.sleep(settings.drain_delay_s)
                await server.stop(settings.grace_s)
                poller.cancel()
                await asyncio.gather(poller, return_exceptions=True)


class HasMetrics(Protocol):
    """A wired service, whatever protocol it speaks."""

    registry: CollectorRegistry


S = TypeVar("S", bound=ServiceSettings)
A = TypeVar("A", bound=HasMetrics)
Serve = Callable[[A, S], AbstractAsyncContextManager[Running]]


def main(name: str, kind: type[S], build: Callable[[S], Awaitable[App]]) -> None:
    """Entry point of a service process: exits 0 after SIGTERM or SIGINT, 2 when it cannot start."""
    run_process(name, kind, build, running)


def run_process(name: str, kind: type[S], build: Callable[[S], Awaitable[A]], serve: Serve[A, S]) -> None:
    """As `main`, for an app that `serve` runs while its block does."""
    try:
        settings = load_settings(kind)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    configure_logging(name, settings.log_level)
    try:
        uvloop.run(_run(name, settings, build, serve))
    except SettingsError as error:
        # Only the wiring knows whether what a setting names exists: a file, a model, a device.
        sys.stderr.write(f"{error}\n")
        sys.exit(2)


async def _run(name: str, settings: S, build: Callable[[S], Awaitable[A]], serve: Serve[A, S]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    exporting = configure_tracing(name, settings.otlp_endpoint, settings.trace_sample_ratio)
    try:
        app = await build(settings)
        observe_process(name, app.registry)
        if settings.metrics_port:
            host = settings.listen_address.rpartition(":")[0]
            start_http_server(settings.metrics_port, addr=host, registry=app.registry)
        # Objects of the start live until the end. Frozen, they are not scanned in every garbage collection.
        gc.collect()
        gc.freeze()
        async with serve(app, settings), _renewal(settings, stop):
            await stop.wait()
    finally:
        if exporting:
            await asyncio.to_thread(exporting.shutdown)
        log.info("stopped")


@asynccontextmanager
async def _renewal(settings: ServiceSettings, stop: asyncio.Event) -> AsyncIterator[None]:
    """While the block runs, set `stop` once the certificates on the disk are others than those in use: gRPC
    cannot change those of an open channel.
    """
    identity = identity_in(settings.tls_directory)
    if identity is None:
        yield
        return
    waiting = asyncio.create_task(until_renewed(identity, settings.tls_renewal_spread_s))
    waiting.add_done_callback(lambda _: stop.set())
    try:
        yield
    finally:
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
