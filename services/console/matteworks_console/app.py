"""Wires the console: templates, files, channels, routes."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from matteworks_common.health import HealthMonitor
from matteworks_common.http_lifecycle import HttpApp
from matteworks_console.middleware import PageMetrics, PageMiddleware
from matteworks_console.pages.try_it import TryItPages
from matteworks_console.rendering import Renderer
from matteworks_console.settings import ConsoleSettings
from matteworks_console.static_files import StaticFiles


async def build(settings: ConsoleSettings) -> HttpApp:
    """Wire the console; what was opened is closed again when a later step fails."""
    async with AsyncExitStack() as opening:
        registry = CollectorRegistry()
        draining = asyncio.Event()
        static_files = StaticFiles("/console/static")
        has_console = bool(settings.admin_token.get_secret_value())
        renderer = Renderer(static_files, {"has_console": has_console, "has_try_it": settings.try_it})
        try_it = TryItPages(renderer, settings.public_url, settings.browser_key_file, settings.try_it)
        monitor = HealthMonitor((), {}, settings.health_interval_s)
        asgi = Starlette(
            routes=[
                *try_it.routes,
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
        return HttpApp(asgi, monitor, draining, opening.pop_all(), registry)


async def _is_alive(request: Request) -> Response:
    return PlainTextResponse("ok\n")


async def _raise(request: Request, error: Exception) -> Response:
    # The framework's own answer would be plain text; the middleware makes a page.
    raise error
