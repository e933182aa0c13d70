"""The containers fit together, as far as files tell: no container engine runs here."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "compose"
DOCKERFILES = sorted((ROOT / "services").glob("*/Dockerfile"))


def compose(name: str = "compose.yaml") -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((COMPOSE / name).read_text())
    return document


def test_every_service_has_an_image_and_every_image_a_service() -> None:
    built = {
        (COMPOSE / service["build"]["context"] / service["build"]["dockerfile"]).resolve()
        for service in compose()["services"].values()
        if "build" in service
    }

    assert built == {path.resolve() for path in DOCKERFILES}


def test_envoy_looks_for_the_services_under_their_names_and_ports() -> None:
    envoy = json.loads((COMPOSE / "envoy" / "envoy.json").read_text())
    addresses = {
        cluster["name"]: endpoint["endpoint"]["address"]["socketAddress"]
        for cluster in envoy["staticResources"]["clusters"]
        for endpoint in cluster["loadAssignment"]["endpoints"][0]["lbEndpoints"]
    }

    assert set(addresses) < set(compose()["services"])
    for name, address in addresses.items():
        dockerfile = (ROOT / "services" / name / "Dockerfile").read_text()
        assert address["address"] == name
        assert f"LISTEN_ADDRESS=0.0.0.0:{address['portValue']}" in dockerfile


def test_only_envoy_listens_on_the_host() -> None:
    assert [name for name, service in compose()["services"].items() if "ports" in service] == ["envoy"]


def test_no_secret_is_written_down() -> None:
    text = (COMPOSE / "compose.yaml").read_text()
    values = re.findall(r"(?:PASSWORD|PEPPER|TOKEN|CLI_AUTH): +(\S+)|--requirepass\n\s+- (\S+)", text)

    assert len(values) == 4
    assert all((first or second).startswith("${") for first, second in values)
    assert re.findall(r"=(.+)", (COMPOSE / "example.env").read_text()) == []


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.parent.name)
def test_an_image_is_pinned_and_runs_as_nobody_special(path: Path) -> None:
    text = path.read_text()

    assert all(
        re.fullmatch(r"python:3\.11\.\d+-slim-\w+", base) for base in re.findall(r"^FROM (\S+)", text, re.M)
    )
    assert "USER 10001:10001" in text
    assert f'ENTRYPOINT ["python", "-m", "matteworks_{path.parent.name}"]' in text


def test_no_image_is_the_latest() -> None:
    images = [service["image"] for service in compose()["services"].values() if "image" in service]

    assert images
    assert all(re.fullmatch(r"[\w/]+:v?\d+\.\d+\.\d+", image) for image in images)


def test_the_gpu_file_only_changes_what_exists() -> None:
    assert set(compose("compose.gpu.yaml")["services"]) <= set(compose()["services"])


def test_the_dockerfiles_pass_the_linter() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"

    result = subprocess.run([hadolint, *DOCKERFILES], capture_output=True, text=True, check=False)

    assert result.stdout + result.stderr == ""
