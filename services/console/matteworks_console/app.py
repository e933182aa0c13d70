"""Wires the console: templates, files, channels, routes."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import grpc
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from matteworks_common.channels import open_channel
from matteworks_common.clock import Clock, SystemClock
from matteworks_common.health import HealthMonitor
from matteworks_common.http_lifecycle import HttpApp
from matteworks_common.telemetry import DependencyMetrics
from matteworks_common.tls import identity_in
from matteworks_console import formats
from matteworks_console.clients import AccountsClient, CompositorProbe, ModelsClient
from matteworks_console.instances import InstancesClient
from matteworks_console.jobs_client import JobsClient
from matteworks_console.middleware import PageMetrics, PageMiddleware
from matteworks_console.pages.jobs import JobPages
from matteworks_console.pages.keys import KeyPages
from matteworks_console.pages.live import POLL_S, LiveStreams
from matteworks_console.pages.operators import OperatorPages
from matteworks_console.pages.overview import OverviewPages
from matteworks_console.pages.requests import RequestPages
from matteworks_console.pages.services import Probe, ServicePages
from matteworks_console.pages.sign_in import SignInPages
from matteworks_console.pages.try_it import TryItPages
from matteworks_console.pages.usage import UsagePages
from matteworks_console.rendering import Renderer
from matteworks_console.security.access import Access
from matteworks_console.security.session_store import MemorySessionStore, SessionStore
from matteworks_console.security.valkey_session_store import ValkeySessionStore
from matteworks_console.settings import ConsoleSettings
from matteworks_console.static_files import StaticFiles


@dataclass(frozen=True, slots=True)
class ConsoleDependencies:
    """What tests replace. None: the real thing, from the settings."""

    clock: Clock = field(default_factory=SystemClock)
    store: SessionStore | None = None
    poll_s: float = POLL_S


async def build(settings: ConsoleSettings, deps: ConsoleDependencies | None = None) -> HttpApp:
    """Wire the console; what was opened is closed again when a later step fails."""
    deps = deps or ConsoleDependencies()
    async with AsyncExitStack() as opening:
        registry = CollectorRegistry()
        draining = asyncio.Event()
        static_files = StaticFiles("/console/static")
        has_console = bool(settings.admin_token.get_secret_value())
        renderer = Renderer(
            static_files,
            {
                "has_console": has_console,
                "has_try_it": settings.try_it,
                "has_jobs": bool(settings.jobs_target),
            },
        )
        for convert in formats.FILTERS:
            renderer.add_filter(convert.__name__, convert)
        try_it = TryItPages(renderer, settings.public_url, settings.browser_key_file, settings.try_it)
        routes = list(try_it.routes)
        if has_console:
            routes += _console_routes(settings, deps, renderer, try_it, draining, opening)
        monitor = HealthMonitor((), {}, settings.health_interval_s, DependencyMetrics("console", registry))
        asgi = Starlette(
            routes=[
                *routes,
                Route("/console/static/{version}/{name:path}", static_files.__call__, methods=["GET"]),
                Route("/healthz", _is_alive, methods=["GET"]),
                Route("/readyz", _is_alive, methods=["GET"]),
            ],
            middleware=[
                Middleware(
                    PageMiddleware,
                    renderer=renderer,
                    metrics=PageMetrics(registry),
                    is_draining=draining.is_set,
                )
            ],
            exception_handlers={HTTPException: _raise},
        )
        asgi.router.redirect_slashes = False
        return HttpApp("console", asgi, monitor, draining, opening.pop_all(), registry)


def _console_routes(
    settings: ConsoleSettings,
    deps: ConsoleDependencies,
    renderer: Renderer,
    try_it: TryItPages,
    draining: asyncio.Event,
    opening: AsyncExitStack,
) -> list[Route]:
    identity = identity_in(settings.tls_directory)

    def channel_to(target: str) -> grpc.aio.Channel:
        channel = open_channel(target, settings.max_message_bytes, identity)
        opening.push_async_callback(channel.close)
        return channel

    store = deps.store or _open_store(settings.store_url.get_secret_value(), deps.clock)
    opening.push_async_callback(store.close)
    admin_token = settings.admin_token.get_secret_value()
    timeout_s = settings.call_timeout_s
    accounts = AccountsClient(channel_to(settings.auth_target), admin_token, timeout_s)
    models = ModelsClient(channel_to(settings.inference_target), timeout_s)
    compositor = CompositorProbe(channel_to(settings.compositor_target), timeout_s)
    is_https = settings.public_url.startswith("https:")
    access = Access(accounts, store, deps.clock, admin_token, is_https)
    probes: dict[str, Probe] = {
        "auth": accounts.check, "compositor": compositor.check, "inference": models.models
    }  # fmt: skip
    instances = InstancesClient(settings.instances, deps.clock, identity)
    opening.push_async_callback(instances.close)
    live = LiveStreams(draining, deps.poll_s)
    jobs_routes = []
    if settings.jobs_target:
        jobs = JobsClient(channel_to(settings.jobs_target), timeout_s)
        jobs_routes = JobPages(renderer, access, accounts, jobs, store, live).routes
        probes["jobs"] = jobs.check
    return [
        *SignInPages(renderer, access, try_it.browser_key).routes,
        *OverviewPages(renderer, access, accounts, live).routes,
        *KeyPages(renderer, access, accounts, store, deps.clock).routes,
        *UsagePages(renderer, access, accounts, deps.clock).routes,
        *RequestPages(renderer, access, accounts, live).routes,
        *jobs_routes,
        *OperatorPages(renderer, access, accounts, models, store).routes,
        *ServicePages(renderer, access, probes, instances, live).routes,
    ]


def _open_store(url: str, clock: Clock) -> SessionStore:
    return MemorySessionStore(clock) if url == "memory:" else ValkeySessionStore(url)


async def _is_alive(request: Request) -> Response:
    return PlainTextResponse("ok\n")


async def _raise(request: Request, error: Exception) -> Response:
    # The framework's own answer would be plain text; the middleware makes a page.
    raise error
