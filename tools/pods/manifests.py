"""What the chart's manifests say of each pod, with everything that a kubelet would put in."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools import helm

CHART = Path(__file__).resolve().parents[2] / "deploy" / "charts" / "matteworks"
NAMESPACE = "lab"
RELEASE = "cutouts"

Object = dict[str, Any]


@dataclass
class Pod:
    """One pod: its container, at an address, with its variables as text and its mounts as folders.

    `mounts` are by path in the container: the folder, and whether it is read-only.
    """

    name: str
    address: str
    container: Object
    user: int
    grace_s: int
    variables: dict[str, str] = field(default_factory=dict)
    mounts: dict[str, tuple[Path, bool]] = field(default_factory=dict)


def pods_of(state: Path, models: Path, cores: int) -> tuple[list[Pod], dict[str, str], dict[str, str]]:
    """One pod for each Deployment and StatefulSet, the hosts file as addresses by name, and the secrets.

    `state` is an empty folder for volumes; `models` holds the weights. Inference asks for `cores` cores.
    """
    # The small network, so that a busy machine is not too slow for it.
    small = {"settings": {"QUALITY": "fast"}, "resources": {"requests": {"cpu": str(cores)}}}
    values = {"inference": {"defaults": small}}
    objects = helm.objects(CHART, values, name=RELEASE, namespace=NAMESPACE)
    keys = ("key-pepper", "admin-token", "signing-secret", "valkey-password")
    known = {key: secrets.token_hex(32) for key in keys}
    running = [found for found in objects if found["kind"] in ("Deployment", "StatefulSet")]
    addresses = {found["metadata"]["name"]: f"10.88.0.{10 + index}" for index, found in enumerate(running)}
    pods = [
        _pod(found, addresses[found["metadata"]["name"]], objects, known, state, models) for found in running
    ]
    hosts = {
        f"{service['metadata']['name']}.{NAMESPACE}.svc.cluster.local": addresses[found["metadata"]["name"]]
        for service in objects
        if service["kind"] == "Service"
        for found in running
        if service["spec"]["selector"].items() <= found["spec"]["template"]["metadata"]["labels"].items()
    }
    return pods, hosts, known


def _pod(
    found: Object, address: str, objects: list[Object], known: dict[str, str], state: Path, models: Path
) -> Pod:
    spec = found["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    pod = Pod(
        found["metadata"]["name"],
        address,
        container,
        spec["securityContext"]["runAsUser"],
        spec["terminationGracePeriodSeconds"],
    )
    for entry in container.get("env", []):
        pod.variables[entry["name"]] = _value(entry, container, known, pod.variables)
    claims = found["spec"].get("volumeClaimTemplates", [])
    volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
    volumes |= {claim["metadata"]["name"]: {"persistentVolumeClaim": {}} for claim in claims}
    for mount in container["volumeMounts"]:
        volume = volumes[mount["name"]]
        if mount["name"] == "models":
            folder = models
        elif "configMap" in volume:
            folder = _folder(state / f"{pod.name}-{mount['name']}", pod.user)
            data = next(
                one["data"]
                for one in objects
                if one["kind"] == "ConfigMap" and one["metadata"]["name"] == volume["configMap"]["name"]
            )
            for name, text in data.items():
                (folder / name).write_text(text)
        else:
            # A claim is the same folder for all who name it.
            claimed = volume.get("persistentVolumeClaim", {}).get("claimName")
            folder = _folder(state / (claimed or f"{pod.name}-{mount['name']}"), pod.user)
        pod.mounts[mount["mountPath"]] = (folder, mount.get("readOnly", False))
    return pod


def _folder(path: Path, user: int) -> Path:
    path.mkdir(exist_ok=True)
    os.chown(path, user, user)
    return path


def _value(entry: Object, container: Object, known: dict[str, str], before: dict[str, str]) -> str:
    source = entry.get("valueFrom")
    if source is None:
        return expanded(str(entry["value"]), before)
    if "secretKeyRef" in source:
        return known[source["secretKeyRef"]["key"]]
    assert source["resourceFieldRef"]["resource"] == "requests.cpu"
    asked = container["resources"]["requests"]["cpu"]
    return str(-(-int(asked.removesuffix("m")) // 1000) if asked.endswith("m") else int(asked))


def expanded(text: str, variables: dict[str, str]) -> str:
    """`text` with every $(NAME) of a variable before it."""
    for name, value in variables.items():
        text = text.replace(f"$({name})", value)
    return text
