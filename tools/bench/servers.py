"""Start our stack and the peer (`rembg s`), measure their memory, stop them."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

PEER_REQUIREMENTS = ("rembg[cli]==2.0.86", "onnxruntime")
# The peer's file names for the weights that both sides use.
PEER_WEIGHTS = {"isnet-general-use": "isnet-general-use.onnx", "u2netp": "u2netp.onnx"}


@dataclass(frozen=True)
class Server:
    """A server under test. `ask` sends one picture and returns the answer's body."""

    label: str
    base_url: str
    key: str
    root_pid: int

    def ask(
        self, client: httpx.Client, picture: bytes, model: str, format_name: str = "png"
    ) -> httpx.Response:
        """One removal at full size. Raises httpx.HTTPStatusError on any failure."""
        if self.key:
            answer = client.post(**self.removal(picture, format_name))
        else:
            answer = client.post(
                f"{self.base_url}/api/remove", data={"model": model}, files={"file": ("p.jpg", picture)}
            )
        answer.raise_for_status()
        return answer

    def removal(self, picture: bytes, format_name: str = "png") -> dict[str, Any]:
        """The arguments of an httpx client's `post` that ask our stack for one removal at full size."""
        return {
            "url": f"{self.base_url}/v1.0/removebg",
            "headers": {"X-Api-Key": self.key},
            "data": {"size": "full", "format": format_name},
            "files": {"image_file": ("p.jpg", picture)},
        }

    def memory_bytes(self) -> int:
        """Proportional set size of the server's process and all that it started."""
        return sum(_pss_bytes(pid) for pid in descendants(self.root_pid))


@contextlib.contextmanager
def our_stack(
    model: str, models_dir: Path, *options: str, environment: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """`matteworks up` on a free port with fresh state; every model when `model` is empty."""
    with tempfile.TemporaryDirectory() as state:
        command = [
            sys.executable, "-m", "matteworks_cli", "up", "--port", "0", "--state-dir", state,
            "--models-dir", str(models_dir), *(["--model", model] if model else []), *options,
        ]  # fmt: skip
        with _process(command, environment or {}) as (process, lines):
            ready = _await_line(process, lines, r"READY (http://\S+) key=(\S+)", timeout_s=120)
            yield Server("ours", ready[1], ready[2], process.pid)


@contextlib.contextmanager
def peer_server(model: str, models_dir: Path, venv: Path) -> Iterator[Server]:
    """`rembg s` in an environment of its own at `venv`, made when it is missing."""
    if not (venv / "bin" / "rembg").exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        subprocess.run([str(venv / "bin" / "pip"), "install", "--quiet", *PEER_REQUIREMENTS], check=True)
    with tempfile.TemporaryDirectory() as weights:
        for name, file in PEER_WEIGHTS.items():
            found = next(iter(sorted(models_dir.glob(f"{name}*.onnx"))), None)
            if found:
                shutil.copy(found, Path(weights) / file)
        port = _free_port()
        environment = {"U2NET_HOME": weights, "MODEL_CHECKSUM_DISABLED": "1"}
        command = [str(venv / "bin" / "rembg"), "s", "--host", "127.0.0.1", "--port", str(port)]
        with _process(command, environment) as (process, _lines):
            _await_port(process, port, timeout_s=120)
            yield Server(f"rembg s, {model}", f"http://127.0.0.1:{port}", "", process.pid)


@contextlib.contextmanager
def _process(
    command: list[str], environment: Mapping[str, str]
) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    process = subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    lines: list[str] = []

    def collect() -> None:
        assert process.stdout
        for line in process.stdout:
            lines.append(line)
            del lines[:-2000]

    reader = threading.Thread(target=collect, daemon=True)
    reader.start()
    try:
        yield process, lines
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        reader.join(timeout=5)


def _await_line(
    process: subprocess.Popen[str], lines: list[str], pattern: str, timeout_s: float
) -> re.Match[str]:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        for line in list(lines):
            if match := re.search(pattern, line):
                return match
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError("the server did not become ready:\n" + "".join(lines[-30:]))


def _await_port(process: subprocess.Popen[str], port: int, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.2)
    raise RuntimeError("the peer did not open its port")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def descendants(root_pid: int) -> list[int]:
    """A process and all that it and its children have started."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found, queue = [], [root_pid]
    while queue:
        pid = queue.pop()
        found.append(pid)
        queue += children.get(pid, [])
    return found


def _pss_bytes(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
