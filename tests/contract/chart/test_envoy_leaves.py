"""Envoy's pod ends without a lost request: its own hook, its own configuration, its real program."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
import yaml
from tools import helm

from matteworks_deploy.local.parts import envoy_binary
from matteworks_deploy.local.ports import free_ports
from tests.contract.chart.rendering import CHART, container

NOTICE_S = 2
SLOW_S = 5


class _Edge(BaseHTTPRequestHandler):
    """Ready at once; /slow takes its time."""

    def do_GET(self) -> None:
        if self.path == "/slow":
            time.sleep(SLOW_S)
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:
        pass


@dataclass
class _Proxy:
    process: subprocess.Popen[bytes]
    public: str
    observed: str
    hook: list[str]


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[_Proxy]:
    with _edge() as edge_port:
        drain = {"noticeSeconds": NOTICE_S, "requestsSeconds": 30}
        texts = helm.render(CHART, {"envoy": {"drain": drain}}, name="cutouts", namespace="pictures")
        document = next(
            one
            for one in yaml.load_all(texts["matteworks/templates/envoy.yaml"], yaml.CSafeLoader)
            if one["kind"] == "Deployment"
        )
        config = yaml.load(texts["matteworks/templates/envoy-config.yaml"], yaml.CSafeLoader)["data"][
            "envoy.json"
        ]
        ports = dict(zip((8080, 8081, 9102, 9901), free_ports(4), strict=True))
        (tmp_path / "envoy.json").write_text(_moved(config, ports, edge_port))
        envoy = container(document)
        arguments = [str(tmp_path / "envoy.json") if "/etc/" in one else one for one in envoy["args"]]
        hook = envoy["lifecycle"]["preStop"]["exec"]["command"]
        process = subprocess.Popen([envoy_binary(), *arguments], cwd=tmp_path, stderr=subprocess.DEVNULL)
        try:
            yield _Proxy(
                process,
                f"http://127.0.0.1:{ports[8080]}",
                f"http://127.0.0.1:{ports[9102]}",
                [one.replace("9901", str(ports[9901])) for one in hook],
            )
        finally:
            process.kill()
            process.wait()


@contextmanager
def _edge() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Edge)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _moved(config: str, ports: dict[int, int], edge_port: int) -> str:
    """The configuration on free ports of this machine, with the edge alone behind it."""
    document = json.loads(config)
    static = document["staticResources"]
    addresses = [document["admin"]["address"], *(one["address"] for one in static["listeners"])]
    for cluster in static["clusters"]:
        where = cluster["loadAssignment"]["endpoints"][0]["lbEndpoints"][0]["endpoint"]["address"]
        cluster["type"] = "STATIC"
        if cluster["name"] == "admin":
            addresses.append(where)
        else:
            where["socketAddress"] = {"address": "127.0.0.1", "portValue": edge_port}
    for address in addresses:
        at = address["socketAddress"]
        address["socketAddress"] = {"address": "127.0.0.1", "portValue": ports[at["portValue"]]}
    return json.dumps(document)


def _until_ready(url: str) -> None:
    deadline_s = time.monotonic() + 20
    while True:
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline_s, "Envoy does not answer"
        time.sleep(0.05)


def test_requests_under_way_are_answered_and_callers_sent_elsewhere(proxy: _Proxy) -> None:
    _until_ready(f"{proxy.observed}/ready")
    _until_ready(f"{proxy.public}/readyz")
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(httpx.get, f"{proxy.public}/slow", timeout=30)
        time.sleep(0.3)
        hook = subprocess.Popen(proxy.hook)
        started_s = time.monotonic()
        time.sleep(0.5)
        # Who does not know yet is still served, and told to go.
        late = httpx.get(f"{proxy.public}/readyz")
        hook.wait(timeout=30)
        took_s = time.monotonic() - started_s
        proxy.process.send_signal(signal.SIGTERM)

        assert (late.status_code, late.headers["connection"]) == (200, "close")
        assert slow.result().status_code == 200
        assert SLOW_S - 1 < took_s < SLOW_S + 20
        assert proxy.process.wait(timeout=10) == 0


def test_others_see_readiness_and_metrics_and_nothing_else(proxy: _Proxy) -> None:
    _until_ready(f"{proxy.observed}/ready")

    assert "envoy_http_downstream_rq_total" in httpx.get(f"{proxy.observed}/stats/prometheus").text
    for path in ("/", "/stats", "/config_dump", "/quitquitquit", "/ready/../config_dump"):
        assert httpx.post(f"{proxy.observed}{path}").status_code == 404
