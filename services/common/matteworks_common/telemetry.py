"""Metrics that every service has: of its process, its dependencies and its RPCs."""

from __future__ import annotations

from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

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


def observe_process(component: str, registry: CollectorRegistry) -> None:
    """Memory, files, processor time and version of this process."""
    ProcessCollector(registry=registry)
    info = Gauge(
        "matteworks_build_info", "1, with the version that runs.", ["component", "version"], registry=registry
    )
    info.labels(component, version("matteworks")).set(1)


class DependencyMetrics:
    """What a service needs, and whether it has it; `component` is the service's own name."""

    def __init__(self, component: str, registry: CollectorRegistry) -> None:
        self._component = component
        self._up = Gauge(
            "matteworks_dependency_up",
            "1 when the service's last look at what it depends on went well, else 0.",
            ["component", "dependency"],
            registry=registry,
        )
        self._serving = Gauge(
            "matteworks_serving",
            "1 when the service says of itself that it can serve, else 0.",
            ["component"],
            registry=registry,
        )

    def looked(self, dependency: str, *, is_well: bool) -> None:
        """One look at one of them."""
        self._up.labels(self._component, dependency).set(is_well)

    def decided(self, *, is_serving: bool) -> None:
        """What the service says of itself."""
        self._serving.labels(self._component).set(is_serving)


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
