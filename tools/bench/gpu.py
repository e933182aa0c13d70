"""How many pictures a second a GPU does: bare, behind the batch queue, and through the gRPC service.

    python -m tools.bench.gpu --device cuda --model isnet-general-use --weights-dir models

Needs the installed wheel with the extra inference-gpu, one file of weights and the GPU; it makes its own
pictures and talks to nothing but itself on loopback. Prints a Markdown table for docs/gpu.md. Without a GPU
`--device cpu` runs the same code on the CPU provider, and `--device none` a network that answers at once:
what the service itself can carry. Exit status: 0, 1 when batches and single runs differ by more than 3 of
255, 2 when it cannot start.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import uvloop

from matteworks_common.clock import SystemClock
from matteworks_common.lifecycle import running
from matteworks_common.logs import configure_logging
from matteworks_common.settings import SettingsError
from matteworks_inference.app import Dependencies, build
from matteworks_inference.engines.contract import (
    Engine,
    EngineFacts,
    EngineUnavailable,
    NetworkKey,
    Tensors,
)
from matteworks_inference.engines.gpu.options import GpuOptions
from matteworks_inference.engines.gpu.placement import GpuPlacement
from matteworks_inference.engines.onnx_engine import OnnxRuntimeEngine
from matteworks_inference.engines.threads import DeviceThreads
from matteworks_inference.networks.graph import MATTE, PIXELS, GraphError
from matteworks_inference.networks.graph_store import GraphStore
from matteworks_inference.networks.registry import (
    ModelEntry,
    Registry,
    UnknownModel,
    WrongWeights,
    load_registry,
    weights_path,
)
from matteworks_inference.picture import MatteArray, PixelArray
from matteworks_inference.queueing.contract import BatchLimits
from matteworks_inference.queueing.queue import BatchQueue
from matteworks_inference.settings import InferenceSettings
from tools.bench.callers import Load, called
from tools.bench.gpu_load import NoNetwork, Row, RunCounter, drawn_pictures

MOST_DIFFERENCE = 3
AIM_PERCENT = 85
_PICTURES = 8


@dataclass(frozen=True)
class Bench:
    """What is measured, and for how long each time."""

    engine: Engine
    entry: ModelEntry
    weights: Path
    registry: Registry
    key: NetworkKey
    pictures: list[PixelArray]
    seconds: float

    def batch(self, item_count: int) -> list[PixelArray]:
        return [self.pictures[index % len(self.pictures)] for index in range(item_count)]


def largest_difference(bench: Bench, batches: Sequence[int]) -> int:
    """In levels of 255, between a picture's matte from any of `batches` and from a run of its own."""
    alone = [run_batch(bench, [picture])[0].astype(int) for picture in bench.pictures]
    return max(
        int(np.abs(alone[index % len(alone)] - matte).max())
        for item_count in batches
        for index, matte in enumerate(run_batch(bench, bench.batch(item_count)))
    )


def run_batch(bench: Bench, items: Sequence[PixelArray]) -> list[MatteArray]:
    answers = bench.engine.run(bench.engine.prepare(bench.key, _named(items)))
    return [answer[MATTE] for answer in answers]


def _named(items: Sequence[PixelArray]) -> list[Tensors]:
    return [{PIXELS: pixels} for pixels in items]


def bare(bench: Bench, threads: DeviceThreads, item_count: int) -> Row:
    """The engine alone, on the device's thread; the next batch is prepared meanwhile, as the queue does."""
    items = bench.batch(item_count)
    times_s: list[float] = []

    def ahead() -> Future[Any]:
        return threads.preparing.submit(bench.engine.prepare, bench.key, _named(items))

    run_batch(bench, items)
    upcoming = ahead()
    start_s = time.perf_counter()
    while time.perf_counter() - start_s < bench.seconds or not times_s:
        prepared = upcoming.result()
        upcoming = ahead()
        run_start_s = time.perf_counter()
        bench.engine.run(prepared)
        times_s.append(time.perf_counter() - run_start_s)
    rate = len(times_s) * item_count / (time.perf_counter() - start_s)
    bench.engine.discard(upcoming.result())
    return Row("bare engine, batch", item_count, rate, [1e3 * t for t in times_s], item_count)


async def queued(bench: Bench, threads: DeviceThreads, most_items: int, submitter_count: int) -> Row:
    """Many submitters that each send their next picture when they have the matte of the last."""
    counter = RunCounter()
    queue: BatchQueue[NetworkKey, PixelArray, MatteArray] = BatchQueue(
        bench.engine,
        BatchLimits(2 * submitter_count, most_items, 0.0, 600.0),
        clock=SystemClock(),
        observer=counter,
        device_thread=threads.device,
        preparing_thread=threads.preparing,
        most_items_of=bench.engine.most_items_of,
    )
    queue.start()
    times_ms: list[float] = []
    start_s = time.perf_counter()

    async def submit(index: int) -> None:
        while time.perf_counter() - start_s < bench.seconds:
            sent_s = time.perf_counter()
            await queue.submit(bench.key, _named(bench.pictures)[index % len(bench.pictures)])
            times_ms.append(1e3 * (time.perf_counter() - sent_s))

    async with asyncio.TaskGroup() as group:
        for index in range(submitter_count):
            group.create_task(submit(index))
    rate = len(times_ms) / (time.perf_counter() - start_s)
    await queue.close(5)
    return Row(
        "BatchQueue, submitters", submitter_count, rate, times_ms, counter.item_count / len(counter.run_s)
    )


async def served(bench: Bench, arguments: argparse.Namespace, most_items: int) -> list[Row]:
    """`Segment` on a real socket, called from processes of their own."""
    settings = InferenceSettings(
        listen_address="127.0.0.1:0", drain_delay_s=0, grace_s=5, model_directory=arguments.weights_dir,
        models=bench.entry.name, detects_subject=False, quality="fast", max_batch_items=most_items,
        max_requests=4 * max(arguments.callers), max_queued_items=4 * max(arguments.callers), max_wait_s=600,
    )  # fmt: skip
    # Loaded anew, because the service has device threads of its own.
    bench.engine.unload(bench.entry.name)
    app = await build(settings, Dependencies(registry=bench.registry, engine=bench.engine))
    async with running(app, settings) as service:
        await service.health.poll()
        side_px = arguments.picture_px or 0
        load = Load(
            bench.entry.name, side_px or bench.key.width_px, side_px or bench.key.height_px,
            bench.seconds, arguments.caller_processes,
        )  # fmt: skip
        rows = []
        for count in arguments.callers:
            row, spent_ms = await called(service.port, count, load, lambda: {"loop": time.thread_time()})
            rows.append(replace(row, loop_ms=spent_ms["loop"]))
        return rows


def machine_lines(arguments: argparse.Namespace, facts: EngineFacts) -> list[str]:
    """What a reader must know to compare: machine, driver, versions, command."""
    gpu = "none"
    if shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
        told = subprocess.run(query, capture_output=True, text=True, timeout=60, check=False).stdout
        gpu = "; ".join(told.split("\n")).strip("; ") or "none"
    versions = [f"Python {platform.python_version()}", f"onnxruntime {onnxruntime.__version__}"]
    if getattr(onnxruntime, "cuda_version", ""):
        versions.append(f"CUDA {onnxruntime.cuda_version}")
    for package in ("tensorrt", "matteworks"):
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    command = shlex.join(["python", "-m", "tools.bench.gpu", *arguments.given])
    cores = len(os.sched_getaffinity(0))
    return [
        f"- GPU (name, memory, driver): {gpu}",
        f"- Host: {cores} cores, {platform.machine()}, {platform.platform(terse=True)}",
        f"- Versions: {', '.join(versions)}",
        f"- Engine: {facts.label}; {facts.reason}",
        f"- Command: `{command}`",
    ]


def measure(bench: Bench, arguments: argparse.Namespace) -> int:
    """Measure everything and print it; the exit status."""
    threads = DeviceThreads()
    threads.device.submit(bench.engine.load, bench.entry, bench.weights).result()
    facts = bench.engine.facts_of(bench.entry.name)
    print(f"## {bench.entry.name}, {bench.key.width_px} x {bench.key.height_px}, {facts.label}\n")
    print("\n".join(machine_lines(arguments, facts)), end="\n\n")
    print("| path | load | pictures/s | p50 ms | p99 ms | pictures a run |\n|---|---|---|---|---|---|")
    # A network whose batch is fixed has only batches of one.
    batches = [n for n in arguments.batches if n <= bench.engine.most_items_of(bench.key)] or [1]
    rows = []
    for item_count in batches:
        rows.append(threads.device.submit(bare, bench, threads, item_count).result())
        print(rows[-1].markdown(), flush=True)
    best = max(rows, key=lambda row: row.pictures_per_s)
    # Two batches' worth, so that one forms while another one runs.
    submitter_count = max(2 * best.load, *arguments.callers)
    print(uvloop.run(queued(bench, threads, best.load, submitter_count)).markdown(), flush=True)
    difference = threads.device.submit(largest_difference, bench, batches).result()
    threads.close()
    calls = uvloop.run(served(bench, arguments, best.load))
    print("\n".join(row.markdown() for row in calls), end="\n\n")
    print(f"Largest difference between a batch and single runs: {difference} of 255 (aim: {MOST_DIFFERENCE})")
    print(
        f"Event loop of the service at {calls[-1].load} callers: {calls[-1].loop_ms:.2f} ms a picture, "
        f"so one process carries at most {1e3 / calls[-1].loop_ms:.0f} pictures/s"
    )
    percent = 100 * calls[-1].pictures_per_s / best.pictures_per_s
    print(
        f"gRPC at {calls[-1].load} callers: {percent:.0f} % of the bare engine's best (aim: {AIM_PERCENT} %)"
    )
    return 0 if difference <= MOST_DIFFERENCE else 1


def numbers(text: str) -> list[int]:
    """Whole numbers by commas, each 1 or more."""
    values = [int(part) for part in text.split(",")]
    if min(values) < 1:
        raise ValueError
    return values


def parsed(given: list[str]) -> argparse.Namespace:
    cores = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--device", choices=("cuda", "tensorrt", "cpu", "none"), default="cuda")
    add("--model", default="isnet-general-use", help="a name of models.toml")
    add("--weights-dir", type=Path, default=Path("models"))
    add("--registry", type=Path, help="another models.toml")
    add("--batches", type=numbers, default=[1, 2, 4, 8, 16, 32], help="items, by commas")
    add("--callers", type=numbers, default=[1, 8, 64], help="of gRPC, by commas; the last is held to the aim")
    add("--caller-processes", type=int, default=max(1, min(8, cores // 2)))
    add("--seconds", type=float, default=5.0, help="of each measurement")
    add("--picture-px", type=int, help="side of the pictures that callers send; default: the network's input")
    add("--precision", choices=("auto", "half", "single"), default="auto")
    add("--cuda-graph", action="store_true")
    add("--nhwc", action="store_true")
    add("--convolution-search", choices=("DEFAULT", "HEURISTIC", "EXHAUSTIVE"), default="HEURISTIC")
    add("--log", type=Path, default=Path(os.devnull), help="where the service's log goes")
    arguments = parser.parse_args(given)
    arguments.given = given
    return arguments


def prepared(arguments: argparse.Namespace, fallback: Path) -> Bench:
    """The engine and the model that were asked for. Raises what main tells the user."""
    registry = load_registry(arguments.registry)
    entry = registry.find(arguments.model)
    weights = weights_path(entry, arguments.weights_dir)
    if weights is None:
        command = f"matteworks models pull {entry.name} --models-dir {arguments.weights_dir}"
        raise SettingsError(
            f"{entry.file} is not in {arguments.weights_dir.resolve()}. Get it with: {command}"
        )
    most_items = max(arguments.batches)
    engine: Engine = NoNetwork(most_items)
    if arguments.device != "none":
        graphs = GraphStore(arguments.weights_dir, fallback)
        options = GpuOptions(
            arguments.precision, arguments.cuda_graph, arguments.nhwc, arguments.convolution_search
        )
        placement = GpuPlacement(arguments.device, graphs, options)
        engine = OnnxRuntimeEngine(placement, max_batch_items=most_items)
    width_px, height_px = entry.input_sizes_px[0]
    pictures = drawn_pictures(width_px, height_px, _PICTURES)
    key = NetworkKey(entry.name, width_px, height_px)
    return Bench(engine, entry, weights, registry, key, pictures, arguments.seconds)


def main(given: list[str]) -> int:
    arguments = parsed(given)
    # It tells on standard error that there is a server when callers are started.
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
    # Requests are logged as in production, only not between the lines of the table.
    configure_logging("inference", "INFO")
    with tempfile.TemporaryDirectory() as fallback, arguments.log.open("w") as log:
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler):
                handler.setStream(log)
        try:
            return measure(prepared(arguments, Path(fallback)), arguments)
        except (EngineUnavailable, GraphError, SettingsError, UnknownModel, WrongWeights) as error:
            print(f"The bench cannot start: {error}", file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
