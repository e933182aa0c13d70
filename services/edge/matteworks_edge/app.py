"""Wires the edge: channels, fetcher, ledger, routes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from importlib.metadata import version

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from matteworks_common.channels import open_channel
from matteworks_common.clock import Clock, SystemClock
from matteworks_common.health import HealthMonitor
from matteworks_common.http_lifecycle import HttpApp
from matteworks_common.telemetry import DependencyMetrics
from matteworks_common.tls import identity_in
from matteworks_edge.dialects.base import Dialect, Endpoint, Handler
from matteworks_edge.exchange import exchange_of
from matteworks_edge.intake.admission import Admission
from matteworks_edge.jobs_client import JobsClient
from matteworks_edge.metrics import EdgeMetrics
from matteworks_edge.middleware import ExchangeMiddleware
from matteworks_edge.openapi.document import build_document
from matteworks_edge.operations.idempotency import FirstAnswers, IdempotencyClient
from matteworks_edge.operations.services import Services
from matteworks_edge.operations.shared import SharedEndpoint
from matteworks_edge.operations.stored.queued import QueuedRemovals
from matteworks_edge.providers import PROVIDERS, PathOwners, shared_paths
from matteworks_edge.routes import results
from matteworks_edge.routes.docs import DocumentationEndpoints
from matteworks_edge.routes.health import ReadinessEndpoint, is_alive
from matteworks_edge.settings import EdgeSettings
from matteworks_edge.submissions import SubmissionBox
from matteworks_outbound.addresses import AddressJudge, PublicAddresses, parse_internal_hosts
from matteworks_outbound.fetcher import GuardedBackend, GuardedFetcher, Resolver, SystemResolver
from matteworks_outbound.object_store import open_object_store
from matteworks_removal.clients import AuthClient, CompositorClient, EditClient, RequestLogClient
from matteworks_removal.edits import PaidEdits
from matteworks_removal.ledger import Ledger
from matteworks_removal.low_credits import LowCredits
from matteworks_removal.request_log import RequestLog
from matteworks_removal.service import RemovalService

# How much longer than the request a reservation lives, for the commit that follows it.
_RESERVATION_MARGIN_S = 30.0


@dataclass(frozen=True, slots=True)
class EdgeDependencies:
    """What tests replace. None: the real thing, from the settings."""

    clock: Clock = field(default_factory=SystemClock)
    resolver: Resolver | None = None
    judge: AddressJudge | None = None
    commit_retry_delays_s: tuple[float, ...] = (0.1, 0.3, 1.0)


async def build(settings: EdgeSettings, deps: EdgeDependencies | None = None) -> HttpApp:
    """Wire the edge; what was opened is closed again when a later step fails."""
    deps = deps or EdgeDependencies()
    async with AsyncExitStack() as opening:
        registry = CollectorRegistry()
        draining = asyncio.Event()
        metrics = EdgeMetrics(registry)
        identity = identity_in(settings.tls_directory)
        auth_channel = open_channel(settings.auth_target, settings.max_message_bytes, identity)
        opening.push_async_callback(auth_channel.close)
        compositor_channel = open_channel(settings.compositor_target, settings.max_message_bytes, identity)
        opening.push_async_callback(compositor_channel.close)
        jobs_channel = open_channel(settings.jobs_target, settings.max_message_bytes, identity)
        opening.push_async_callback(jobs_channel.close)
        jobs = JobsClient(jobs_channel, settings.jobs_timeout_s)
        auth = AuthClient(auth_channel, settings.auth_timeout_s)
        compositor = CompositorClient(compositor_channel, settings.request_timeout_s)
        fetcher = _open_fetcher(settings, deps, metrics, opening)
        ledger = Ledger(
            auth,
            lambda outcome: metrics.releases.labels(outcome).inc(),
            retry_delays_s=deps.commit_retry_delays_s,
            low_credits=LowCredits(jobs.report_low_credits),
        )
        opening.push_async_callback(ledger.settle)
        request_log = RequestLog(
            RequestLogClient(auth_channel, settings.auth_timeout_s),
            lambda count: metrics.unlogged.inc(count),
        )
        request_log.start()
        opening.push_async_callback(request_log.close)
        monitor = HealthMonitor(
            (),
            {"auth": auth.check, "compositor": compositor.check},
            settings.health_interval_s,
            DependencyMetrics("edge", registry),
        )
        services = Services(
            auth=auth,
            removals=RemovalService(
                ledger,
                compositor,
                fetcher,
                reservation_s=settings.request_timeout_s + _RESERVATION_MARGIN_S,
            ),
            edits=PaidEdits(
                ledger,
                EditClient(compositor_channel, settings.request_timeout_s),
                fetcher,
                reservation_s=settings.request_timeout_s + _RESERVATION_MARGIN_S,
            ),
            jobs=jobs,
            queued=QueuedRemovals(jobs, auth),
            first_answers=FirstAnswers(
                IdempotencyClient(auth_channel, settings.auth_timeout_s),
                jobs,
                lease_s=settings.request_timeout_s + _RESERVATION_MARGIN_S,
            ),
            fetcher=fetcher,
            submissions=_open_submissions(settings, deps.clock),
            admission=Admission(settings.max_requests_in_flight, settings.max_buffered_bytes, metrics),
            metrics=metrics,
            is_ready=lambda: monitor.is_serving,
            receive_timeout_s=settings.receive_timeout_s,
            request_timeout_s=settings.request_timeout_s,
        )
        dialects = [dialect for dialect in PROVIDERS if dialect.name not in settings.dialects_off]
        by_name = {dialect.name: dialect for dialect in dialects}
        hosts = {host: by_name[name] for host, name in settings.host_dialects.items() if name in by_name}
        docs = DocumentationEndpoints(build_document(version("matteworks"), dialects))
        asgi = Starlette(
            routes=[
                *_provider_routes(dialects, services),
                Route(results.PATH, results.ResultEndpoint(jobs).__call__, methods=["GET"]),
                Route("/healthz", is_alive, methods=["GET"]),
                Route("/readyz", ReadinessEndpoint(monitor).__call__, methods=["GET"]),
                Route("/openapi.json", docs.document, methods=["GET"]),
                Route("/docs", docs.page, methods=["GET"]),
                Route("/docs/{name}", docs.part, methods=["GET"]),
            ],
            middleware=[
                Middleware(
                    ExchangeMiddleware,
                    owners=PathOwners(dialects, hosts),
                    metrics=metrics,
                    is_draining=draining.is_set,
                    shows_timing=settings.server_timing,
                    request_log=request_log,
                    clock=deps.clock,
                )
            ],
            exception_handlers={HTTPException: _raise},
        )
        asgi.router.redirect_slashes = False
        return HttpApp("edge", asgi, monitor, draining, opening.pop_all(), registry)


def _provider_routes(dialects: Sequence[Dialect], services: Services) -> Iterator[BaseRoute]:
    """Every path as its provider has it, and again under the provider's prefix."""
    prefixed: dict[str, list[BaseRoute]] = {}
    handlers: dict[str, Handler] = {}
    for dialect in dialects:
        for endpoint in dialect.endpoints:
            handler = _as_function(_in_words_of(endpoint, endpoint.operation.serve(services)))
            handlers[endpoint.operation_id] = handler
            route = Route(endpoint.path, handler, methods=[endpoint.method])
            prefixed.setdefault(dialect.prefix, []).append(route)
    for shared in shared_paths(dialects):
        candidates = {
            name: (dialect, handlers[endpoint.operation_id])
            for name, (dialect, endpoint) in shared.endpoints.items()
        }
        only = next(iter(candidates.values()))[1]
        handler = only if len(candidates) == 1 else _as_function(SharedEndpoint(services, candidates))
        yield Route(shared.path, handler, methods=[shared.method])
    for prefix, routes in prefixed.items():
        yield Mount(prefix, routes=routes)


def _in_words_of(endpoint: Endpoint, handler: Handler) -> Handler:
    """`handler`, whose errors are told as the endpoint tells them."""
    if endpoint.error_document is None:
        return handler

    async def handle(request: Request) -> Response:
        exchange = exchange_of(request)
        exchange.dialect = endpoint.spoken(exchange.dialect)
        return await handler(request)

    return handle


def _open_fetcher(
    settings: EdgeSettings, deps: EdgeDependencies, metrics: EdgeMetrics, opening: AsyncExitStack
) -> GuardedFetcher:
    resolver = deps.resolver
    if resolver is None:
        system_resolver = SystemResolver()
        opening.callback(system_resolver.close)
        resolver = system_resolver
    backend = GuardedBackend(
        resolver,
        deps.judge or PublicAddresses(parse_internal_hosts(settings.internal_sources)),
        dns_timeout_s=settings.fetch_dns_timeout_s,
        connect_timeout_s=settings.fetch_connect_timeout_s,
    )
    fetcher = GuardedFetcher(
        backend,
        metrics.count_fetch,
        timeout_s=settings.fetch_timeout_s,
        ports=settings.fetch_port_set,
    )
    opening.push_async_callback(fetcher.aclose)
    return fetcher


def _open_submissions(settings: EdgeSettings, clock: Clock) -> SubmissionBox:
    is_collecting = settings.collect_submissions and bool(settings.object_store_url)
    store = open_object_store(settings.object_store_url) if is_collecting else None
    return SubmissionBox(store, clock, settings.submissions_a_day)


def _as_function(handler: Handler) -> Handler:
    """The framework takes a callable object for a whole application of its own, a function for a handler."""

    async def handle(request: Request) -> Response:
        return await handler(request)

    return handle


async def _raise(request: Request, error: Exception) -> Response:
    # The framework's own answer would be plain text; the middleware writes the dialect's document.
    raise error
