"""The services as Envoy sees them: hosts, health, balance, limits."""

from __future__ import annotations

import ipaddress

from envoy_data_plane.envoy.config.cluster.v3 import (
    CircuitBreakers,
    CircuitBreakersThresholds,
    CircuitBreakersThresholdsRetryBudget,
    Cluster,
    ClusterCommonLbConfig,
    ClusterDiscoveryType,
    ClusterDnsLookupFamily,
    LoadBalancingPolicy,
    LoadBalancingPolicyPolicy,
    OutlierDetection,
)
from envoy_data_plane.envoy.config.core.v3 import (
    HealthCheck,
    HealthCheckGrpcHealthCheck,
    HealthCheckHttpHealthCheck,
    Http1ProtocolOptions,
    HttpProtocolOptions,
    TransportSocket,
    TypedExtensionConfig,
)
from envoy_data_plane.envoy.config.endpoint.v3 import (
    ClusterLoadAssignment,
    LbEndpoint,
    LocalityLbEndpoints,
)
from envoy_data_plane.envoy.config.endpoint.v3 import Endpoint as EndpointConfig
from envoy_data_plane.envoy.extensions.load_balancing_policies.least_request.v3 import LeastRequest
from envoy_data_plane.envoy.extensions.upstreams.http.v3 import (
    HttpProtocolOptions as UpstreamHttpOptions,
)
from envoy_data_plane.envoy.extensions.upstreams.http.v3 import (
    HttpProtocolOptionsExplicitHttpConfig,
)
from envoy_data_plane.envoy.type.v3 import Percent
from envoy_data_plane.google.protobuf import Any

from matteworks_deploy.envoy.settings import MEBIBYTE, EnvoySettings
from matteworks_deploy.envoy.tls import upstream_tls
from matteworks_deploy.envoy.wire import internal_http2, seconds, socket_address
from matteworks_deploy.topology import SERVICES, Protocol, Service

# Candidates of which the least busy gets a request; of two workers both are among four with 7 in 8.
LEAST_REQUEST_CANDIDATES = 4
_UPSTREAM_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
# Shorter than the services' own patience: Envoy leaves first, so that no request is sent into a connection
# that is just being closed.
_HTTP_IDLE_S = 60.0


def clusters(settings: EnvoySettings) -> list[Cluster]:
    """A cluster for every deployed service, in the order of the topology."""
    deployed = [row for row in SERVICES if settings.hosts.get(row.name)]
    return [
        *(
            _http(settings, row, row.name, row.max_requests, "/readyz")
            if row.protocol is Protocol.HTTP
            else _grpc(settings, row)
            for row in deployed
            if row.protocol is not Protocol.NONE
        ),
        *(
            _http(
                settings,
                row,
                row.http_name,
                _max_requests(settings, row),
                f"{row.http_prefix}/health/ready",
            )
            for row in deployed
            if settings.hosts.get(row.http_name)
        ),
    ]


def _max_requests(settings: EnvoySettings, row: Service) -> int:
    return row.max_requests * (len(settings.hosts[row.name]) if row.workers_by_cores else 1)


def _http(settings: EnvoySettings, row: Service, name: str, max_requests: int, health_path: str) -> Cluster:
    health = _health_check(settings)
    health.http_health_check = HealthCheckHttpHealthCheck(path=health_path, host=name)
    return _cluster(
        settings,
        name,
        max_requests,
        health,
        UpstreamHttpOptions(
            common_http_protocol_options=HttpProtocolOptions(idle_timeout=seconds(_HTTP_IDLE_S)),
            explicit_http_config=HttpProtocolOptionsExplicitHttpConfig(
                http_protocol_options=Http1ProtocolOptions()
            ),
        ),
        # Uploads and results stream through; a small buffer makes a slow reader slow only itself.
        buffer_bytes=MEBIBYTE,
        tls=upstream_tls(settings, row.name, http2=False),
    )


def _grpc(settings: EnvoySettings, row: Service) -> Cluster:
    max_requests = _max_requests(settings, row)
    health = _health_check(settings)
    health.grpc_health_check = HealthCheckGrpcHealthCheck(authority=row.name)
    cluster = _cluster(
        settings,
        row.name,
        max_requests,
        health,
        UpstreamHttpOptions(
            explicit_http_config=HttpProtocolOptionsExplicitHttpConfig(
                http2_protocol_options=internal_http2(max_requests)
            )
        ),
        buffer_bytes=settings.message_buffer_bytes,
        tls=upstream_tls(settings, row.name, http2=True),
    )
    cluster.outlier_detection = OutlierDetection(
        consecutive_5xx=settings.outlier_consecutive_errors,
        enforcing_consecutive_5xx=100,
        enforcing_consecutive_gateway_failure=0,
        # A lost connection says more than an answer that reports a failure: leave the host sooner. The
        # first health check that it passes brings it back.
        split_external_local_origin_errors=True,
        consecutive_local_origin_failure=settings.outlier_consecutive_losses,
        enforcing_consecutive_local_origin_failure=100,
        enforcing_local_origin_success_rate=0,
        enforcing_success_rate=0,
        enforcing_failure_percentage=0,
        interval=seconds(settings.health_interval_s),
        base_ejection_time=seconds(settings.outlier_ejection_s),
        # Never more than half: the last host of a service is better than none.
        max_ejection_percent=50,
    )
    return cluster


def _cluster(
    settings: EnvoySettings,
    name: str,
    max_requests: int,
    health: HealthCheck,
    protocol: UpstreamHttpOptions,
    buffer_bytes: int,
    tls: TransportSocket | None,
) -> Cluster:
    hosts = settings.hosts[name]
    return Cluster(
        name=name,
        type=ClusterDiscoveryType.STATIC
        if all(_is_address(host.host) for host in hosts)
        else ClusterDiscoveryType.STRICT_DNS,
        dns_lookup_family=ClusterDnsLookupFamily.V4_PREFERRED,
        connect_timeout=seconds(1),
        transport_socket=tls,
        per_connection_buffer_limit_bytes=buffer_bytes,
        load_assignment=ClusterLoadAssignment(
            cluster_name=name,
            endpoints=[
                LocalityLbEndpoints(
                    lb_endpoints=[
                        LbEndpoint(endpoint=EndpointConfig(address=socket_address(host))) for host in hosts
                    ]
                )
            ],
        ),
        load_balancing_policy=_least_request(),
        # With every host down, say so at once instead of trying dead ones.
        common_lb_config=ClusterCommonLbConfig(healthy_panic_threshold=Percent(value=0.0)),
        health_checks=[health],
        circuit_breakers=CircuitBreakers(
            thresholds=[
                CircuitBreakersThresholds(
                    max_connections=max_requests,
                    max_pending_requests=max_requests,
                    max_requests=max_requests,
                    retry_budget=CircuitBreakersThresholdsRetryBudget(
                        budget_percent=Percent(value=settings.retry_budget_percent),
                        min_retry_concurrency=settings.min_retry_concurrency,
                    ),
                    track_remaining=True,
                )
            ]
        ),
        typed_extension_protocol_options={_UPSTREAM_OPTIONS: Any.pack(protocol)},
    )


def _least_request() -> LoadBalancingPolicy:
    # Several random candidates rather than all hosts: a host that just died has the fewest requests, and a
    # full scan would choose it again for every retry.
    policy = LeastRequest(choice_count=LEAST_REQUEST_CANDIDATES)
    return LoadBalancingPolicy(
        policies=[
            LoadBalancingPolicyPolicy(
                typed_extension_config=TypedExtensionConfig(
                    name="envoy.load_balancing_policies.least_request", typed_config=Any.pack(policy)
                )
            )
        ]
    )


def _health_check(settings: EnvoySettings) -> HealthCheck:
    interval = seconds(settings.health_interval_s)
    return HealthCheck(
        timeout=interval,
        interval=interval,
        # Envoy's own default looks at a cluster without traffic once a minute only.
        no_traffic_interval=interval,
        no_traffic_healthy_interval=interval,
        unhealthy_interval=seconds(min(settings.health_interval_s, 0.5)),
        unhealthy_threshold=2,
        healthy_threshold=1,
    )


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
