"""What is said of a pod is enough to start its process; with root and the images it is started for real."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from tools.pods.manifests import pods_of

from matteworks_deploy.topology import SERVICES


@pytest.fixture
def volumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders that would belong to the pods' user, which only root can arrange."""
    if os.geteuid() != 0:
        monkeypatch.setattr(os, "chown", lambda *_: None)
    return tmp_path


def test_every_variable_is_known_and_every_name_leads_to_a_pod(volumes: Path) -> None:
    pods, hosts, _ = pods_of(volumes, volumes, cores=2)
    texts = [value for pod in pods for value in pod.variables.values()]
    (envoy,) = (pod for pod in pods if pod.name.endswith("-envoy"))
    config = (envoy.mounts["/etc/envoy"][0] / "envoy.json").read_text()

    named = {
        name for text in (*texts, config) for name in re.findall(r"[\w-]+\.lab\.svc\.cluster\.local", text)
    }
    assert [text for text in texts if "$(" in text] == []
    assert named <= hosts.keys()
    assert len(named) >= len(SERVICES)
    assert set(hosts.values()) == {pod.address for pod in pods}


def test_who_shares_a_claim_shares_a_folder(volumes: Path) -> None:
    pods, _, _ = pods_of(volumes, volumes, cores=2)
    shared = {
        pod.mounts["/var/lib/matteworks/results"][0]
        for pod in pods
        if pod.name.endswith(("-jobs", "-worker"))
    }
    own = [pod.mounts[at][0] for pod in pods for at in pod.mounts if at.endswith("tmp")]

    assert len(shared) == 1
    assert len(set(own)) == len(own) >= len(SERVICES)
