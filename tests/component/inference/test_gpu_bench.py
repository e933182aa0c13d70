"""The GPU bench from end to end, on the CPU provider: the command that a machine with a GPU runs."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import onnxruntime
import pytest

from tests.unit.inference.tiny_networks import registry_table, tiny_registry

ROOT = Path(__file__).parents[3]
NUMBER = r"(\d+(?:\.\d+)?)"


@dataclass(frozen=True)
class Outcome:
    """What the script printed and its exit status."""

    status: int
    output: str
    errors: str

    def rows(self, path: str) -> dict[int, list[float]]:
        """By load: pictures a second, p50 and p99 in ms, pictures a run."""
        found = re.findall(
            rf"^\| {path} \| (\d+) " + rf"\| {NUMBER} " * 4 + r"\|$", self.output, re.MULTILINE
        )
        return {int(load): [float(value) for value in values] for load, *values in found}


async def run_bench(directory: Path, *options: str) -> Outcome:
    tiny_registry(directory, tiny="general")
    (directory / "models.toml").write_text(registry_table("tiny"))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tools.bench.gpu", "--model", "tiny", "--weights-dir", str(directory),
        "--registry", str(directory / "models.toml"), "--seconds", "0.2", "--caller-processes", "1", *options,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    try:
        output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Outcome(process.returncode, output.decode(), errors.decode())


async def test_the_bench_measures_every_path_and_finds_batches_equal_to_single_runs(tmp_path: Path) -> None:
    outcome = await run_bench(tmp_path, "--device", "cpu", "--batches", "1,2,4", "--callers", "1,8")
    assert outcome.status == 0, outcome.errors
    bare = outcome.rows("bare engine, batch")
    queued = outcome.rows("BatchQueue, submitters")
    called = outcome.rows("gRPC Segment, callers")
    assert list(bare) == [1, 2, 4]
    assert len(queued) == 1
    assert list(called) == [1, 8]
    for rate, p50_ms, p99_ms, _ in (*bare.values(), *called.values(), *queued.values()):
        assert rate > 0
        assert p50_ms <= p99_ms
    assert [items for *_, items in bare.values()] == [1, 2, 4]
    assert called[1][3] == 1
    difference = re.search(r"Largest difference .* (\d+) of 255", outcome.output)
    assert difference
    assert int(difference[1]) <= 3
    assert re.fullmatch(
        rf"gRPC at 8 callers: {NUMBER} % of the bare engine's best \(aim: 85 %\)",
        outcome.output.splitlines()[-1],
    )
    assert "Command: `python -m tools.bench.gpu --model tiny" in outcome.output


async def test_what_the_service_carries_is_measured_without_a_network(tmp_path: Path) -> None:
    outcome = await run_bench(tmp_path, "--device", "none", "--batches", "4", "--callers", "4")
    assert outcome.status == 0, outcome.errors
    carried = re.search(rf"one process carries at most {NUMBER} pictures/s", outcome.output)
    assert carried
    assert float(carried[1]) > 0


@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
async def test_without_a_gpu_the_bench_says_so_and_measures_nothing(tmp_path: Path, device: str) -> None:
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("CUDA is here")
    outcome = await run_bench(tmp_path, "--device", device)
    assert outcome.status == 2
    assert f"did not bring {device} up" in outcome.errors
    assert "Traceback" not in outcome.errors
    assert outcome.output == ""


async def test_missing_weights_name_the_command_that_fetches_them(tmp_path: Path) -> None:
    outcome = await run_bench(tmp_path, "--device", "cpu", "--weights-dir", str(tmp_path / "elsewhere"))
    assert outcome.status == 2
    assert "matteworks models pull tiny" in outcome.errors
