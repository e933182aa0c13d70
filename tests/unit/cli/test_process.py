"""A kept process comes back when it crashes and is gone when it is stopped."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from matteworks_deploy.local.process import KeptProcess, ProcessSpec
from tests.support.stack import living_processes

SLEEP = "import time; time.sleep(600)"


class Journal:
    """What was said and started, with a way to wait for more."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.pids: list[int] = []
        self._changed = asyncio.Event()

    def write(self, name: str, line: str) -> None:
        self.lines.append((name, line))
        self._changed.set()

    def started(self, _name: str, pid: int) -> None:
        self.pids.append(pid)
        self._changed.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not holds():
                self._changed.clear()
                await self._changed.wait()

    def said(self, text: str) -> bool:
        return any(text in line for _, line in self.lines)


@asynccontextmanager
async def kept(program: str, journal: Journal) -> AsyncIterator[KeptProcess]:
    spec = ProcessSpec("thing", (sys.executable, "-u", "-c", program), dict(os.environ))
    process = KeptProcess(spec, journal.write, journal.started)
    process.start()
    try:
        yield process
    finally:
        await process.stop(grace_s=5)


async def test_lines_carry_the_name_of_the_process() -> None:
    journal = Journal()
    async with kept(f"print('hello'); {SLEEP}", journal):
        await journal.until(lambda: journal.said("hello"))

    assert ("thing", "hello") in journal.lines


async def test_a_line_longer_than_any_log_line_does_not_stop_the_others() -> None:
    journal = Journal()
    async with kept(f"print('x' * 3_000_000); print('after'); {SLEEP}", journal):
        await journal.until(lambda: journal.said("after"))


async def test_a_crashed_process_is_started_again() -> None:
    journal = Journal()
    async with kept("raise SystemExit(1)", journal) as process:
        process.mark_ready()
        await journal.until(lambda: len(journal.pids) >= 2)

    assert journal.said("ended with exit code 1; starting it again in 0.2 s")
    assert journal.said("starting it again in 0.4 s") or len(journal.pids) == 2


async def test_a_killed_process_is_started_again() -> None:
    journal = Journal()
    async with kept(f"print('up'); {SLEEP}", journal) as process:
        await journal.until(lambda: journal.said("up"))
        os.kill(process.pid, 9)
        await journal.until(lambda: len(journal.pids) == 2)

    assert journal.said("signal SIGKILL")


async def test_a_process_that_says_it_cannot_start_is_believed() -> None:
    journal = Journal()
    async with kept("print('PORT: is wrong'); raise SystemExit(2)", journal) as process:
        sentence = await asyncio.wait_for(process.failed, 20)

    assert "thing cannot start" in sentence
    assert "PORT: is wrong" in sentence
    assert len(journal.pids) == 1


async def test_stopping_is_polite_first() -> None:
    program = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('goodbye'), sys.exit(0)))\n"
        "print('up'); time.sleep(600)"
    )
    journal = Journal()
    async with kept(program, journal):
        await journal.until(lambda: journal.said("up"))

    assert journal.said("goodbye")
    assert len(journal.pids) == 1


async def test_what_a_process_left_behind_ends_with_it() -> None:
    """Otherwise it would hold the port that the next one needs."""
    program = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', {SLEEP!r}])\n"
        "print('child', child.pid); time.sleep(600)"
    )
    journal = Journal()
    async with kept(program, journal) as process:
        await journal.until(lambda: journal.said("child"))
        child_pid = int(journal.lines[-1][1].split()[1])
        assert living_processes([child_pid]) == [child_pid]
        os.kill(process.pid, 9)
        await journal.until(lambda: len(journal.pids) == 2)

        assert living_processes([child_pid]) == []
