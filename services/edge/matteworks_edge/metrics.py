"""Every metric of the edge. Labels come from closed sets: dialects, routes, error reasons, stages."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from matteworks_common.telemetry import DURATION_BUCKETS_S


class EdgeMetrics:
    """Counters, durations and sizes of the REST gateway."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "matteworks_edge_requests",
            "Answered requests by dialect, route, class of the status (2xx; none: the caller left), and "
            "`ok` or the reason of the first error.",
            ["dialect", "route", "status", "outcome"],
            registry=registry,
        )
        self.request_seconds = Histogram(
            "matteworks_edge_request_seconds",
            "Time from the request's headers to the end of the answer.",
            ["dialect", "route"],
            buckets=DURATION_BUCKETS_S,
            registry=registry,
        )
        self.stage_seconds = Histogram(
            "matteworks_edge_stage_seconds",
            "Time spent in: authenticate, receive, fetch, reserve, render, commit, respond.",
            ["stage"],
            buckets=DURATION_BUCKETS_S,
            registry=registry,
        )
        self.received_bytes = Counter(
            "matteworks_edge_received_bytes", "Bytes of pictures received or fetched.", registry=registry
        )
        self.sent_bytes = Counter("matteworks_edge_sent_bytes", "Bytes of results sent.", registry=registry)
        self.in_flight = Gauge(
            "matteworks_edge_requests_in_flight", "Requests being handled.", registry=registry
        )
        self.buffered_bytes = Gauge(
            "matteworks_edge_buffered_bytes",
            "Bytes of bodies and fetched pictures held now.",
            registry=registry,
        )
        self.fetches = Counter(
            "matteworks_edge_fetches",
            "Fetches of pictures by URL, by outcome.",
            ["outcome"],
            registry=registry,
        )
        self.releases = Counter(
            "matteworks_edge_releases",
            "Reservations given back after a failure: released, or abandoned to their deadline.",
            ["outcome"],
            registry=registry,
        )

        self.unlogged = Counter(
            "matteworks_edge_unlogged_requests",
            "Requests that the accounts' lists of requests lack, because auth could not be told in time.",
            registry=registry,
        )

    def count_fetch(self, outcome: str) -> None:
        """A picture was fetched, or not."""
        self.fetches.labels(outcome).inc()

    def count_release(self, outcome: str) -> None:
        """A reservation was given back, or left to its deadline."""
        self.releases.labels(outcome).inc()
