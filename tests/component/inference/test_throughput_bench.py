"""The bench of the message layer from end to end: services, Envoy and callers of its own."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


async def test_the_bench_measures_both_ways_beside_the_engine_alone() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tools.bench.throughput", "--seconds", "0.4", "--callers", "1,4",
        "--device-rates", "50", "--processes", "2", "--caller-processes", "1", "--picture-px", "64",
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    try:
        output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, errors.decode()
    rows = re.findall(r"^\| 50 \| (.*?) \| 2 \| (\d+) \| (\d+) \| (\d+) \|", output.decode(), re.MULTILINE)
    assert [(way, int(callers)) for way, callers, *_ in rows] == [
        ("message", 1), ("shared memory", 1), ("message", 4), ("shared memory", 4),
    ]  # fmt: skip
    assert all(int(alone) > 0 for *_, alone in rows)
