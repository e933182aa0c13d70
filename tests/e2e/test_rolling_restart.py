"""Every process of every service is restarted, one after the other, while clients send pictures."""

from __future__ import annotations

import itertools
import os
import signal
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from matteworks_deploy.topology import SERVICES, Protocol
from tests.e2e.test_lost_workers import healthy_hosts, wait_until
from tests.support.stack import FAST_MODEL, RunningStack, stack

pytestmark = pytest.mark.stack

_CLIENTS = 2
_WORKERS = 2
_PAUSE_S = 0.1


def restart_one_after_the_other(started: RunningStack) -> int:
    """SIGTERM for every process of a service; the next one when all of its service are in rotation again."""
    count = 0
    for row in SERVICES:
        for number in range(1, _WORKERS + 1):
            name = f"{row.name}-{number}"
            pid = started.pid(name)
            os.kill(pid, signal.SIGTERM)
            wait_until(lambda name=name, pid=pid: started.pid(name) != pid, 60, f"{name} to start again")  # type: ignore[misc]
            if row.protocol is not Protocol.NONE:
                wait_until(
                    lambda row=row: healthy_hosts(started, row.name) == _WORKERS,  # type: ignore[misc]
                    60,
                    f"{name} in rotation",
                )
            count += 1
    return count


@pytest.mark.timeout(400)
def test_a_rolling_restart_of_everything_costs_no_client_an_answer(
    fast_weights: None, tmp_path: Path, demo_photo: Path
) -> None:
    photo = demo_photo.read_bytes()
    workers = ("edge", "console", "jobs", "worker", "auth")
    options = [part for name in workers for part in ("--workers", f"{name}={_WORKERS}")]
    options += ["--inference-workers", str(_WORKERS), "--compositor-workers", str(_WORKERS)]
    done = threading.Event()
    outcomes: Counter[str] = Counter()
    with stack(tmp_path, "--model", FAST_MODEL, *options) as started:

        def send(client: httpx.Client, number: int) -> None:
            # Bytes after a JPEG's end are ignored; no two requests are the same.
            picture = photo + number.to_bytes(8, "big")
            try:
                answer = client.post(
                    f"{started.base_url}/v1.0/removebg",
                    headers={"X-Api-Key": started.key},
                    files={"image_file": ("photo.jpg", picture)},
                    data={"size": "preview"},
                )
                outcomes[f"{answer.status_code} {answer.text[:200] if answer.is_error else ''}"] += 1
            except httpx.HTTPError as error:
                outcomes[type(error).__name__] += 1

        def keep_sending(first: int) -> None:
            with httpx.Client(timeout=60) as client:
                for number in itertools.count(first, _CLIENTS):
                    # Not without a pause: processes that start need the processor more.
                    if done.wait(_PAUSE_S):
                        return
                    send(client, number)

        with ThreadPoolExecutor(_CLIENTS) as clients:
            sending = [clients.submit(keep_sending, first) for first in range(_CLIENTS)]
            try:
                restarted = restart_one_after_the_other(started)
            finally:
                done.set()
            for client in sending:
                client.result()

    assert restarted == len(SERVICES) * _WORKERS
    assert set(outcomes) == {"200 "}, outcomes
    assert outcomes["200 "] > restarted, "enough was sent to meet every restart"
