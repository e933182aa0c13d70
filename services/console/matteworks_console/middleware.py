"""What surrounds every page: request id, deadline, security headers, error pages, the access line."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from matteworks_common.context import CallContext, accept_request_id, current_call
from matteworks_common.telemetry import DURATION_BUCKETS_S
from matteworks_console.errors import PageError, to_page_error
from matteworks_console.rendering import Renderer
from matteworks_console.security.access import SignInNeeded
from matteworks_console.security.headers import SECURITY_HEADERS

# All calls that one page makes share this time.
PAGE_TIMEOUT_S: Final = 15.0
_QUIET_PATHS: Final = ("/healthz", "/readyz")
log = structlog.get_logger()


class PageMetrics:
    """Pages by the pattern of their route, which is a closed set."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.pages = Counter(
            "matteworks_console_pages", "Answers by route and status.", ["route", "status"], registry=registry
        )
        self.page_seconds = Histogram(
            "matteworks_console_page_seconds", "Time to an answer's first byte by route.", ["route"],
            buckets=DURATION_BUCKETS_S, registry=registry,
        )  # fmt: skip


class PageMiddleware:
    """Gives every answer the security headers, and turns what handlers raise into a page."""

    def __init__(
        self, app: ASGIApp, renderer: Renderer, metrics: PageMetrics, is_draining: Callable[[], bool]
    ) -> None:
        self._app = app
        self._renderer = renderer
        self._metrics = metrics
        self._is_draining = is_draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = accept_request_id(Headers(scope=scope).get("x-request-id"))
        start = time.perf_counter()
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(raw=message["headers"])
                headers.update(SECURITY_HEADERS)
                headers["X-Request-Id"] = request_id
                if self._is_draining():
                    headers["Connection"] = "close"
                self._account_for(scope, status, time.perf_counter() - start)
            await send(message)

        token = current_call.set(CallContext(request_id, time.monotonic() + PAGE_TIMEOUT_S))
        try:
            try:
                await self._app(scope, receive, send_with_headers)
            except SignInNeeded as needed:
                await needed.redirect()(scope, receive, send_with_headers)
            except Exception as error:
                if status:
                    raise
                page_error = to_page_error(error)
                if page_error.status >= 500:
                    log.error("page_failed", path_status=page_error.status, exc_info=error)
                await self._error_page(scope, receive, send_with_headers, page_error)
        finally:
            current_call.reset(token)

    async def _error_page(self, scope: Scope, receive: Receive, send: Send, error: PageError) -> None:
        template = "error_part.html" if b"hx-request" in dict(scope["headers"]) else "error.html"
        response = self._renderer.page(template, error.status, title=error.title, remedy=error.remedy)
        if error.retry_after_s is not None:
            response.headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
        await response(scope, receive, send)

    def _account_for(self, scope: Scope, status: int, duration_s: float) -> None:
        route = str(getattr(scope.get("route"), "path", "none"))
        self._metrics.pages.labels(route, str(status)).inc()
        self._metrics.page_seconds.labels(route).observe(duration_s)
        write = log.debug if scope["path"] in _QUIET_PATHS else log.info
        write("request", route=route, method=scope["method"], status=status, duration_s=round(duration_s, 6))
