"""The chart as Helm's own engine renders it, for several sets of values."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from tools import helm

CHART = Path(__file__).resolve().parents[3] / "deploy" / "charts" / "matteworks"
NAMESPACE = "pictures"
RELEASE = "cutouts"

_CERTIFICATE = {"name": "team", "kind": "ClusterIssuer", "group": "cert-manager.io"}
VALUES: dict[str, dict[str, Any]] = {
    "as it is": {},
    "everything on": {
        "image": {"registry": "registry.example.com/team", "digests": {"edge": "sha256:" + "ab" * 32}},
        "publicUrl": "https://cutouts.example",
        "telemetry": {"otlpEndpoint": "collector.monitoring.svc:4317"},
        "autoscaling": {"kind": "keda"},
        "serviceMonitor": {"enabled": True},
        "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
        "dashboards": {"enabled": True},
        "gateway": {
            "enabled": True,
            "className": "envoy",
            "hostnames": ["cutouts.example", "api.cutouts.example"],
            "tls": {"issuerRef": _CERTIFICATE},
        },
        "internalTls": {"enabled": True, "issuerRef": _CERTIFICATE},
        "envoy": {"trustedProxies": 1, "service": {"type": "LoadBalancer"}},
        "models": {"source": "pull"},
    },
    "stores elsewhere": {
        "fullnameOverride": "matte",
        "valkey": {
            "builtIn": False,
            "external": {"host": "valkey.example", "port": 6380, "tls": True, "username": "matte"},
        },
        "objectStore": {"url": "s3://results/matteworks", "existingSecret": "bucket"},
        "networkPolicies": {"objectStore": [{"ipBlock": {"cidr": "10.2.0.0/16"}}]},
        "models": {"source": "image"},
        "autoscaling": {"kind": "hpa"},
        "gateway": {
            "enabled": True,
            "create": False,
            "parentRefs": [{"name": "shared", "namespace": "gateways"}],
            "hostnames": ["cutouts.example"],
        },
        "services": {"console": {"replicas": 0}, "edge": {"settings": {"LOG_LEVEL": "DEBUG"}}},
    },
    "gpu": {
        "inference": {
            "deployments": {
                "cpu": None,
                "cuda": {
                    "device": "cuda",
                    "image": "inference-gpu",
                    "models": ["isnet-general-use", "modnet-photographic-portrait"],
                    "resources": {"limits": {"nvidia.com/gpu": 1}},
                    "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1},
                    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
                },
                "portraits": {"device": "cuda", "pooled": False, "models": ["modnet-photographic-portrait"]},
            }
        },
        "autoscaling": {"kind": "keda"},
        "models": {"volume": {"existingClaim": "weights"}},
        "networkPolicies": {
            "inferenceClients": [{"podSelector": {"matchLabels": {"team": "portraits"}}}],
        },
    },
}

Object = dict[str, Any]


@cache
def rendered(name: str) -> list[Object]:
    """Every object, for the values of that name; shared, so nobody changes one."""
    return helm.objects(CHART, VALUES[name], name=RELEASE, namespace=NAMESPACE)


def of_kind(name: str, kind: str) -> dict[str, Object]:
    """The objects of a kind by their name without that of the release."""
    prefix = VALUES[name].get("fullnameOverride", f"{RELEASE}-matteworks")
    return {
        found["metadata"]["name"].removeprefix(prefix).lstrip("-"): found
        for found in rendered(name)
        if found["kind"] == kind
    }


def container(deployment: Object) -> Object:
    """Its only container."""
    (only,) = deployment["spec"]["template"]["spec"]["containers"]
    found: Object = only
    return found


def environment(deployment: Object) -> dict[str, Any]:
    """Its variables: text, or where it comes from."""
    variables = container(deployment)["env"]
    assert len({entry["name"] for entry in variables}) == len(variables)
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in variables}


def selects(selector: dict[str, str], deployment: Object) -> bool:
    """Whether labels find the pods of a deployment."""
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    return selector.items() <= labels.items()
