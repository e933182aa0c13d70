"""What surrounds every request: id, trace, cross-origin headers, errors, metrics and the access line."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import structlog
from opentelemetry.trace import Span, SpanKind, StatusCode
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.clock import Clock
from matteworks_common.context import CallContext, accept_request_id, current_call
from matteworks_common.errors import Internal, MatteworksError
from matteworks_common.tracing import extract_trace, span
from matteworks_edge.errors import (
    CallerGone,
    InvalidRequest,
    answer_for,
    method_not_allowed,
    route_not_found,
)
from matteworks_edge.exchange import Exchange, attach
from matteworks_edge.metrics import EdgeMetrics
from matteworks_edge.providers import PathOwners
from matteworks_edge.responses import (
    EXPOSED_HEADERS,
    error_response,
    rate_limit_headers,
    refusal_rate_headers,
    server_timing,
)
from matteworks_removal.request_log import RequestLog, request_record

# Stages that have a line in the metrics; those of other services have theirs there.
_OWN_STAGES: Final = frozenset({"authenticate", "receive", "fetch", "reserve", "render", "commit", "respond"})
_HEALTH_PATHS: Final = ("/healthz", "/readyz")
_EVERYONES_PATHS: Final = ("/results/", *_HEALTH_PATHS, "/docs", "/openapi.json")
_PREFLIGHT_HEADERS: Final = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "X-Api-Key, API-KEY, X-Picsart-API-Key, Authorization, Content-Type, "
    "Accept, Range, Idempotency-Key, X-Request-Id, traceparent, tracestate",
    "Access-Control-Max-Age": "86400",
}
log = structlog.get_logger()


class ExchangeMiddleware:
    """Opens an `Exchange` for each request and turns what the handlers raise into the dialect's document.

    While `is_draining` answers true, every answer asks the proxy to close its connection, so that no
    connection is in use when this process ends.
    """

    def __init__(
        self,
        app: ASGIApp,
        owners: PathOwners,
        metrics: EdgeMetrics,
        is_draining: Callable[[], bool],
        shows_timing: bool,
        request_log: RequestLog,
        clock: Clock,
    ) -> None:
        self._app = app
        self._owners = owners
        self._metrics = metrics
        self._is_draining = is_draining
        self._shows_timing = shows_timing
        self._request_log = request_log
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        scope = self._by_host(scope, headers.get("host", ""))
        exchange = Exchange(
            accept_request_id(headers.get("x-request-id")), self._owners.dialect_of(scope["path"])
        )
        attach(scope, exchange)
        token = current_call.set(CallContext(exchange.request_id, None))
        start, arrived_s = time.perf_counter(), self._clock.unix_s()
        try:
            if scope["path"] in _HEALTH_PATHS:
                # Asked all the time: neither counted nor traced.
                await self._answer(scope, receive, send, exchange)
                return
            with (
                self._metrics.in_flight.track_inprogress(),
                span("request", kind=SpanKind.SERVER, context=extract_trace(headers.items())) as current,
            ):
                try:
                    await self._answer(scope, receive, send, exchange)
                finally:
                    duration_s = time.perf_counter() - start
                    self._account_for(scope, exchange, duration_s)
                    self._remember(scope, exchange, arrived_s, duration_s)
                    _describe(current, scope, exchange)
        finally:
            current_call.reset(token)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, exchange: Exchange) -> None:
        is_started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal is_started
            if message["type"] == "http.response.start":
                is_started = True
                exchange.status = message["status"]
                self._add_headers(MutableHeaders(raw=message["headers"]), exchange)
            await send(message)

        try:
            if scope["method"] == "OPTIONS":
                exchange.route = "preflight"
                await Response(status_code=204, headers=_PREFLIGHT_HEADERS)(scope, receive, send_with_headers)
            else:
                await self._app(scope, receive, send_with_headers)
        except Exception as error:
            errors = self._errors_of(error, exchange)
            exchange.outcome, exchange.faulty_field = errors[0].reason_name, errors[0].field
            if not is_started:
                answer = answer_for(errors, exchange.dialect.errors, exchange.request_id)
                response = error_response(
                    answer,
                    rate_limit_headers(exchange.rate_limit) or refusal_rate_headers(errors[0].metadata),
                    exchange.dialect,
                )
                if isinstance(error, HTTPException) and error.headers:
                    response.headers.update(error.headers)
                await response(scope, receive, send_with_headers)

    def _by_host(self, scope: Scope, host: str) -> Scope:
        """The request as it were under the prefix of the provider whose host was called."""
        prefix, path = self._owners.prefix_of_host(host), scope["path"]
        if not prefix or path.startswith((f"{prefix}/", *_EVERYONES_PATHS)):
            return scope
        return {**scope, "path": prefix + path, "raw_path": prefix.encode() + scope["raw_path"]}

    def _add_headers(self, headers: MutableHeaders, exchange: Exchange) -> None:
        headers["X-Request-Id"] = exchange.request_id
        for name, value in rate_limit_headers(exchange.rate_limit).items():
            headers.setdefault(name, value)
        for alias, name in exchange.dialect.header_aliases.items():
            if name in headers:
                headers[alias] = headers[name]
        headers["Access-Control-Allow-Origin"] = "*"
        headers["Access-Control-Expose-Headers"] = EXPOSED_HEADERS
        headers["X-Content-Type-Options"] = "nosniff"
        if self._shows_timing and exchange.stages.durations_s:
            headers["Server-Timing"] = server_timing(exchange.stages.durations_s)
        if self._is_draining():
            headers["Connection"] = "close"

    def _errors_of(self, error: Exception, exchange: Exchange) -> tuple[MatteworksError, ...]:
        if isinstance(error, InvalidRequest):
            return error.errors
        if isinstance(error, MatteworksError):
            return (error,)
        if isinstance(error, CallerGone | ClientDisconnect):
            return (MatteworksError(reasons.ERROR_REASON_CANCELLED, "The caller went away."),)
        if isinstance(error, HTTPException) and error.status_code == 404:
            return (route_not_found(),)
        if isinstance(error, HTTPException) and error.status_code == 405:
            return (method_not_allowed(),)
        log.exception("request_failed", route=exchange.route)
        return (Internal(exchange.request_id),)

    def _account_for(self, scope: Scope, exchange: Exchange, duration_s: float) -> None:
        dialect = exchange.dialect.name
        status_class = f"{exchange.status // 100}xx" if exchange.status else "none"
        self._metrics.requests.labels(dialect, exchange.route, status_class, exchange.outcome).inc()
        self._metrics.request_seconds.labels(dialect, exchange.route).observe(duration_s)
        for stage, stage_s in exchange.stages.durations_s:
            if stage in _OWN_STAGES:
                self._metrics.stage_seconds.labels(stage).observe(stage_s)
        log.info(
            "request",
            dialect=dialect,
            route=exchange.route,
            method=scope["method"],
            status=exchange.status,
            outcome=exchange.outcome,
            key_id=exchange.key_id,
            reservation_id=exchange.reservation_id,
            duration_s=round(duration_s, 6),
        )

    def _remember(self, scope: Scope, exchange: Exchange, arrived_s: float, duration_s: float) -> None:
        """For the account's list of requests. Reads that went well would only push others out of it."""
        is_read = scope["method"] not in ("POST", "DELETE")
        if not exchange.account_id or (is_read and exchange.outcome == "ok"):
            return
        self._request_log.note(
            request_record(
                exchange.request_id,
                exchange.account_id,
                exchange.key_id,
                arrived_s,
                duration_s,
                exchange.stages,
                dialect=exchange.dialect.name,
                route=exchange.route,
                status=exchange.status,
                outcome=exchange.outcome,
                field=exchange.faulty_field[:128],
                charged_credits_milli=exchange.charged_credits_milli,
                model=exchange.model,
            )
        )


def _describe(current: Span, scope: Scope, exchange: Exchange) -> None:
    """What the span of a request tells: names from closed sets. Its path and headers may hold secrets."""
    current.update_name(f"{exchange.dialect.name} {exchange.route}")
    current.set_attributes(
        {
            "http.request.method": scope["method"],
            "http.response.status_code": exchange.status,
            "matteworks.dialect": exchange.dialect.name,
            "matteworks.route": exchange.route,
            "matteworks.outcome": exchange.outcome,
            "matteworks.request_id": exchange.request_id,
        }
    )
    if exchange.status >= 500:
        current.set_status(StatusCode.ERROR, exchange.outcome)
