"""Three machines, a real S3 server, two of the machines killed: each result exactly once."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import obstore
import pytest

from tests.support.s3_server import BUCKET, ObjectServer, s3_server

PICTURES = 2000
MACHINES = 3
JOBS = 8


@dataclass
class Gateway:
    """Answers like the gateway: a picture for each upload, and a book of what was charged."""

    url: str = ""
    asked: Counter[str] = field(default_factory=Counter)
    turn: threading.Lock = field(default_factory=threading.Lock)


@contextmanager
def gateway() -> Iterator[Gateway]:
    state = Gateway()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with state.turn:
                state.asked[self.headers["Idempotency-Key"]] += 1
            found = re.search(rb"photo \d+", body)
            answer = b"cut " + (found[0] if found else b"nothing")
            self.send_response(200)
            self.send_header("Content-Type", "image/png")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        state.url = f"http://127.0.0.1:{http.server_port}"
        try:
            yield state
        finally:
            http.shutdown()
            thread.join()


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[ObjectServer]:
    with s3_server(tmp_path / "s3") as server:
        yield server


def machine(server: ObjectServer, url: str, *options: str) -> subprocess.Popen[bytes]:
    command = [
        *(sys.executable, "-m", "matteworks_cli", "bulk", f"s3://{BUCKET}/in", f"s3://{BUCKET}/out"),
        *("--base-url", url, "--key", "any", "--jobs", str(JOBS), "--shard-size", "100", "--lease-s", "3"),
        *options,
    ]
    environment = {**os.environ, **server.environment}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def keys(server: ObjectServer, prefix: str) -> list[str]:
    return [entry["path"] for page in server.store(prefix).list() for entry in page]


@pytest.mark.timeout(240)
def test_every_result_comes_once_though_two_of_three_machines_are_killed(bucket: ObjectServer) -> None:
    source = bucket.store("in")
    for number in range(PICTURES):
        obstore.put(source, f"{number % 7}/{number:05d}.jpg", f"photo {number:05d}".encode())
    with gateway() as state:
        machines = [machine(bucket, state.url) for _ in range(MACHINES)]
        try:
            for victim, done in ((machines[0], PICTURES // 4), (machines[1], PICTURES // 2)):
                _wait_until(lambda done=done: len(state.asked) >= done)
                victim.send_signal(signal.SIGKILL)
            _, told = machines[2].communicate(timeout=180)
        finally:
            for process in machines:
                process.kill()
                process.communicate()

    results = [key for key in keys(bucket, "out") if not key.startswith("_matteworks/")]
    assert machines[2].returncode == 0, told.decode()
    assert f"{PICTURES} of {PICTURES} done, 0 failed" in told.decode()
    assert len(results) == len(set(results)) == PICTURES
    content = bytes(bucket.store("out").get("3/00003.jpg.png").bytes())
    assert content == b"cut photo 00003"
    # One idempotency key a picture, so one charge; asked twice at most where a machine died meanwhile.
    assert len(state.asked) == PICTURES
    assert sum(state.asked.values()) - PICTURES <= 2 * JOBS


def _wait_until(holds: Callable[[], bool], limit_s: float = 120) -> None:
    deadline = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)
