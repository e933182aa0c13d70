"""The listener between the services: gRPC by service name, retries that really happen, deadlines."""

from __future__ import annotations

from envoy_data_plane.envoy.config.core.v3 import HttpProtocolOptions
from envoy_data_plane.envoy.config.listener.v3 import Filter, FilterChain, Listener
from envoy_data_plane.envoy.config.route.v3 import (
    RetryPolicy,
    RetryPolicyRetryBackOff,
    RetryPolicyRetryHostPredicate,
    Route,
    RouteAction,
    RouteActionMaxStreamDuration,
    RouteConfiguration,
    RouteMatch,
    VirtualHost,
)
from envoy_data_plane.envoy.extensions.filters.http.router.v3 import Router
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import (
    HttpConnectionManager,
    HttpConnectionManagerCodecType,
    HttpFilter,
)
from envoy_data_plane.envoy.extensions.retry.host.previous_hosts.v3 import PreviousHostsPredicate
from envoy_data_plane.google.protobuf import Any

from matteworks_deploy.envoy.access_log import internal_access_log
from matteworks_deploy.envoy.settings import EnvoySettings
from matteworks_deploy.envoy.tls import internal_tls
from matteworks_deploy.envoy.wire import internal_http2, seconds, socket_address
from matteworks_deploy.topology import SERVICES, Retry, Rpc, Service

# By what Envoy recognises a lost call: UNAVAILABLE, or a connection that was lost before or during it.
_CONDITIONS = {
    Retry.ALWAYS: "unavailable,connect-failure,refused-stream,reset-before-request,reset",
    Retry.UNSEEN: "connect-failure,refused-stream,reset-before-request",
}
# The balancer draws again until it finds a host that was not tried. A dead host looks idle, so with two
# hosts and four candidates a draw finds the other one once in 16: this many draws fail once in 4000.
_HOST_SELECTION_ATTEMPTS = 128


def internal_listener(settings: EnvoySettings) -> Listener:
    """HTTP/2 on `settings.internal`, for the services and for platform teams, never for strangers."""
    manager = HttpConnectionManager(
        stat_prefix="internal",
        # HTTP/2, and HTTP/1.1 for those who speak the Open Inference Protocol over it.
        codec_type=HttpConnectionManagerCodecType.AUTO,
        use_remote_address=True,
        preserve_external_request_id=True,
        generate_request_id=True,
        stream_idle_timeout=seconds(settings.max_grpc_timeout_s + 5),
        common_http_protocol_options=HttpProtocolOptions(
            idle_timeout=seconds(3600),
            max_connection_duration=seconds(settings.internal_connection_age_s)
            if settings.internal_connection_age_s
            else None,
        ),
        http2_protocol_options=internal_http2(max_concurrent_streams=1024),
        access_log=[internal_access_log()],
        route_config=RouteConfiguration(
            name="internal",
            virtual_hosts=[
                VirtualHost(
                    name="services",
                    domains=["*"],
                    request_body_buffer_limit=settings.message_buffer_bytes,
                    routes=[
                        _route(settings, row, rpc)
                        for row in SERVICES
                        if settings.hosts.get(row.name)
                        for rpc in row.rpcs
                    ]
                    + [_http_route(settings, row) for row in SERVICES if settings.hosts.get(row.http_name)],
                )
            ],
        ),
        http_filters=[
            HttpFilter(
                name="envoy.filters.http.router",
                typed_config=Any.pack(Router(suppress_envoy_headers=True)),
            )
        ],
    )
    return Listener(
        name="internal",
        address=socket_address(settings.internal),
        per_connection_buffer_limit_bytes=settings.message_buffer_bytes,
        filter_chains=[
            FilterChain(
                transport_socket=internal_tls(settings),
                filters=[
                    Filter(
                        name="envoy.filters.network.http_connection_manager", typed_config=Any.pack(manager)
                    )
                ],
            )
        ],
    )


def _http_route(settings: EnvoySettings, row: Service) -> Route:
    return Route(
        name=row.http_name,
        match=RouteMatch(path_separated_prefix=row.http_prefix),
        route=RouteAction(
            cluster=row.http_name,
            timeout=seconds(settings.max_grpc_timeout_s),
            retry_policy=RetryPolicy(retry_on=_CONDITIONS[Retry.UNSEEN], num_retries=2),
        ),
    )


def _route(settings: EnvoySettings, row: Service, rpc: Rpc) -> Route:
    longest = seconds(settings.max_grpc_timeout_s)
    return Route(
        name=rpc.name,
        match=RouteMatch(prefix=f"/{rpc.name}/"),
        route=RouteAction(
            cluster=row.name,
            timeout=longest,
            # The caller's own deadline, when it is shorter.
            max_stream_duration=RouteActionMaxStreamDuration(grpc_timeout_header_max=longest),
            retry_policy=RetryPolicy(
                retry_on=_CONDITIONS[rpc.retry],
                num_retries=rpc.retry_count,
                per_try_timeout=seconds(rpc.try_timeout_s) if rpc.try_timeout_s else None,
                retry_back_off=RetryPolicyRetryBackOff(
                    base_interval=seconds(0.05), max_interval=seconds(0.5)
                ),
                retry_host_predicate=[
                    RetryPolicyRetryHostPredicate(
                        name="envoy.retry_host_predicates.previous_hosts",
                        typed_config=Any.pack(PreviousHostsPredicate()),
                    )
                ],
                host_selection_retry_max_attempts=_HOST_SELECTION_ATTEMPTS,
            ),
        ),
    )
