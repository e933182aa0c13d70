"""`matteworks accounts` and `matteworks keys` before a real auth service."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from typer.testing import CliRunner

from matteworks_cli.commands.app import app
from tests.support import envoy_builder  # noqa: F401 - the commands under test import it without a warning

TOKEN = "admin-token-of-the-tests"
Run = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def target() -> Iterator[str]:
    """An auth service in a process of its own, so that its log does not mix with what commands print."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    environment = {
        "MATTEWORKS_AUTH_STORE_URL": "memory:",
        "MATTEWORKS_AUTH_KEY_PEPPER": "pepper-of-the-tests",
        "MATTEWORKS_AUTH_ADMIN_TOKEN": TOKEN,
        "MATTEWORKS_AUTH_LISTEN_ADDRESS": address,
        "MATTEWORKS_AUTH_DRAIN_DELAY_S": "0",
    }
    service = subprocess.Popen(
        [sys.executable, "-m", "matteworks_auth"],
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with grpc.insecure_channel(address) as channel:
            grpc.channel_ready_future(channel).result(timeout=30)
        yield address
    finally:
        service.terminate()
        service.wait(timeout=20)


@pytest.fixture
def run(target: str) -> Run:
    """Run a command before the service; exit code and output."""

    def invoke(*arguments: str) -> tuple[int, str]:
        # Wide enough that no table is folded.
        runner = CliRunner(env={"COLUMNS": "250"})
        result = runner.invoke(app, [*arguments, "--target", target, "--admin-token", TOKEN])
        return result.exit_code, result.output

    return invoke


@pytest.fixture
def acme(run: Run) -> str:
    """A new account."""
    account = f"acme-{uuid.uuid4().hex[:8]}"
    assert run("accounts", "create", account)[0] == 0
    return account


def asked(run: Run, *arguments: str) -> Any:
    """The JSON that a command prints."""
    code, output = run(*arguments, "--json")
    assert code == 0, output
    return json.loads(output)


def test_an_account_is_made_changed_and_listed(run: Run) -> None:
    code, output = run("accounts", "create", "acme", "--name", "Acme", "--plan", "bgremover-free")
    assert (code, "bgremover-free" in output) == (0, True)
    (changed,) = asked(run, "accounts", "plan", "acme", "bgremover-pro")
    assert changed["subscription_credits_milli"] == 1_000_000
    for _ in range(2):
        (granted,) = asked(run, "accounts", "grant", "acme", "0.25", "--grant-id", "gift")
    assert granted["payg_credits_milli"] == 250
    (listed,) = asked(run, "accounts", "list", "--prefix", "ac")
    assert listed == granted
    code, output = run("accounts", "list")
    assert "1000" in output
    assert "0.25" in output


def test_all_pages_of_accounts_are_listed(run: Run) -> None:
    for i in range(3):
        run("accounts", "create", f"acc-{i}")
    assert [account["account_id"] for account in asked(run, "accounts", "list", "--prefix", "acc-")] == [
        "acc-0",
        "acc-1",
        "acc-2",
    ]


def test_a_key_is_restricted_and_listed_so(run: Run, acme: str) -> None:
    code, output = run(
        "keys", "create", "--account", acme, "--origin", "https://shop.example", "--dialect", "bgremover"
    )
    assert (code, output.startswith("mw_live_")) == (0, True)
    (key,) = asked(run, "keys", "list", "--account", acme)
    assert key["restrictions"]["allowed_origins"] == ["https://shop.example"]
    assert (key["dialect"], key["last_use_time"], key["revoke_time"]) == ("bgremover", None, None)
    code, output = run("keys", "restrict", key["key_id"], "--network", "203.0.113.0/24")
    assert output == f"{key['key_id']} works from 203.0.113.0/24.\n"
    code, output = run("keys", "restrict", key["key_id"])
    assert "everywhere" in output


def test_the_log_names_who_ran_the_command(run: Run, acme: str) -> None:
    run("accounts", "grant", acme, "5")
    events = asked(run, "accounts", "log", "--account", acme)
    assert [event["action"] for event in events] == ["credits.grant", "account.create"]
    assert all(event["actor"].startswith("command-line:") for event in events)
    code, output = run("accounts", "log")
    assert (code, "credits_milli 5000" in output) == (0, True)


def test_usage_of_an_idle_account_is_empty(run: Run, acme: str) -> None:
    assert asked(run, "accounts", "usage", acme) == []
    code, output = run("accounts", "usage", acme, "--by", "dialect")
    assert (code, "dialect" in output) == (0, True)


def test_the_plans_are_listed_with_their_limits(run: Run) -> None:
    listed = asked(run, "accounts", "plans")
    assert listed["default_plan"] == "starter"
    _code, output = run("accounts", "plans")
    pro = next(line for line in output.splitlines() if "bgremover-pro" in line)
    assert pro.split() == ["bgremover-pro", "500", "60", "1000", "0", "20", "25", "7", "d", "1000", "0", "0"]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("accounts", "grant", "acme", "many"), 2, "CREDITS must be a number above 0"),
        (("accounts", "grant", "acme", "0.0001"), 2, "steps of 0.001"),
        (("accounts", "grant", "acme", "inf"), 2, "CREDITS must be a number"),
        (("accounts", "grant", "nobody", "1"), 1, "NOT_FOUND"),
        (("accounts", "plan", "acme", "gold"), 1, "the plans are"),
        (("accounts", "create", "Acme!"), 1, "a-z 0-9"),
        (("accounts", "usage", "nobody"), 1, "There is no such account"),
        (("accounts", "usage", "acme", "--from", "yesterday"), 1, "YYYY-MM-DD"),
        (("keys", "restrict", "nothing"), 1, "no key"),
        (("keys", "create", "--account", "acme", "--network", "here"), 1, "203.0.113.0/24"),
    ],
)
def test_a_command_that_cannot_be_done_says_why(
    run: Run, acme: str, arguments: tuple[str, ...], code: int, told: str
) -> None:
    ended, output = run(*(acme if argument == "acme" else argument for argument in arguments))
    assert ended == code
    assert told in output
