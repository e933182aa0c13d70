"""What a stack keeps on disk."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from matteworks_deploy.failures import EXIT_USAGE, CommandFailed
from matteworks_deploy.local.state import StackFacts, StateDirectory

FACTS = StackFacts(
    "http://127.0.0.1:1", "127.0.0.1:2", "/run/admin.sock", {"edge": "127.0.0.1:3"}, {"edge": 4}
)


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    directory = StateDirectory(tmp_path / "state")
    directory.prepare()
    return directory


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_secret_is_made_once_and_readable_by_its_owner_only(state: StateDirectory) -> None:
    first = state.secret("key-pepper")

    assert len(first) >= 32
    assert StateDirectory(state.path).secret("key-pepper") == first
    assert mode_of(state.path / "secrets" / "key-pepper") == 0o600
    assert mode_of(state.path) == 0o700


def test_secrets_differ(state: StateDirectory) -> None:
    assert state.secret("key-pepper") != state.secret("admin-token")


def test_a_secret_that_nobody_made_is_absent(state: StateDirectory) -> None:
    assert state.existing_secret("admin-token") is None


def test_the_development_key_is_kept_for_its_owner_only(state: StateDirectory) -> None:
    assert state.read_dev_key() is None

    state.write_dev_key("mw_live_x")

    assert state.read_dev_key() == "mw_live_x"
    assert mode_of(state.path / "dev-key") == 0o600


def test_facts_are_there_while_a_stack_runs(state: StateDirectory) -> None:
    state.write_facts(FACTS)
    told = state.read_facts()
    state.forget_facts()

    assert told == FACTS
    assert state.read_facts() is None


def test_facts_of_another_version_count_as_none(state: StateDirectory) -> None:
    (state.run_path / "stack.json").write_text('{"somewhere": "else"}')

    assert state.read_facts() is None


def test_two_stacks_cannot_share_a_directory(state: StateDirectory) -> None:
    with (
        state.locked(),
        pytest.raises(CommandFailed, match="already running") as caught,
        StateDirectory(state.path).locked(),
    ):
        pass

    assert caught.value.exit_code == EXIT_USAGE


def test_a_directory_that_cannot_be_made_is_told_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(CommandFailed, match="--state-dir"):
        StateDirectory(tmp_path / "file" / "state").prepare()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has memory under a path")
def test_shared_memory_is_empty_private_and_gone_after_the_run(state: StateDirectory) -> None:
    with state.shared_memory() as first:
        assert first is not None
        assert first.stat().st_mode & 0o777 == 0o700
        (first / "left").write_bytes(b"by a run that was killed")
        # The next run of the same directory begins while that is still there.
        with StateDirectory(state.path).shared_memory() as second:
            assert second == first
            assert list(second.iterdir()) == []
    assert not first.exists()
