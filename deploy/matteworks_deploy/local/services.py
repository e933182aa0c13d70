"""The processes of a local stack: command lines, environments, addresses."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from matteworks_deploy.envoy.settings import Endpoint, EnvoySettings, EnvoyTls, parse_provider_hosts
from matteworks_deploy.local.options import StackOptions
from matteworks_deploy.local.ports import LOOPBACK, free_ports
from matteworks_deploy.local.process import ProcessSpec
from matteworks_deploy.local.state import StateDirectory
from matteworks_deploy.topology import ALLOCATOR, SERVICES, Secret, Service, instance_address

ENVOY_ADMIN_SOCKET = "envoy-admin.sock"

_HEALTH_INTERVAL_S = 0.5
# Where Prometheus finds Envoy's counters; everybody else's are where it looks by itself.
_ENVOYS_PATH = {"__metrics_path__": "/stats/prometheus"}
# The edge's setting; the proxy answers by itself under these names too.
_PROVIDER_HOSTS = "MATTEWORKS_EDGE_DIALECT_HOSTS"
# Longer than Envoy takes to notice: two failed health checks.
_DRAIN_DELAY_S = 1.2
_GRACE_S = 10.0
_SECRET_FILES = {
    Secret.KEY_PEPPER: "key-pepper",
    Secret.ADMIN_TOKEN: "admin-token",
    Secret.SIGNING_SECRET: "signing-secret",
}


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where everything listens; `hosts` are the processes of each service by its name, `metrics` the pages of
    their counters in the same order, and Envoy's.
    """

    public: Endpoint
    internal: Endpoint
    valkey: Endpoint
    hosts: Mapping[str, tuple[Endpoint, ...]]
    metrics: Mapping[str, tuple[Endpoint, ...]]


def choose_addresses(options: StackOptions) -> Addresses:
    """Free ports on loopback for everything but a public port that was asked for."""
    counts = {row.name: options.workers.get(row.name, 1) for row in SERVICES}
    metrics_counts = {**counts, "envoy": 1}
    counts |= {row.http_name: counts[row.name] for row in SERVICES if row.http_port}
    public, internal, valkey, *rest = free_ports(3 + sum((*counts.values(), *metrics_counts.values())))
    ports = iter(rest)

    def endpoints(counts: Mapping[str, int]) -> dict[str, tuple[Endpoint, ...]]:
        return {
            name: tuple(Endpoint(LOOPBACK, next(ports)) for _ in range(count))
            for name, count in counts.items()
        }

    return Addresses(
        public=Endpoint(options.host, options.port or public),
        internal=Endpoint(LOOPBACK, options.internal_port or internal),
        valkey=Endpoint(LOOPBACK, valkey),
        hosts=endpoints(counts),
        metrics=endpoints(metrics_counts),
    )


def envoy_settings(
    options: StackOptions, addresses: Addresses, run_path: Path, environment: Mapping[str, str]
) -> EnvoySettings:
    """Envoy on one machine: it notices within a second. `environment` is that of the services."""
    return EnvoySettings(
        public=addresses.public,
        internal=addresses.internal,
        hosts=addresses.hosts,
        provider_hosts=parse_provider_hosts(environment.get(_PROVIDER_HOSTS, "")),
        admin=ENVOY_ADMIN_SOCKET,
        tls=EnvoyTls(
            public=str(options.public_tls.absolute()) if options.public_tls else "",
            internal=str(options.internal_tls.absolute()) if options.internal_tls else "",
            secrets=str(run_path),
        ),
        observed=addresses.metrics["envoy"][0],
        health_interval_s=_HEALTH_INTERVAL_S,
    )


class ServiceSpecs:
    """Makes the specifications. `environment` is the launcher's own; what it sets of our tunables wins.
    `shared_memory` is a directory through which services hand pixels over; None: in messages.
    """

    def __init__(
        self,
        options: StackOptions,
        models: tuple[str, ...],
        addresses: Addresses,
        state: StateDirectory,
        shared_memory: Path | None,
        environment: Mapping[str, str],
    ) -> None:
        self._options = options
        self._models = models
        self._addresses = addresses
        self._state = state
        self._shared_memory = shared_memory
        # So that a person who finds a process can tell to which stack it belongs.
        self.environment = {**environment, "MATTEWORKS_STATE_DIRECTORY": str(state.path)}
        self._core_count = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1

    def addresses(self) -> dict[str, str]:
        """Where each process listens, by its name."""
        by_name = {"valkey": self._addresses.valkey}
        for name, hosts in self._addresses.hosts.items():
            by_name |= _numbered(name, hosts)
        return {name: str(address) for name, address in by_name.items()}

    def metrics_targets(self) -> str:
        """The pages of counters as Prometheus reads them from a file (`file_sd_configs`)."""
        targets = [
            {
                "targets": [str(address)],
                "labels": {"process": name, **(_ENVOYS_PATH if service == "envoy" else {})},
            }
            for service, pages in self._addresses.metrics.items()
            for name, address in _numbered(service, pages).items()
        ]
        return json.dumps(targets, indent=2)

    def valkey(self, binary: Path, config: Path) -> ProcessSpec:
        """The store."""
        return ProcessSpec("valkey", (str(binary), str(config)), self.environment)

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

    def of(self, row: Service) -> list[tuple[ProcessSpec, Endpoint]]:
        """The processes of a service, and where each listens; the cores are shared out between them."""
        hosts = self._addresses.hosts[row.name]
        tunable = self._choices(row.name)
        if row.workers_by_cores:
            tunable["THREADS"] = str(max(1, self._core_count // len(hosts)))
            # Those that compute are those between which pixels go.
            tunable["SHARED_MEMORY_DIRECTORY"] = str(self._shared_memory or "")
        fixed = {target: str(self._addresses.internal) for target in row.targets}
        fixed |= {secret.value: self._state.secret(_SECRET_FILES[secret]) for secret in row.secrets}
        if row.store:
            password = self._state.secret("valkey-password")
            fixed[row.store.setting] = f"redis://:{password}@{self._addresses.valkey}/{row.store.database}"
        if row.keeps_results:
            fixed["OBJECT_STORE_URL"] = f"file://{self._state.results_path}"
        fixed |= self._models_of(row.name)
        if row.name == "console":
            fixed["INSTANCES"] = ",".join(
                instance_address(other, str(address))
                for other in SERVICES
                for address in self._addresses.hosts[other.name]
            )
        if self._options.internal_tls:
            fixed["TLS_DIRECTORY"] = str(self._options.internal_tls.absolute())
        own = [{**fixed, "METRICS_PORT": str(page.port)} for page in self._addresses.metrics[row.name]]
        if row.http_port:
            for settings, address in zip(own, self._addresses.hosts[row.http_name], strict=True):
                settings["HTTP_LISTEN_ADDRESS"] = str(address)
        return [
            (self._service(row, name, address, settings, tunable), address)
            for (name, address), settings in zip(_numbered(row.name, hosts).items(), own, strict=True)
        ]

    def _models_of(self, service: str) -> dict[str, str]:
        if service != "inference":
            return {}
        quality = {"QUALITY": self._options.quality} if self._options.quality else {}
        directory = str(self._options.models_directory.absolute())
        return {"MODEL_DIRECTORY": directory, "MODELS": ",".join(self._models), **quality}

    def _choices(self, service: str) -> dict[str, str]:
        """What this machine is given besides its addresses; the caller's environment wins over it."""
        if service == "jobs":
            host = LOOPBACK if self._options.host in ("0.0.0.0", "::") else self._options.host  # noqa: S104
            scheme = "https" if self._options.public_tls else "http"
            return {"PUBLIC_URL": f"{scheme}://{host}:{self._addresses.public.port}"}
        if service != "console":
            return {}
        # Only visitors from this machine get a key with the page to try.
        is_for_this_machine = self._options.host in (LOOPBACK, "::1", "localhost")
        return {"BROWSER_KEY_FILE": str(self._state.browser_key_path) if is_for_this_machine else ""}

    def envoy(self, binary: Path, config: Path) -> ProcessSpec:
        """The proxy, in the run directory, where its admin socket is."""
        argv = (
            *(str(binary), "--config-path", str(config)),
            *("--disable-hot-restart", "--concurrency", "1" if self._core_count <= 4 else "2"),
            *("--log-level", "warning", "--log-format", "%l %n %v"),
            *("--drain-time-s", "1"),
        )
        return ProcessSpec("envoy", argv, self.environment, self._state.run_path)

    def _service(
        self,
        row: Service,
        name: str,
        address: Endpoint,
        fixed: Mapping[str, str],
        tunable: Mapping[str, str],
    ) -> ProcessSpec:
        defaults = {
            "HEALTH_INTERVAL_S": str(_HEALTH_INTERVAL_S),
            "DRAIN_DELAY_S": str(_DRAIN_DELAY_S),
            "GRACE_S": str(_GRACE_S),
            "LOG_LEVEL": self._options.log_level,
            **({"OTLP_ENDPOINT": self._options.otlp_endpoint} if self._options.otlp_endpoint else {}),
            **tunable,
        }
        environment = {
            "PYTHONUNBUFFERED": "1",
            "PYTHONFAULTHANDLER": "1",
            **ALLOCATOR,
            **{row.variable(key): value for key, value in defaults.items()},
            **self.environment,
            **{row.variable(key): value for key, value in {"LISTEN_ADDRESS": str(address), **fixed}.items()},
        }
        return ProcessSpec(name, (sys.executable, "-m", row.program), environment)


def _numbered(name: str, workers: tuple[Endpoint, ...]) -> dict[str, Endpoint]:
    """The workers by name: the service's own when there is one, else with a number behind it."""
    if len(workers) == 1:
        return {name: workers[0]}
    return {f"{name}-{number}": address for number, address in enumerate(workers, 1)}
