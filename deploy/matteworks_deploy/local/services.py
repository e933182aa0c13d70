"""The processes of a local stack: command lines, environments, addresses."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from matteworks_deploy.envoy.settings import Endpoint, EnvoySettings
from matteworks_deploy.local.options import StackOptions
from matteworks_deploy.local.ports import LOOPBACK, free_ports
from matteworks_deploy.local.process import ProcessSpec
from matteworks_deploy.local.state import StateDirectory

ENVOY_ADMIN_SOCKET = "envoy-admin.sock"

_HEALTH_INTERVAL_S = 0.5
# Longer than Envoy takes to notice: two failed health checks.
_DRAIN_DELAY_S = 1.2
_GRACE_S = 10.0
# glibc keeps one heap for every thread and returns little of it, so pictures would stay there for good; but
# fetching each buffer from the system anew is a third of the compositor's time. So: two heaps, buffers up to
# 32 MiB from them, and 64 MiB of free memory kept at their top.
_ALLOCATOR = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": "33554432",
    "MALLOC_TRIM_THRESHOLD_": "67108864",
}


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where everything listens."""

    public: Endpoint
    internal: Endpoint
    valkey: Endpoint
    auth: Endpoint
    edge: Endpoint
    console: Endpoint
    inference: tuple[Endpoint, ...]
    compositor: tuple[Endpoint, ...]


def choose_addresses(options: StackOptions) -> Addresses:
    """Free ports on loopback for everything but a public port that was asked for."""
    workers = options.inference_workers + options.compositor_workers
    public, internal, valkey, auth, edge, console, *rest = free_ports(6 + workers)
    endpoints = [Endpoint(LOOPBACK, port) for port in rest]
    return Addresses(
        public=Endpoint(options.host, options.port or public),
        internal=Endpoint(LOOPBACK, options.internal_port or internal),
        valkey=Endpoint(LOOPBACK, valkey),
        auth=Endpoint(LOOPBACK, auth),
        edge=Endpoint(LOOPBACK, edge),
        console=Endpoint(LOOPBACK, console),
        inference=tuple(endpoints[: options.inference_workers]),
        compositor=tuple(endpoints[options.inference_workers :]),
    )


def envoy_settings(addresses: Addresses) -> EnvoySettings:
    """Envoy on one machine: it notices within a second."""
    return EnvoySettings(
        public=addresses.public,
        internal=addresses.internal,
        edge=(addresses.edge,),
        console=(addresses.console,),
        auth=(addresses.auth,),
        inference=addresses.inference,
        compositor=addresses.compositor,
        admin=ENVOY_ADMIN_SOCKET,
        health_interval_s=_HEALTH_INTERVAL_S,
    )


class ServiceSpecs:
    """Makes the specifications. `environment` is the launcher's own; what it sets of our tunables wins."""

    def __init__(
        self,
        options: StackOptions,
        models: tuple[str, ...],
        addresses: Addresses,
        state: StateDirectory,
        environment: Mapping[str, str],
    ) -> None:
        self._options = options
        self._models = models
        self._addresses = addresses
        self._state = state
        # So that a person who finds a process can tell to which stack it belongs.
        self._environment = {**environment, "MATTEWORKS_STATE_DIRECTORY": str(state.path)}
        self._core_count = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1

    def addresses(self) -> dict[str, str]:
        """Where each process listens, by its name."""
        addresses = self._addresses
        by_name = {
            "valkey": addresses.valkey,
            "auth": addresses.auth,
            "edge": addresses.edge,
            "console": addresses.console,
            **_numbered("inference", addresses.inference),
            **_numbered("compositor", addresses.compositor),
        }
        return {name: str(address) for name, address in by_name.items()}

    def valkey(self, binary: Path, config: Path) -> ProcessSpec:
        """The store."""
        return ProcessSpec("valkey", (str(binary), str(config)), self._environment)

    def valkey_config(self) -> str:
        """Every change is written at once and reaches the disk within a second."""
        address = self._addresses.valkey
        lines = [
            f"bind {address.host}",
            f"port {address.port}",
            f"requirepass {self._state.secret('valkey-password')}",
            f'dir "{self._state.valkey_path}"',
            "daemonize no",
            "appendonly yes",
            "appendfsync everysec",
            'save ""',
            "maxmemory-policy noeviction",
        ]
        return "\n".join(lines)

    def auth(self) -> ProcessSpec:
        """Accounts, keys, credits."""
        address = self._addresses.valkey
        password = self._state.secret("valkey-password")
        return self._service(
            "auth",
            "auth",
            self._addresses.auth,
            {
                "STORE_URL": f"redis://:{password}@{address}/0",
                "KEY_PEPPER": self._state.secret("key-pepper"),
                "ADMIN_TOKEN": self._state.secret("admin-token"),
            },
        )

    def inference(self) -> list[ProcessSpec]:
        """The networks, one process a worker, the cores shared out between them."""
        workers = self._addresses.inference
        fixed = {
            "MODEL_DIRECTORY": str(self._options.models_directory.absolute()),
            "MODELS": ",".join(self._models),
        }
        if self._options.quality:
            fixed["QUALITY"] = self._options.quality
        tunable = {"THREADS": str(max(1, self._core_count // len(workers)))}
        return [
            self._service(name, "inference", address, fixed, tunable)
            for name, address in _numbered("inference", workers).items()
        ]

    def compositor(self) -> list[ProcessSpec]:
        """Decode, compose, encode."""
        workers = self._addresses.compositor
        fixed = {"INFERENCE_TARGET": str(self._addresses.internal)}
        tunable = {"THREADS": str(max(1, self._core_count // len(workers)))}
        return [
            self._service(name, "compositor", address, fixed, tunable)
            for name, address in _numbered("compositor", workers).items()
        ]

    def edge(self) -> ProcessSpec:
        """The REST gateway."""
        internal = str(self._addresses.internal)
        return self._service(
            "edge", "edge", self._addresses.edge, {"AUTH_TARGET": internal, "COMPOSITOR_TARGET": internal}
        )

    def console(self) -> ProcessSpec:
        """Pages for people. Only visitors from this machine get a key with the page to try."""
        is_for_this_machine = self._options.host in (LOOPBACK, "::1", "localhost")
        password = self._state.secret("valkey-password")
        return self._service(
            "console",
            "console",
            self._addresses.console,
            {
                "AUTH_TARGET": str(self._addresses.internal),
                "INFERENCE_TARGET": str(self._addresses.internal),
                "ADMIN_TOKEN": self._state.secret("admin-token"),
                "STORE_URL": f"redis://:{password}@{self._addresses.valkey}/1",
            },
            {"BROWSER_KEY_FILE": str(self._state.browser_key_path) if is_for_this_machine else ""},
        )

    def envoy(self, binary: Path, config: Path) -> ProcessSpec:
        """The proxy, in the run directory, where its admin socket is."""
        argv = (
            *(str(binary), "--config-path", str(config)),
            *("--disable-hot-restart", "--concurrency", "1" if self._core_count <= 4 else "2"),
            *("--log-level", "warning", "--log-format", "%l %n %v"),
            *("--drain-time-s", "1"),
        )
        return ProcessSpec("envoy", argv, self._environment, self._state.run_path)

    def _service(
        self,
        name: str,
        service: str,
        address: Endpoint,
        fixed: Mapping[str, str],
        tunable: Mapping[str, str] | None = None,
    ) -> ProcessSpec:
        prefix = f"MATTEWORKS_{service.upper()}_"
        defaults = {
            "HEALTH_INTERVAL_S": str(_HEALTH_INTERVAL_S),
            "DRAIN_DELAY_S": str(_DRAIN_DELAY_S),
            "GRACE_S": str(_GRACE_S),
            "LOG_LEVEL": self._options.log_level,
            **(tunable or {}),
        }
        environment = {
            "PYTHONUNBUFFERED": "1",
            "PYTHONFAULTHANDLER": "1",
            **_ALLOCATOR,
            **{prefix + key: value for key, value in defaults.items()},
            **self._environment,
            **{prefix + key: value for key, value in {"LISTEN_ADDRESS": str(address), **fixed}.items()},
        }
        return ProcessSpec(name, (sys.executable, "-m", f"matteworks_{service}"), environment)


def _numbered(name: str, workers: tuple[Endpoint, ...]) -> dict[str, Endpoint]:
    """The workers by name: the service's own when there is one, else with a number behind it."""
    if len(workers) == 1:
        return {name: workers[0]}
    return {f"{name}-{number}": address for number, address in enumerate(workers, 1)}
