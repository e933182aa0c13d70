"""The whole configuration as the JSON document that `envoy --config-path` reads."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

from envoy_data_plane.envoy.config.bootstrap.v3 import (
    Admin,
    Bootstrap,
    BootstrapStaticResources,
)
from envoy_data_plane.envoy.config.core.v3 import Address, Node, Pipe
from envoy_data_plane.envoy.config.overload.v3 import (
    OverloadAction,
    OverloadManager,
    ResourceMonitor,
    ThresholdTrigger,
    Trigger,
)
from envoy_data_plane.envoy.extensions.resource_monitors.downstream_connections.v3 import (
    DownstreamConnectionsConfig,
)
from envoy_data_plane.envoy.extensions.resource_monitors.fixed_heap.v3 import FixedHeapConfig
from envoy_data_plane.google.protobuf import Any

from matteworks_deploy.envoy.clusters import clusters
from matteworks_deploy.envoy.internal_listener import internal_listener
from matteworks_deploy.envoy.observed_listener import admin_cluster, observed_listener
from matteworks_deploy.envoy.public_listener import public_listener
from matteworks_deploy.envoy.settings import EnvoySettings
from matteworks_deploy.envoy.wire import seconds, socket_address

_HEAP = "envoy.resource_monitors.fixed_heap"
_CONNECTIONS = "envoy.resource_monitors.global_downstream_max_connections"


def envoy_json(settings: EnvoySettings) -> str:
    """The configuration for `settings`, stable from run to run, ending in a newline."""
    document = json.loads(_bootstrap(settings).to_json(), object_pairs_hook=_with_envoys_names)
    return json.dumps(document, indent=2) + "\n"


def validation_problem(config: str, envoy_binary: Path) -> str | None:
    """What `envoy --mode validate` has against `config`; None when it accepts it."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "envoy.json"
        path.write_text(config)
        result = subprocess.run(
            [envoy_binary, "--mode", "validate", "--log-level", "error", "--config-path", path],
            capture_output=True,
            text=True,
            check=False,
        )
    return None if result.returncode == 0 else (result.stderr or result.stdout).strip()


def _with_envoys_names(pairs: list[tuple[str, object]]) -> dict[str, object]:
    # The library spells `consecutive_5xx` as consecutive5Xx; protobuf's JSON has a small x.
    return {key.replace("5Xx", "5xx"): value for key, value in pairs}


def _bootstrap(settings: EnvoySettings) -> Bootstrap:
    admin = (
        Address(pipe=Pipe(path=settings.admin, mode=0o600))
        if isinstance(settings.admin, str)
        else socket_address(settings.admin)
    )
    return Bootstrap(
        node=Node(id="matteworks", cluster="matteworks"),
        admin=Admin(address=admin, ignore_global_conn_limit=True),
        overload_manager=_overload_manager(settings),
        static_resources=BootstrapStaticResources(
            listeners=[
                public_listener(settings),
                internal_listener(settings),
                *([observed_listener(settings.observed)] if settings.observed else []),
            ],
            clusters=[
                *clusters(settings),
                *([admin_cluster(settings.admin)] if settings.observed else []),
            ],
        ),
    )


def _overload_manager(settings: EnvoySettings) -> OverloadManager:
    heap = FixedHeapConfig(max_heap_size_bytes=settings.max_heap_bytes)
    connections = DownstreamConnectionsConfig(
        max_active_downstream_connections=settings.max_downstream_connections
    )

    def action(name: str, threshold: float) -> OverloadAction:
        trigger = Trigger(name=_HEAP, threshold=ThresholdTrigger(value=threshold))
        return OverloadAction(name=f"envoy.overload_actions.{name}", triggers=[trigger])

    return OverloadManager(
        refresh_interval=seconds(0.25),
        resource_monitors=[
            ResourceMonitor(name=_HEAP, typed_config=Any.pack(heap)),
            ResourceMonitor(name=_CONNECTIONS, typed_config=Any.pack(connections)),
        ],
        actions=[
            action("shrink_heap", 0.85),
            action("disable_http_keepalive", 0.92),
            action("stop_accepting_requests", 0.95),
        ],
    )
