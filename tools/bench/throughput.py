"""What the message layer carries: pictures through gRPC and Envoy to an engine without a network.

python -m tools.bench.throughput [--device-rates 0,50,100] [--processes 1,2] [--callers 1,8,64]

The engine copies its batch together as a real one does, and then only takes its time: `device rate` pictures
a second, or none at all with 0. All processes of the service share that one device. Beside each figure stands
the engine alone at the same rate, measured in the same run, and what a picture costs in time of a core, which
says more than the rate where callers, Envoy and service share few cores.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import uvloop

from matteworks.inference.v1 import inference_pb2, inference_pb2_grpc
from matteworks_common.channels import open_channel
from matteworks_common.lifecycle import running
from matteworks_common.logs import configure_logging
from matteworks_common.settings import MEBIBYTE
from matteworks_deploy.envoy.settings import Endpoint, EnvoySettings
from matteworks_deploy.local.parts import envoy_binary
from matteworks_deploy.local.ports import LOOPBACK, free_ports
from matteworks_deploy.topology import ALLOCATOR
from matteworks_inference.app import Dependencies, build
from matteworks_inference.engines.contract import NetworkKey, Tensors
from matteworks_inference.engines.threads import DeviceThreads
from matteworks_inference.networks.graph import PIXELS
from matteworks_inference.networks.registry import load_registry
from matteworks_inference.settings import InferenceSettings
from tools.bench.callers import Load, called
from tools.bench.gpu import Bench, bare, numbers
from tools.bench.gpu_load import NoNetwork, Row, drawn_pictures

MODEL = "isnet-general-use"
AIM_PERCENT = 85
_BATCH_ITEMS = 8
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class PacedDevice(NoNetwork):
    """Lays its batches out and takes `1 / pictures_per_s` for each picture; 0: no time.

    Who holds the lock on the file `device` has the device: several processes can share it.
    """

    def __init__(self, pictures_per_s: float, device: Path) -> None:
        super().__init__(_BATCH_ITEMS)
        self._picture_s = 1 / pictures_per_s if pictures_per_s else 0.0
        self._device = device.open("w")

    def prepare(self, key: NetworkKey, items: Sequence[Tensors]) -> tuple[NetworkKey, int]:
        np.stack([item[PIXELS] for item in items])
        return key, len(items)

    def run(self, prepared: tuple[NetworkKey, int]) -> list[Tensors]:
        fcntl.flock(self._device, fcntl.LOCK_EX)
        try:
            time.sleep(self._picture_s * prepared[1])
        finally:
            fcntl.flock(self._device, fcntl.LOCK_UN)
        return super().run(prepared)

    def close(self) -> None:
        self._device.close()


async def serve(device_rate: float, directory: Path) -> None:
    """One process of the service; prints its port, ends with SIGTERM."""
    settings = InferenceSettings(
        listen_address=f"{LOOPBACK}:0", drain_delay_s=0, grace_s=5, models=MODEL, detects_subject=False,
        quality="fast", max_batch_items=_BATCH_ITEMS, max_requests=1024, max_queued_items=1024,
        max_wait_s=600, shared_memory_directory=str(directory),
        # So no weights are looked for.
        engine="triton",
    )  # fmt: skip
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    app = await build(settings, Dependencies(engine=PacedDevice(device_rate, directory / "device")))
    async with running(app, settings) as service:
        await service.health.poll()
        print(service.port, flush=True)
        await stop.wait()


@dataclass(frozen=True)
class Stack:
    """Processes of the service, and Envoy in front of them."""

    service_ports: tuple[int, ...]
    envoy_port: int
    service_pids: tuple[int, ...]
    envoy_pid: int

    def clocks(self) -> Mapping[str, float]:
        """Processor seconds so far."""
        return {
            "service": sum(_processor_s(pid) for pid in self.service_pids),
            "envoy": _processor_s(self.envoy_pid),
        }


def _processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


@asynccontextmanager
async def stack(process_count: int, device_rate: float, directory: Path) -> AsyncIterator[Stack]:
    """The service and Envoy as `matteworks up` starts them, on ports of their own."""
    environment = {**os.environ, **ALLOCATOR, "GRPC_ENABLE_FORK_SUPPORT": "0"}
    command = [sys.executable, "-m", "tools.bench.throughput", "--serve", str(device_rate)]
    processes: list[asyncio.subprocess.Process] = []
    try:
        processes = [
            await asyncio.create_subprocess_exec(
                *command, "--directory", str(directory), stdout=subprocess.PIPE, env=environment
            )
            for _ in range(process_count)
        ]
        ports = tuple([int(await _first_line(process)) for process in processes])
        public, internal, nobody = free_ports(3)
        config = directory / "envoy.json"
        config.write_text(_envoy_config(public, internal, nobody, ports))
        envoy = await asyncio.create_subprocess_exec(
            *(str(envoy_binary()), "--config-path", str(config), "--disable-hot-restart"),
            *("--concurrency", "1", "--log-level", "error", "--drain-time-s", "1"),
            cwd=directory,
        )
        processes.append(envoy)
        await _until_routed(internal)
        yield Stack(ports, internal, tuple(process.pid for process in processes[:-1]), envoy.pid)
    finally:
        for process in processes:
            if process.returncode is None:
                process.terminate()
        await asyncio.gather(*(process.wait() for process in processes))


async def _until_routed(port: int) -> None:
    """Wait until Envoy has seen the service healthy."""
    async with open_channel(f"{LOOPBACK}:{port}", MEBIBYTE) as channel:
        stub = inference_pb2_grpc.InferenceServiceStub(channel)
        async with asyncio.timeout(30):
            while True:
                try:
                    await stub.ListModels(inference_pb2.ListModelsRequest(), timeout=5)
                    return
                except grpc.aio.AioRpcError:
                    await asyncio.sleep(0.1)


async def _first_line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout
    line = (await process.stdout.readline()).decode().strip()
    if not line:
        raise RuntimeError("the service did not start")
    return line


def _envoy_config(public_port: int, internal_port: int, edge_port: int, service_ports: Sequence[int]) -> str:
    with warnings.catch_warnings():
        # Of the library that knows Envoy's messages, at its import.
        warnings.simplefilter("ignore", DeprecationWarning)
        from matteworks_deploy.envoy.bootstrap import envoy_json
    return envoy_json(
        EnvoySettings(
            public=Endpoint(LOOPBACK, public_port),
            internal=Endpoint(LOOPBACK, internal_port),
            hosts={
                "inference": tuple(Endpoint(LOOPBACK, port) for port in service_ports),
                # The public listener wants one; nothing listens there.
                "edge": (Endpoint(LOOPBACK, edge_port),),
            },
            # On a machine that is full of load, a host that answers late is not a lost one.
            health_interval_s=10.0,
        )
    )


def engine_alone(device_rate: float, seconds: float, directory: Path) -> float:
    """Pictures a second of the engine without the service, in full batches."""
    threads = DeviceThreads()
    entry = load_registry().find(MODEL)
    width_px, height_px = entry.input_sizes_px[0]
    bench = Bench(
        PacedDevice(device_rate, directory / "device"), entry, Path(), load_registry(),
        NetworkKey(MODEL, width_px, height_px), drawn_pictures(width_px, height_px, 2), seconds,
    )  # fmt: skip
    row = threads.device.submit(bare, bench, threads, _BATCH_ITEMS).result()
    threads.close()
    return row.pictures_per_s


def line(
    path: str, processes: int, device: float, alone: float, row: Row, spent_ms: Mapping[str, float]
) -> str:
    """A line of the table."""
    p50, p99 = np.percentile(row.times_ms, [50, 99])
    percent = f"{100 * row.pictures_per_s / alone:.0f} %"
    cells: tuple[Any, ...] = (
        f"{device:g}" if device else "no limit", path, processes, row.load, f"{row.pictures_per_s:.0f}",
        f"{alone:.0f}", percent, f"{p50:.0f}", f"{p99:.0f}",
        *(f"{spent_ms[name]:.2f}" for name in ("service", "envoy", "callers")),
    )  # fmt: skip
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


async def measure(arguments: argparse.Namespace) -> None:
    """Print the table."""
    width_px, height_px = load_registry().find(MODEL).input_sizes_px[0]
    side_px = arguments.picture_px
    load = Load(
        MODEL, side_px or width_px, side_px or height_px, arguments.seconds, arguments.caller_processes
    )
    print(
        "| device, /s | pixels in | processes | callers | pictures/s | engine alone, /s | of it | p50 ms "
        "| p99 ms | service, core ms a picture | Envoy | callers |\n" + "|---" * 12 + "|"
    )
    for device_rate in arguments.device_rates:
        for process_count in arguments.processes:
            with tempfile.TemporaryDirectory(dir="/dev/shm") as scratch:
                directory = Path(scratch)
                alone = engine_alone(device_rate, arguments.seconds / 2, directory)
                async with stack(process_count, device_rate, directory) as started:
                    loads = {"message": load, "shared memory": replace(load, shared=directory)}
                    for count in arguments.callers:
                        for path in arguments.pixels:
                            row, spent_ms = await called(
                                started.envoy_port, count, loads[path], started.clocks
                            )
                            print(line(path, process_count, device_rate, alone, row, spent_ms), flush=True)


def parsed(given: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--device-rates", type=lambda text: [float(part) for part in text.split(",")], default=[0.0, 50.0])
    add("--processes", type=numbers, default=[1, 2], help="of the service, by commas")
    add("--callers", type=numbers, default=[1, 8, 64], help="by commas")
    add("--caller-processes", type=int, default=2, help="each with a connection of its own")
    add("--seconds", type=float, default=4.0, help="of each line")
    add("--picture-px", type=int, help="side of the pictures; default: the network's input")
    add("--pixels", type=lambda text: text.split(","), default=["message", "shared memory"], help="by commas")
    add("--serve", type=float, help=argparse.SUPPRESS)
    add("--directory", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(given)


def main(given: list[str]) -> None:
    arguments = parsed(given)
    configure_logging("bench", "WARNING")
    uvloop.run(measure(arguments) if arguments.serve is None else serve(arguments.serve, arguments.directory))


if __name__ == "__main__":
    main(sys.argv[1:])
