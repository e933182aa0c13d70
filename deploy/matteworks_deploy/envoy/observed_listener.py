"""The listener for those who watch Envoy: readiness and metrics, nothing else of its admin page."""

from __future__ import annotations

from envoy_data_plane.envoy.config.cluster.v3 import Cluster, ClusterDiscoveryType
from envoy_data_plane.envoy.config.core.v3 import Address, Pipe
from envoy_data_plane.envoy.config.endpoint.v3 import ClusterLoadAssignment, LbEndpoint, LocalityLbEndpoints
from envoy_data_plane.envoy.config.endpoint.v3 import Endpoint as EndpointConfig
from envoy_data_plane.envoy.config.listener.v3 import Filter, FilterChain, Listener
from envoy_data_plane.envoy.config.route.v3 import (
    Route,
    RouteAction,
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
from envoy_data_plane.google.protobuf import Any

from matteworks_deploy.envoy.settings import Endpoint
from matteworks_deploy.envoy.wire import seconds, socket_address

_CLUSTER = "admin"
_PATHS = ("/ready", "/stats/prometheus")


def observed_listener(address: Endpoint) -> Listener:
    """Plain HTTP on `address`; every other path is 404."""
    manager = HttpConnectionManager(
        stat_prefix="observed",
        codec_type=HttpConnectionManagerCodecType.AUTO,
        route_config=RouteConfiguration(
            name="observed",
            virtual_hosts=[
                VirtualHost(
                    name="admin",
                    domains=["*"],
                    routes=[
                        Route(
                            match=RouteMatch(path=path),
                            route=RouteAction(cluster=_CLUSTER, timeout=seconds(5)),
                        )
                        for path in _PATHS
                    ],
                )
            ],
        ),
        http_filters=[HttpFilter(name="envoy.filters.http.router", typed_config=Any.pack(Router()))],
    )
    return Listener(
        name="observed",
        address=socket_address(address),
        filter_chains=[
            FilterChain(
                filters=[
                    Filter(
                        name="envoy.filters.network.http_connection_manager", typed_config=Any.pack(manager)
                    )
                ]
            )
        ],
        # Watched also while all other connections are refused.
        ignore_global_conn_limit=True,
    )


def admin_cluster(admin: str | Endpoint) -> Cluster:
    """Envoy's own admin page, wherever it listens."""
    address = Address(pipe=Pipe(path=admin)) if isinstance(admin, str) else socket_address(admin)
    return Cluster(
        name=_CLUSTER,
        type=ClusterDiscoveryType.STATIC,
        connect_timeout=seconds(1),
        load_assignment=ClusterLoadAssignment(
            cluster_name=_CLUSTER,
            endpoints=[
                LocalityLbEndpoints(lb_endpoints=[LbEndpoint(endpoint=EndpointConfig(address=address))])
            ],
        ),
    )
