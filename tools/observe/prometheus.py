"""A real Prometheus, where Debian's is installed."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from matteworks_deploy.local.ports import free_ports

MONITORING = Path(__file__).resolve().parents[2] / "deploy" / "monitoring"


def missing(program: str) -> str:
    """Why a test must be skipped; empty when the program is there."""
    return "" if shutil.which(program) else f"{program} is not installed (Debian's package prometheus)"


class Prometheus:
    """Its HTTP API."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._http = httpx.Client(base_url=f"{base_url}/api/v1", timeout=30)

    def get(self, path: str, **parameters: str | float) -> Any:
        """The data of an answer. Raises AssertionError with Prometheus's own words."""
        answer = self._http.get(path, params=parameters).json()
        assert answer["status"] == "success", f"{parameters}: {answer.get('error')}"
        return answer["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that an expression has now."""
        found: list[dict[str, Any]] = self.get("/query", query=expression)["result"]
        return found

    def close(self) -> None:
        self._http.close()


@contextmanager
def running_prometheus(
    directory: Path, targets: Path, *, every_s: int = 1, evaluates_every_s: int = 1
) -> Iterator[Prometheus]:
    """Our own configuration and rules, with `targets` scraped more often, on a free port of loopback."""
    config = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    config["global"] = {
        "scrape_interval": f"{every_s}s",
        "scrape_timeout": f"{every_s}s",
        "evaluation_interval": f"{evaluates_every_s}s",
    }
    config["rule_files"] = [str(MONITORING / "rules" / "*.yml")]
    config["scrape_configs"][0]["file_sd_configs"] = [{"files": [str(targets)], "refresh_interval": "2s"}]
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    (port,) = free_ports(1)
    process = subprocess.Popen(
        [
            "prometheus", "--config.file", str(path), "--storage.tsdb.path", str(directory / "data"),
            "--web.listen-address", f"127.0.0.1:{port}", "--log.level", "warn",
        ],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    prometheus = Prometheus(f"http://127.0.0.1:{port}")
    try:
        _wait_until_ready(f"http://127.0.0.1:{port}/-/ready")
        yield prometheus
    finally:
        prometheus.close()
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(url: str) -> None:
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s:
        try:
            if httpx.get(url, timeout=5).status_code == httpx.codes.OK:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    raise AssertionError("Prometheus did not become ready")
