"""Traces and the metrics that every gRPC service has."""

from __future__ import annotations

from collections.abc import Iterable

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

# From a key lookup (0.5 ms) to a 50 MP picture on a CPU (minutes).
DURATION_BUCKETS_S = (
    0.0005,
    0.002,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    120.0,
)

_propagator = TraceContextTextMapPropagator()


def configure_tracing(service: str, otlp_endpoint: str) -> TracerProvider | None:
    """Export the spans of this process to `otlp_endpoint` (host:port); with an empty one, only pass
    the caller's trace context on. The caller shuts the returned provider down.
    """
    if not otlp_endpoint:
        return None
    provider = TracerProvider(resource=Resource.create({"service.name": f"matteworks-{service}"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=otlp_endpoint, insecure=True)))
    trace.set_tracer_provider(provider)
    return provider


def extract_trace(metadata: Iterable[tuple[str, str | bytes]]) -> Context:
    """The trace context of a caller's metadata; empty when there is none."""
    return _propagator.extract({key: value for key, value in metadata if isinstance(value, str)})


def inject_trace() -> list[tuple[str, str]]:
    """Metadata that carries the current trace context on."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return list(carrier.items())


class RpcMetrics:
    """Calls of one service by method and outcome; methods come from the protos, so the set is closed."""

    def __init__(self, service: str, registry: CollectorRegistry) -> None:
        self.calls = Counter(
            f"matteworks_{service}_rpc",
            "Finished calls by method and gRPC code.",
            ["method", "code"],
            registry=registry,
        )
        self.duration = Histogram(
            f"matteworks_{service}_rpc_seconds", "Time from receipt to answer by method.", ["method"],
            buckets=DURATION_BUCKETS_S, registry=registry,
        )  # fmt: skip
        self.in_flight = Gauge(
            f"matteworks_{service}_rpc_in_flight", "Calls being handled.", registry=registry
        )
