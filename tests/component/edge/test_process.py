"""The process as a supervisor sees it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import httpx


def test_the_process_serves_and_ends_cleanly_on_sigterm() -> None:
    environment = {
        **os.environ,
        "MATTEWORKS_EDGE_LISTEN_ADDRESS": "127.0.0.1:0",
        "MATTEWORKS_EDGE_DRAIN_DELAY_S": "0",
    }
    with subprocess.Popen(
        [sys.executable, "-m", "matteworks_edge"], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            line = next(line for line in process.stdout if '"listening"' in line)
            port = int(line.partition('"port": ')[2].partition(",")[0].rstrip("}\n "))
            answer = httpx.get(f"http://127.0.0.1:{port}/readyz")
            assert answer.status_code == 503
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0


def test_a_wrong_setting_is_one_clear_message() -> None:
    environment = {**os.environ, "MATTEWORKS_EDGE_FETCH_PORTS": "eighty"}
    done = subprocess.run(
        [sys.executable, "-m", "matteworks_edge"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "MATTEWORKS_EDGE_FETCH_PORTS" in done.stderr
    assert "Traceback" not in done.stderr
