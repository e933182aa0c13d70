"""The containers fit together, as far as files tell: no container engine runs here."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from matteworks_deploy.compose import compose_yaml
from matteworks_deploy.image import packages_of, select, serve_script
from matteworks_deploy.topology import ALLOCATOR, SERVICES, Service, service
from tests.contract.test_import_boundaries import imported_roots

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "compose"
DOCKERFILE = ROOT / "deploy" / "Dockerfile"


def compose(name: str = "compose.yaml") -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((COMPOSE / name).read_text())
    return document


def test_the_file_is_current() -> None:
    assert (COMPOSE / "compose.yaml").read_text() == compose_yaml()


def test_every_service_of_the_topology_is_built_from_the_one_dockerfile() -> None:
    built = {name: service["build"] for name, service in compose()["services"].items() if "build" in service}

    assert set(built) == {row.name for row in SERVICES}
    for name, build in built.items():
        assert (COMPOSE / build["context"] / build["dockerfile"]).resolve() == DOCKERFILE
        assert build["args"] == {"SERVICE": name}


def test_envoy_looks_for_the_services_under_their_names_and_ports() -> None:
    envoy = json.loads((COMPOSE / "envoy" / "envoy.json").read_text())
    addresses = {
        cluster["name"]: endpoint["endpoint"]["address"]["socketAddress"]
        for cluster in envoy["staticResources"]["clusters"]
        if cluster["name"] != "admin"  # Envoy itself, for its counters.
        for endpoint in cluster["loadAssignment"]["endpoints"][0]["lbEndpoints"]
    }

    over_http = {row.http_name: row.name for row in SERVICES if row.http_port}
    assert set(addresses) - set(over_http) < set(compose()["services"])
    for name, address in addresses.items():
        listens = "_HTTP_LISTEN_ADDRESS" if name in over_http else "_LISTEN_ADDRESS"
        row = service(over_http.get(name, name))
        assert address["address"] == row.name
        assert f"{row.name.upper()}{listens}:-0.0.0.0:{address['portValue']}}}" in serve_script(row)


@pytest.mark.parametrize("row", SERVICES, ids=lambda row: row.name)
def test_an_image_has_the_packages_that_its_service_imports_and_no_other(row: Service) -> None:
    folders = {path.name: path for path in ROOT.glob("services/*/matteworks_*")}
    needed, pending = {row.package}, [row.package]
    while pending:
        for root in imported_roots(folders[pending.pop()]):
            if root in folders and root not in needed:
                needed.add(root)
                pending.append(root)

    assert set(packages_of(row)) == {"matteworks", *needed}


@pytest.mark.parametrize("row", SERVICES, ids=lambda row: row.name)
def test_every_variable_of_a_row_is_a_setting_of_its_service(row: Service) -> None:
    documented = (ROOT / "docs/settings.md").read_text()
    settings = [*row.targets, *(secret.value for secret in row.secrets), *row.environment]
    settings += [row.store.setting] if row.store else []

    assert [name for name in settings if f"`{row.variable(name)}`" not in documented] == []


def test_a_wheel_for_one_service_can_be_installed(tmp_path: Path) -> None:
    """Its record must list exactly what is in it, or the installer refuses it."""
    whole = tmp_path / "whole" / "matteworks-1-py3-none-any.whl"
    whole.parent.mkdir()
    with zipfile.ZipFile(whole, "w") as archive:
        for package in ("matteworks", "matteworks_common", "matteworks_auth", "matteworks_edge"):
            archive.writestr(f"{package}/__init__.py", "")
        archive.writestr(
            "matteworks-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: matteworks\nVersion: 1\n"
        )
        archive.writestr(
            "matteworks-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("matteworks-1.dist-info/entry_points.txt", "[console_scripts]\nmatteworks = x:y\n")
        archive.writestr("matteworks-1.dist-info/RECORD", "")

    selected = select(service("auth"), whole, tmp_path)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--no-index",
        "--target",
        str(tmp_path / "to"),
    ]
    done = subprocess.run([*pip, str(selected)], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    installed = {path.name for path in (tmp_path / "to").iterdir()}
    assert installed == {"matteworks", "matteworks_common", "matteworks_auth", "matteworks-1.dist-info"}


@pytest.mark.parametrize("row", SERVICES, ids=lambda row: row.name)
def test_every_service_listens_where_others_look_at_it(row: Service) -> None:
    """Also a worker, whose health and metrics would else be seen by itself alone."""
    assert f'{row.variable("LISTEN_ADDRESS")}:-0.0.0.0:{row.port}}}"' in serve_script(row)


def test_only_envoy_listens_on_the_host() -> None:
    assert [name for name, service in compose()["services"].items() if "ports" in service] == ["envoy"]


def test_no_secret_is_written_down() -> None:
    text = (COMPOSE / "compose.yaml").read_text()
    values = re.findall(
        r'(?:PEPPER|TOKEN|SECRET|CLI_AUTH): "([^"]*)"|"--requirepass", "([^"]*)"|redis://:([^@]*)@', text
    )

    assert len(values) == 11
    assert all("".join(found).startswith("${") for found in values)
    assert re.findall(r"=(.+)", (COMPOSE / "example.env").read_text()) == []


def test_an_image_is_pinned_and_runs_as_nobody_special() -> None:
    text = DOCKERFILE.read_text()

    assert all(
        re.fullmatch(r"python:3\.11\.\d+-slim-\w+", base) for base in re.findall(r"^FROM (\S+)", text, re.M)
    )
    assert "USER 10001:10001" in text


def test_the_dockerfile_sets_the_allocator_as_the_launcher_does() -> None:
    text = DOCKERFILE.read_text()

    assert [name for name, value in ALLOCATOR.items() if f"{name}={value}" not in text] == []


def test_no_image_is_the_latest() -> None:
    images = [service["image"] for service in compose()["services"].values() if "image" in service]

    assert images
    assert all(re.fullmatch(r"[\w/]+:v?\d+\.\d+\.\d+", image) for image in images)


@pytest.mark.parametrize("file", ["compose.gpu.yaml", "compose.painter.yaml"])
def test_a_file_on_top_only_changes_what_exists(file: str) -> None:
    assert set(compose(file)["services"]) <= set(compose()["services"])


def test_the_dockerfile_passes_the_linter() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"

    result = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True, check=False)

    assert result.stdout + result.stderr == ""
