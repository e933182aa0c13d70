"""What the Helm chart knows of the topology: the files of deploy/charts/matteworks that are generated.

The chart's templates loop over `files/topology.json`; nothing in them names a service.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matteworks_deploy.envoy.settings import Endpoint, EnvoySettings, EnvoyTls
from matteworks_deploy.topology import METRICS_PORT, SERVICES, Protocol, Secret, Service, instance_address

__all__ = ["chart_files", "chart_topology", "envoy_settings"]

SECRET_KEYS = {
    Secret.KEY_PEPPER: "key-pepper",
    Secret.ADMIN_TOKEN: "admin-token",
    Secret.SIGNING_SECRET: "signing-secret",
}
ENVOY_METRICS_PORT = 9102
# As cert-manager fills it: tls.crt, tls.key, ca.crt.
TLS_DIRECTORY = "/etc/matteworks/tls"
RESULTS_DIRECTORY = "/var/lib/matteworks/results"
# A caller's connection to the proxies is renewed this often, and finds proxies that were added since.
_CONNECTION_AGE_S = 300.0
_SERVICES_LINE = "services:\n"
# The rules and dashboards that the chart hands on, as they are: path in the chart, and where they come from.
_MONITORING = {"rules": "rules/*.yml", "dashboards": "dashboards/*.json"}


@dataclass(frozen=True, slots=True)
class _Size:
    """What a pod asks for: thousandths of a core and MiB, and the MiB at which it is ended."""

    cpu_milli: int = 250
    memory_mib: int = 256
    most_memory_mib: int = 1024


# From docs/kubernetes.md, "Resources"; a service that is not here gets the defaults of _Size.
_SIZES = {
    "edge": _Size(500, 256, 1536),
    "console": _Size(100, 128, 512),
    "jobs": _Size(250, 256, 1024),
    "worker": _Size(250, 256, 1536),
    "auth": _Size(250, 128, 512),
    "compositor": _Size(2000, 1024, 3072),
}


def envoy_settings(tls_directory: str = "") -> EnvoySettings:
    """Envoy in a cluster: the services under names that Helm puts in place of @SERVICE@, in plaintext or by
    mutual TLS with the certificate in `tls_directory`.
    """
    hosts = {row.name: (Endpoint(f"@{row.name}@", row.port),) for row in SERVICES}
    hosts |= {row.http_name: (Endpoint(f"@{row.name}@", row.http_port),) for row in SERVICES if row.http_port}
    return EnvoySettings(
        public=Endpoint("0.0.0.0", 8080),  # noqa: S104 - in a pod
        internal=Endpoint("0.0.0.0", 8081),  # noqa: S104
        hosts=hosts,
        admin=Endpoint("127.0.0.1", 9901),
        observed=Endpoint("0.0.0.0", ENVOY_METRICS_PORT),  # noqa: S104
        internal_connection_age_s=_CONNECTION_AGE_S,
        tls=EnvoyTls(internal=tls_directory),
    )


def chart_topology() -> dict[str, Any]:
    """`files/topology.json`: the rows as the templates want them."""
    timeout_s = EnvoySettings.__dataclass_fields__["public_timeout_s"].default
    return {
        "publicTimeout": f"{timeout_s:.0f}s",
        "tlsDirectory": TLS_DIRECTORY,
        "services": [_row(row) for row in SERVICES],
    }


def chart_files(folder: Path) -> dict[str, str]:
    """The generated files by their path in the chart. Of values and their schema, only what the topology
    says is generated; the rest is what `folder` has.
    """
    from matteworks_deploy.envoy.bootstrap import envoy_json
    from matteworks_deploy.envoy.tls import secret_documents

    by_tls = envoy_settings(TLS_DIRECTORY)
    head, line, _ = (folder / "values.yaml").read_text().partition(f"\n{_SERVICES_LINE}")
    schema = json.loads((folder / "values.schema.json").read_text())
    services = {"type": "object", "additionalProperties": False, "required": [], "properties": {}}
    services["properties"] = {row.name: {"$ref": "#/$defs/workload"} for row in _plain_rows()}
    services["required"] = [row.name for row in _plain_rows()]
    schema["properties"]["services"] = services
    monitoring = folder.parents[1] / "monitoring"
    handed_on = {
        f"files/{kind}/{path.name}": path.read_text()
        for kind, pattern in _MONITORING.items()
        for path in sorted(monitoring.glob(pattern))
    }
    return handed_on | {
        "files/topology.json": json.dumps(chart_topology(), indent=2) + "\n",
        "files/envoy.json": _on_one_line(envoy_json(envoy_settings())),
        "files/envoy-tls.json": _on_one_line(envoy_json(by_tls)),
        "files/envoy-secrets.json": json.dumps(secret_documents(by_tls), indent=2) + "\n",
        "values.yaml": head + line + "".join(map(_values, _plain_rows())),
        "values.schema.json": json.dumps(schema, indent=2) + "\n",
    }


def _on_one_line(text: str) -> str:
    # The one of compose is there to be read; these differ from it in names only.
    return json.dumps(json.loads(text), separators=(",", ":")) + "\n"


def _plain_rows() -> list[Service]:
    """Those that are one deployment; inference has as many as it has devices."""
    return [row for row in SERVICES if not _runs_networks(row)]


def _runs_networks(row: Service) -> bool:
    return row.name == "inference"


def _row(row: Service) -> Mapping[str, Any]:
    return {
        "name": row.name,
        "prefix": row.variable(""),
        "protocol": row.protocol.value,
        "port": row.port,
        "httpPort": row.http_port,
        "httpName": row.http_name,
        "metricsPort": METRICS_PORT,
        "targets": list(row.targets),
        "store": {"setting": row.store.setting, "database": row.store.database} if row.store else None,
        "secrets": [
            {"variable": row.variable(secret.value), "key": SECRET_KEYS[secret]} for secret in row.secrets
        ],
        "environment": dict(row.environment),
        "workersByCores": row.workers_by_cores,
        "reachesOutside": row.reaches_outside,
        "keepsResults": row.keeps_results,
        "resultsDirectory": RESULTS_DIRECTORY,
        "runsNetworks": _runs_networks(row),
        # Takes items of batches and listens for nobody.
        "isWorker": row.protocol is Protocol.NONE,
        "knowsPublicUrl": row.name in ("jobs", "console"),
        # The console asks every process of every service how it is.
        "asksInstances": row.name == "console",
        "instance": instance_address(row, f"@HOST@:{row.port}"),
    }


def _values(row: Service) -> str:
    size = _SIZES.get(row.name, _Size())
    waiting = ", waitingItems: 20" if row.protocol is Protocol.NONE else ""
    return (
        f"  {row.name}:\n"
        f"    replicas: 2\n"
        f"    resources:\n"
        f"      requests: {{cpu: {size.cpu_milli}m, memory: {size.memory_mib}Mi}}\n"
        f"      limits: {{memory: {size.most_memory_mib}Mi}}\n"
        f"    autoscaling: {{minReplicas: 2, maxReplicas: 10, cpuPercent: 65{waiting}}}\n"
        f"    settings: {{}}\n"
    )
