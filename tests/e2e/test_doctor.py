"""`matteworks doctor` on a sound stack, and on stacks with something wrong."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.stack import RunningStack

pytestmark = pytest.mark.stack


def doctor(stack: RunningStack, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "matteworks_cli", "doctor", *options]
    command += ["--state-dir", str(stack.state_directory)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=110)


def test_a_sound_stack_has_nothing_but_its_small_network_to_mend(running_stack: RunningStack) -> None:
    done = doctor(running_stack)
    lines = done.stdout.splitlines()
    problems = [line for line in lines if line.startswith("problem")]
    # The tests run the small network alone.
    assert len(problems) == 1, done.stdout
    assert "networks: u2netp" in problems[0]
    assert "matteworks models pull" in done.stdout
    for what in (
        "gateway",
        "auth",
        "compositor",
        "inference",
        "jobs",
        "key",
        "removal",
        "batch",
        "result URLs",
    ):
        assert any(line.startswith("ok") and f" {what}:" in line for line in lines), (what, done.stdout)
    assert done.returncode == 1
    assert "1 problem found" in done.stderr


def test_a_gateway_that_is_not_there_is_told_with_its_remedy(running_stack: RunningStack) -> None:
    done = doctor(running_stack, "--base-url", "http://127.0.0.1:9")
    assert done.returncode == 1
    assert "gateway: http://127.0.0.1:9 cannot be reached" in done.stdout
    assert "--base-url" in done.stdout
    assert "removal" not in done.stdout, "what depends on it is not tried"


def test_services_that_are_not_there_are_told_one_by_one(running_stack: RunningStack) -> None:
    done = doctor(running_stack, "--target", "127.0.0.1:9")
    assert done.returncode == 1
    for name in ("auth", "compositor", "inference", "jobs"):
        assert f"Start {name}" in done.stdout


def test_a_key_that_nobody_has_is_told(running_stack: RunningStack) -> None:
    done = doctor(running_stack, "--key", "nonsense")
    assert done.returncode == 1
    assert "problem  key:" in done.stdout
    assert "matteworks keys create" in done.stdout
