"""Any process may be killed by hand while requests run."""

from __future__ import annotations

import threading
from pathlib import Path

import httpx
import pytest

from tests.e2e.test_lost_workers import photo_of_bytes, wait_until
from tests.support.stack import RunningStack

pytestmark = pytest.mark.stack

# Without Envoy there is nobody who could answer; with it every answer has the documented form.
BEHIND_ENVOY = ("valkey", "auth", "edge", "inference-1", "inference-2", "compositor-1", "compositor-2")


class Traffic:
    """Sends one photo after another until told to stop, and keeps every answer."""

    def __init__(self, stack: RunningStack, photos: list[bytes]) -> None:
        self.answers: list[httpx.Response] = []
        self.lost_connections = 0
        self._stack = stack
        self._photos = photos
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        with httpx.Client(timeout=60, headers={"X-Api-Key": self._stack.key}) as client:
            number = 0
            while not self._is_over.is_set():
                photo = self._photos[number % len(self._photos)]
                number += 1
                try:
                    self.answers.append(
                        client.post(
                            f"{self._stack.base_url}/v1.0/removebg",
                            data={"size": "full"},
                            files={"image_file": ("photo.png", photo)},
                        )
                    )
                except httpx.TransportError:
                    self.lost_connections += 1


def kill_under_traffic(stack: RunningStack, name: str, photo: Path) -> Traffic:
    """Kill the process in the middle of traffic, and wait until it is back and photos pass."""
    stack.wait_until_ready()
    photos = [photo_of_bytes(photo, 200, seed) for seed in range(4)]
    with Traffic(stack, photos) as traffic:
        wait_until(lambda: len(traffic.answers) >= 2, 30, "traffic")
        old_pid = stack.kill(name)
        wait_until(lambda: stack.pid(name) != old_pid, 30, f"{name} to be started again")
        back = len(traffic.answers)
        wait_until(
            lambda: any(answer.status_code == httpx.codes.OK for answer in traffic.answers[back:]),
            60,
            "a photo that is cut out again",
        )
    return traffic


@pytest.mark.parametrize("name", BEHIND_ENVOY)
def test_a_killed_process_comes_back_and_clients_see_at_most_clean_503s(
    running_stack: RunningStack, demo_photo: Path, name: str
) -> None:
    traffic = kill_under_traffic(running_stack, name, demo_photo)

    assert traffic.lost_connections == 0
    assert {answer.status_code for answer in traffic.answers} <= {200, 503}
    for refusal in (answer for answer in traffic.answers if answer.status_code == 503):
        assert refusal.json()["errors"][0]["code"]
        assert int(refusal.headers["retry-after"]) >= 1
        assert refusal.headers["x-credits-charged"] == "0"


def test_envoy_comes_back_too(running_stack: RunningStack, demo_photo: Path) -> None:
    traffic = kill_under_traffic(running_stack, "envoy", demo_photo)

    assert {answer.status_code for answer in traffic.answers} <= {200, 503}
