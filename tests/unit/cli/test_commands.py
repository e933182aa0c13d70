"""Commands that cannot do their work say why in one sentence, before they start anything."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from matteworks_cli.commands.app import app
from matteworks_cli.log_stream import LogStream
from matteworks_deploy.failures import CommandFailed
from matteworks_deploy.local import parts
from tests.support import envoy_builder  # noqa: F401 - the commands under test import it without a warning


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.output


def test_a_taken_port_is_told_with_the_remedy(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        code, output = run("up", "--port", port, "--state-dir", str(tmp_path / "state"))

    assert code == 2
    assert f"Port {port} is in use" in output
    assert "--port" in output
    assert not (tmp_path / "state").exists()


def test_missing_weights_are_told_with_the_command_that_fetches_them(tmp_path: Path) -> None:
    code, output = run("up", "--port", "0", "--models-dir", str(tmp_path), "--state-dir", str(tmp_path / "s"))

    assert code == 2
    assert f"models pull --models-dir {tmp_path}" in output


def test_a_wanted_model_without_weights_is_named(tmp_path: Path) -> None:
    code, output = run(
        "up", "--port", "0", "--models-dir", str(tmp_path), "--model", "u2netp", "--state-dir", str(tmp_path)
    )

    assert code == 2
    assert "models pull u2netp" in output


def test_an_unknown_model_is_told_with_the_known_ones(tmp_path: Path) -> None:
    code, output = run("models", "pull", "nonsense", "--models-dir", str(tmp_path))

    assert code == 2
    assert "u2netp" in output


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "find_spec", lambda module: None if module == "pyvips" else object())

    with pytest.raises(CommandFailed, match=r'pip install "matteworks\[compositor\]"'):
        parts.require_extras("local", "auth", "inference", "compositor", "edge")


def test_the_command_without_its_extra_says_what_to_install() -> None:
    program = "import sys; sys.modules['typer'] = None\nfrom matteworks_cli.main import run\nrun()"

    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert result.returncode == 2
    assert 'pip install "matteworks[local]"' in result.stderr


def test_administration_without_a_stack_says_how_to_start_one(tmp_path: Path) -> None:
    code, output = run("keys", "list", "--state-dir", str(tmp_path))

    assert code == 2
    assert "matteworks up" in output


def test_removal_without_a_key_says_how_to_give_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MATTEWORKS_API_KEY", raising=False)

    code, output = run("remove", "photo.jpg", "--state-dir", str(tmp_path))

    assert code == 2
    assert "--key" in output


def test_an_unknown_format_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    code, output = run("remove", "photo.jpg", "--format", "gif", "--key", "k", "--state-dir", str(tmp_path))

    assert code == 2
    assert "png, jpg, webp, webp_lossless, avif, zip, auto" in " ".join(output.split())


def test_an_address_without_a_port_is_refused() -> None:
    code, output = run("envoy-config", "--edge", "edge")

    assert code == 2
    assert "host:port" in output


def test_a_stale_envoy_configuration_is_told_with_the_command_that_renews_it(tmp_path: Path) -> None:
    path = tmp_path / "envoy.json"
    path.write_text("{}")

    code, output = run("envoy-config", "--check", str(path))

    assert code == 1
    assert f"matteworks envoy-config > {path}" in output


@pytest.mark.parametrize("command", ["up", "remove", "demo", "envoy-config", "accounts", "keys", "models"])
def test_every_command_explains_itself(command: str) -> None:
    code, output = run(command, "--help")

    assert code == 0
    assert "Usage" in output


class ClosedStream:
    """A terminal that was closed."""

    def write(self, _text: str) -> int:
        raise BrokenPipeError

    def flush(self) -> None:
        pass


def test_a_log_without_a_reader_stops_nobody() -> None:
    log = LogStream(ClosedStream())  # type: ignore[arg-type]

    log.write("edge", "a line")
    log.say("READY")
