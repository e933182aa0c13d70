"""Callers of `Segment` in processes of their own, and what they measured.

python -m tools.bench.callers PORT --model NAME --callers N --seconds S --picture WIDTH HEIGHT

is one such process. It prints `ready` after its first mattes, begins when it gets a line, and ends with one
line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import uvloop

from matteworks.common.v1 import image_pb2
from matteworks.inference.v1 import inference_pb2
from matteworks_common.channels import channel_options
from matteworks_common.settings import MEBIBYTE
from matteworks_common.shared_memory import Lender
from tools.bench.gpu_load import Row, drawn_pictures

__all__ = ["Load", "called"]

_METHOD = "/matteworks.inference.v1.InferenceService/Segment"
_MESSAGE_BYTES = 96 * MEBIBYTE
# Processor seconds spent so far, by who spent them.
Clocks = Callable[[], Mapping[str, float]]


@dataclass(frozen=True)
class Load:
    """What callers send: pictures of `width_px` x `height_px` for `seconds`, from `process_count` processes,
    each with a connection of its own; in messages, or in files of the directory `shared`.
    """

    model: str
    width_px: int
    height_px: int
    seconds: float
    process_count: int
    shared: Path | None = None


async def called(port: int, caller_count: int, load: Load, clocks: Clocks) -> tuple[Row, dict[str, float]]:
    """Start the callers, let them begin together, and collect what they measured.

    Beside the row: what each of `clocks` went on meanwhile, and `callers` for their own processor time, in
    milliseconds for each picture.
    """
    process_count = min(caller_count, load.process_count)
    shares = [len(range(index, caller_count, process_count)) for index in range(process_count)]
    command = [sys.executable, "-m", "tools.bench.callers", str(port), "--model", load.model]
    command += ["--seconds", str(load.seconds), "--picture", str(load.width_px), str(load.height_px)]
    if load.shared:
        command += ["--shared", str(load.shared)]
    processes = [
        await asyncio.create_subprocess_exec(
            *command, "--callers", str(share), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for share in shares
    ]
    try:
        for process in processes:
            assert process.stdout
            if await process.stdout.readline() != b"ready\n":
                raise RuntimeError("a caller did not get its first matte")
        before_s = clocks()
        answers = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
        after_s = clocks()
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
                await process.wait()
    reports = [json.loads(output) for output, _ in answers]
    rate = sum(len(report["times_ms"]) / report["elapsed_s"] for report in reports)
    times_ms = [time_ms for report in reports for time_ms in report["times_ms"]]
    items_a_run = float(np.mean([items for report in reports for items in report["items"]]))
    spent_ms = {name: 1e3 * (after_s[name] - before_s[name]) / len(times_ms) for name in before_s}
    spent_ms["callers"] = 1e3 * sum(report["processor_s"] for report in reports) / len(times_ms)
    return Row("gRPC Segment, callers", caller_count, rate, times_ms, items_a_run), spent_ms


async def call_service(arguments: argparse.Namespace) -> None:
    """One process of callers. Messages with pixels are encoded once, and answers only looked at, to cost
    little.
    """
    width_px, height_px = arguments.picture
    size = image_pb2.Size(width_px=width_px, height_px=height_px)
    pictures = [picture.tobytes() for picture in drawn_pictures(width_px, height_px, 2)]
    requests = [
        inference_pb2.SegmentRequest(
            pixels=image_pb2.Pixels(rgb=picture, size=size), model=arguments.model
        ).SerializeToString()
        for picture in pictures
    ]
    lender = Lender(arguments.shared) if arguments.shared else None
    times_ms: list[float] = []
    items: list[int] = []
    options = [*channel_options(_MESSAGE_BYTES), ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{arguments.port}", options=options) as channel:
        method = channel.unary_unary(_METHOD)

        async def segment(index: int) -> bytes:
            answer: bytes
            if lender is None:
                answer = await method(requests[index % len(requests)], timeout=600)
                return answer
            with lender.lend(pictures[index % len(pictures)]) as name:
                shared = inference_pb2.SharedPixels(name=name, size=size)
                request = inference_pb2.SegmentRequest(shared_pixels=shared, model=arguments.model)
                answer = await method(request.SerializeToString(), timeout=600)
            return answer

        first = inference_pb2.SegmentResponse.FromString(await segment(0))
        assert len(first.matte.alpha) == first.matte.size.width_px * first.matte.size.height_px > 0
        await asyncio.gather(*(segment(index) for index in range(arguments.callers)))
        print("ready", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        start_s, processor_start_s = time.perf_counter(), time.process_time()

        async def call(index: int) -> None:
            while time.perf_counter() - start_s < arguments.seconds:
                sent_s = time.perf_counter()
                answer = await segment(index)
                times_ms.append(1e3 * (time.perf_counter() - sent_s))
                # Few of many, because reading an answer copies its matte.
                if len(times_ms) < 2 * arguments.callers or len(times_ms) % 8 == 0:
                    items.append(inference_pb2.SegmentResponse.FromString(answer).batch_item_count)

        await asyncio.gather(*(call(index) for index in range(arguments.callers)))
        elapsed_s, processor_s = time.perf_counter() - start_s, time.process_time() - processor_start_s
    report = {"elapsed_s": elapsed_s, "processor_s": processor_s, "times_ms": times_ms, "items": items}
    if lender:
        lender.close()
    print(json.dumps(report))


def main(given: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--model", required=True)
    parser.add_argument("--callers", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--picture", type=int, nargs=2, required=True)
    parser.add_argument("--shared", type=Path)
    uvloop.run(call_service(parser.parse_args(given)))


if __name__ == "__main__":
    main(sys.argv[1:])
