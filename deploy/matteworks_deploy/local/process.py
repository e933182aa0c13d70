"""One child process that is kept alive: started, read line by line, restarted, stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from matteworks_deploy.local import tether

FIRST_RESTART_DELAY_S = 0.2
LONGEST_RESTART_DELAY_S = 5.0
# A process that ran this long was well; its next crash is a new story.
WELL_AFTER_S = 20.0
# Exit code by which our services say that they will never start like this.
CANNOT_START = 2

_LONGEST_LINE_BYTES = 1024 * 1024
_KEPT_LINES = 20

WriteLine = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """How to start a process. `name` stands before its lines in the log."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    directory: Path | None = None


class KeptProcess:
    """A process that is started again when it ends, until `stop` is called.

    `on_started` is told the new process id each time. `failed` resolves to a sentence when the process
    says that it cannot start at all (exit code 2 before `mark_ready`).
    """

    def __init__(
        self, spec: ProcessSpec, write_line: WriteLine, on_started: Callable[[str, int], None]
    ) -> None:
        self.spec = spec
        self.pid = 0
        self.failed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._write_line = write_line
        self._on_started = on_started
        self._last_lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._is_stopping = False
        self._is_ready = False

    def start(self) -> None:
        """Start it and keep it running."""
        self._keeper = asyncio.create_task(self._keep())

    def mark_ready(self) -> None:
        """From now on every exit is a crash to recover from."""
        self._is_ready = True

    def last_lines(self) -> str:
        """What it said last, for an error message."""
        return "\n".join(self._last_lines)

    async def stop(self, grace_s: float) -> None:
        """SIGTERM, then SIGKILL after `grace_s`. Nothing of its process group is left afterwards."""
        self._is_stopping = True
        if self._keeper is None:
            return
        self._signal(signal.SIGTERM)
        done, _ = await asyncio.wait({self._keeper}, timeout=grace_s)
        if not done:
            self._write_line("launcher", f"{self.spec.name} did not stop within {grace_s:g} s; killing it")
            self.kill()
            await asyncio.wait({self._keeper}, timeout=5)
        self._keeper.cancel()
        await asyncio.gather(self._keeper, return_exceptions=True)

    def kill(self) -> None:
        """End it and everything that it started, now."""
        self._is_stopping = True
        self._signal(signal.SIGKILL)

    async def _keep(self) -> None:
        delay_s = FIRST_RESTART_DELAY_S
        while True:
            started_s = time.monotonic()
            code = await self._run_once()
            if self._is_stopping:
                return
            if code == CANNOT_START and not self._is_ready:
                self.failed.set_result(f"{self.spec.name} cannot start:\n{self.last_lines()}")
                return
            if time.monotonic() - started_s > WELL_AFTER_S:
                delay_s = FIRST_RESTART_DELAY_S
            self._write_line(
                "launcher",
                f"{self.spec.name} ended with {_in_words(code)}; starting it again in {delay_s:g} s",
            )
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, LONGEST_RESTART_DELAY_S)

    async def _run_once(self) -> int:
        # A pipe of our own: asyncio's would not report the end of the process before the last holder of
        # the pipe is gone, and what a process left behind may hold it for good.
        read_end, write_end = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-I", "-S", tether.__file__, str(os.getpid())),
                *self.spec.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=write_end,
                stderr=write_end,
                env=dict(self.spec.environment),
                cwd=self.spec.directory,
                # A group of its own: Ctrl-C in the terminal reaches only the launcher, which stops things
                # in order, and nothing that the process started outlives it.
                start_new_session=True,
            )
        except OSError:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
        self._process = process
        self.pid = process.pid
        if self._is_stopping:
            self._signal(signal.SIGKILL)
        self._on_started(self.spec.name, process.pid)
        reader = asyncio.create_task(self._pump(read_end))
        try:
            return await process.wait()
        finally:
            # What it started and left behind would hold its ports and its pipe.
            _signal_group(process.pid, signal.SIGKILL)
            await asyncio.wait({reader}, timeout=1)
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    async def _pump(self, read_end: int) -> None:
        reader = asyncio.StreamReader(limit=_LONGEST_LINE_BYTES)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_end, "rb", buffering=0)
        )
        try:
            while True:
                try:
                    line = await reader.readline()
                except ValueError:
                    # Longer than any log line of ours; the reader has dropped it.
                    continue
                if not line:
                    return
                text = line.decode("utf-8", "replace").rstrip()
                self._last_lines.append(text)
                self._write_line(self.spec.name, text)
        finally:
            transport.close()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            _signal_group(self._process.pid, number)


def _signal_group(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return


def _in_words(code: int) -> str:
    if code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"
