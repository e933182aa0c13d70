"""However the launcher ends, nothing that it started is left."""

from __future__ import annotations

import signal
from pathlib import Path

import httpx
import pytest

from tests.e2e.test_lost_workers import wait_until
from tests.support.stack import FAST_MODEL, living_processes, processes_of, stack

pytestmark = pytest.mark.stack


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_stops_everything_in_order(
    fast_weights: None, tmp_path: Path, number: signal.Signals
) -> None:
    with stack(tmp_path, "--model", FAST_MODEL) as started:
        pids = started.pids
        assert living_processes(pids) == pids
        assert len(pids) == 10, "the launcher, Valkey, Envoy and seven processes of services"

        started.launcher.send_signal(number)

        assert started.launcher.wait(30) == 0
        assert living_processes(pids) == []
        assert processes_of(tmp_path) == []
        assert not (tmp_path / "run" / "stack.json").exists()


def test_killing_the_launcher_itself_leaves_no_process(fast_weights: None, tmp_path: Path) -> None:
    with stack(tmp_path, "--model", FAST_MODEL) as started:
        pids = started.pids
        started.launcher.kill()
        started.launcher.wait()

        wait_until(lambda: living_processes(pids) == processes_of(tmp_path) == [], 40, "everything to end")


def test_a_second_start_finds_its_key_and_its_credits(fast_weights: None, tmp_path: Path) -> None:
    """Accounts live in the state directory, not in the run."""
    with stack(tmp_path, "--model", FAST_MODEL) as first:
        account = httpx.get(f"{first.base_url}/v1.0/account", headers={"X-Api-Key": first.key}).json()
    with stack(tmp_path, "--model", FAST_MODEL) as second:
        again = httpx.get(f"{second.base_url}/v1.0/account", headers={"X-Api-Key": second.key}).json()

    assert second.key == first.key
    assert again == account
