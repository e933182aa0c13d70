"""Ray Data and Daft over a folder of pictures, installed as users have them, against the whole stack."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import matteworks
import matteworks_client
import matteworks_common
from tests.clients.installs import NotInstalled, run_installer
from tests.support.stack import RunningStack

pytestmark = [pytest.mark.stack, pytest.mark.clients, pytest.mark.timeout(600)]

PROGRAMS = Path(__file__).parent / "programs"
# Environments of their own, kept between runs: Ray alone is 300 MB.
ENVIRONMENTS = Path(__file__).resolve().parents[2]
ENGINES = {
    "ray_data": ("ray[data]==2.60.0",),
    "daft": ("daft==0.7.26",),
}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_batch_engine_gets_a_cutout_or_an_error_for_each_picture(
    engine: str, running_stack: RunningStack, demo_photo: Path, tmp_path: Path
) -> None:
    python = _environment(engine)
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(demo_photo.read_bytes() + name.encode())
    (tmp_path / "broken.jpg").write_bytes(b"not a picture")
    ours = [Path(str(next(iter(package.__path__)))).parent for package in PACKAGES]

    done = subprocess.run(
        [str(python), str(PROGRAMS / f"{engine}_program.py"), str(tmp_path)],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, ours)),
            "MATTEWORKS_TARGET": running_stack.internal_target,
            "DAFT_ANALYTICS_ENABLED": "0",
            "RAY_USAGE_STATS_ENABLED": "0",
        },
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-3000:]
    rows = json.loads(done.stdout.strip().splitlines()[-1])
    assert sorted(rows) == ["a.jpg", "b.jpg", "broken.jpg"]
    assert rows["a.jpg"][0] > 1000
    assert rows["a.jpg"][1] == ""
    assert rows["broken.jpg"][0] == 0
    assert "INVALID_FILE_TYPE" in rows["broken.jpg"][1]


PACKAGES = (matteworks, matteworks_client, matteworks_common)
# What the client needs beside the engine: the project's own base dependencies.
BASE = ("grpcio", "protobuf", "googleapis-common-protos", "grpcio-status", "grpcio-health-checking",
        "opentelemetry-api", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-grpc",
        "prometheus-client", "pydantic-settings", "structlog")  # fmt: skip


def _environment(engine: str) -> Path:
    if os.environ.get("MATTEWORKS_TEST_BATCH_ENGINES") != "1":
        pytest.skip("set MATTEWORKS_TEST_BATCH_ENGINES=1 to install Ray and Daft (about 600 MB) and run them")
    directory = ENVIRONMENTS / f".venv-{engine}"
    python = directory / "bin" / "python"
    done = directory / ".installed"
    if not done.exists():
        try:
            run_installer(sys.executable, "-m", "venv", str(directory))
            lock = ENVIRONMENTS / "requirements.lock"
            pip = (str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
            run_installer(*pip, *ENGINES[engine], *_pinned(lock), timeout_s=500)
        except NotInstalled as error:
            pytest.skip(f"{engine} could not be installed: {error}")
        done.touch()
    return python


def _pinned(lock: Path) -> list[str]:
    return [line for line in lock.read_text().splitlines() if line.partition("==")[0] in BASE]
