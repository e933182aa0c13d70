"""A worker that dies in the middle of a request costs the client nothing."""

from __future__ import annotations

import io
import itertools
import os
import re
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.support.stack import RunningStack

pytestmark = pytest.mark.stack


def active_requests(stack: RunningStack, cluster: str) -> dict[str, int]:
    """Requests in flight by host, as Envoy counts them."""
    transport = httpx.HTTPTransport(uds=str(stack.facts["envoy_admin"]))
    with httpx.Client(transport=transport, base_url="http://envoy", timeout=10) as client:
        text = client.get("/clusters").text
    return {host: int(count) for host, count in re.findall(rf"{cluster}::(\S+?)::rq_active::(\d+)", text)}


def healthy_hosts(stack: RunningStack, cluster: str) -> int:
    """Hosts that Envoy would send a request to."""
    counters = stack.envoy_counters(rf"^cluster\.{cluster}\.membership_healthy$")
    return counters[f"cluster.{cluster}.membership_healthy"]


def wait_until(holds: Callable[[], bool], timeout_s: float, what: str) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        threading.Event().wait(0.01)


def photo_of_bytes(source: Path, side_px: int, seed: int) -> bytes:
    """The photo, enlarged and made incompressible: about 3 * side_px ** 2 bytes, different for each seed."""
    with Image.open(source) as photo:
        enlarged = np.asarray(photo.convert("RGB").resize((side_px, side_px))).astype(np.int16)
    noise = np.random.default_rng(seed).integers(-6, 7, enlarged.shape, dtype=np.int16)
    stream = io.BytesIO()
    pixels = np.clip(enlarged + noise, 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(stream, "PNG", compress_level=0)
    return stream.getvalue()


def kill_while_busy(stack: RunningStack, cluster: str, victim: str) -> None:
    """`kill -9` the worker while it surely has a request: frozen first, looked at, then killed."""
    address, pid = stack.address(victim), stack.pid(victim)

    def is_busy() -> bool:
        return active_requests(stack, cluster)[address] >= 1

    for _ in range(100):
        wait_until(is_busy, 30, f"a request in {victim}")
        os.kill(pid, signal.SIGSTOP)
        if is_busy():
            os.kill(pid, signal.SIGKILL)
            return
        os.kill(pid, signal.SIGCONT)
    raise AssertionError(f"{victim} was never caught with a request")


@pytest.mark.parametrize(
    ("cluster", "side_px"),
    [("inference", 180), ("inference", 1100), ("compositor", 600), ("compositor", 2600)],
    ids=["inference-100kB", "inference-3MB", "compositor-1MB", "compositor-20MB"],
)
def test_a_worker_killed_in_the_middle_of_a_request_is_replaced_by_another(
    running_stack: RunningStack, demo_photo: Path, cluster: str, side_px: int
) -> None:
    """Envoy must still hold the whole message, or it silently gives the retry up."""
    stack = running_stack
    stack.wait_until_ready()
    counters = rf"^cluster\.{cluster}\.(upstream_rq_retry|retry_or_shadow_abandoned)$"
    wait_until(lambda: healthy_hosts(stack, cluster) == 2, 30, "two healthy hosts")
    before = stack.envoy_counters(counters)
    victim = f"{cluster}-1"
    victim_pid = stack.pid(victim)
    seeds = itertools.count(side_px)
    is_killed = threading.Event()

    def send_until_killed() -> list[httpx.Response]:
        responses = []
        while not is_killed.is_set():
            responses.append(
                httpx.post(
                    f"{stack.base_url}/v1.0/removebg",
                    headers={"X-Api-Key": stack.key},
                    data={"size": "full"},
                    files={"image_file": ("photo.png", photo_of_bytes(demo_photo, side_px, next(seeds)))},
                    timeout=90,
                )
            )
        return responses

    with ThreadPoolExecutor(3) as pool:
        senders = [pool.submit(send_until_killed) for _ in range(3)]
        try:
            kill_while_busy(stack, cluster, victim)
        finally:
            is_killed.set()
        responses = [response for sender in senders for response in sender.result()]

    log = "\n".join(stack.log[-60:])
    assert {response.status_code for response in responses} == {200}, log
    assert {response.headers["x-credits-charged"] for response in responses} == {"1"}
    after = stack.envoy_counters(counters)
    name = f"cluster.{cluster}."
    assert after[f"{name}upstream_rq_retry"] > before[f"{name}upstream_rq_retry"], log
    assert after[f"{name}retry_or_shadow_abandoned"] == 0
    wait_until(lambda: stack.pid(victim) != victim_pid, 20, "the restart")
    stack.wait_until_ready()
