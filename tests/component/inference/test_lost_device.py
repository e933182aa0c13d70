"""A GPU that fails: its server leaves rotation, answers nothing more, and its process ends."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.common.v1 import image_pb2
from matteworks.inference.v1 import inference_pb2, inference_pb2_grpc
from matteworks_common.channels import call, open_channel
from matteworks_common.errors import Unavailable
from matteworks_common.lifecycle import main
from matteworks_common.settings import MEBIBYTE
from matteworks_inference.app import Dependencies, build
from matteworks_inference.engines.gpu.memory import CudaError, PlainMemory
from matteworks_inference.engines.gpu.options import GpuOptions
from matteworks_inference.engines.gpu.placement import GpuPlacement
from matteworks_inference.engines.onnx_engine import OnnxRuntimeEngine
from matteworks_inference.networks.graph_store import GraphStore
from matteworks_inference.settings import InferenceSettings
from tests.support.harness import channel_to
from tests.unit.inference.tiny_networks import SIDE_PX, tiny_registry

ROOT = Path(__file__).parents[3]


class FailingMemory(PlainMemory):
    """Answers until `is_failing`, and then as CUDA does after an illegal access: never again."""

    def __init__(self) -> None:
        self.is_failing = False
        self.copies_out = 0

    def copy_out(self, target: Any, source_address: int) -> None:
        self.copies_out += 1
        if self.is_failing:
            raise CudaError("CUDA error 700: an illegal memory access was encountered")
        super().copy_out(target, source_address)


def engine_on(memory: FailingMemory, directory: Path) -> OnnxRuntimeEngine:
    graphs = GraphStore(directory, directory)
    placement = GpuPlacement("cpu", graphs, GpuOptions(), memory)
    return OnnxRuntimeEngine(placement, max_batch_items=4)


def settings_in(directory: Path) -> InferenceSettings:
    return InferenceSettings(
        listen_address="127.0.0.1:0", drain_delay_s=0, grace_s=1, model_directory=directory,
        health_interval_s=0.01, detects_subject=False, max_batch_items=4,
    )  # fmt: skip


def request() -> inference_pb2.SegmentRequest:
    rgb = np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8).tobytes()
    size = image_pb2.Size(width_px=SIDE_PX, height_px=SIDE_PX)
    return inference_pb2.SegmentRequest(pixels=image_pb2.Pixels(rgb=rgb, size=size), model="first")


async def segment(channel: grpc.aio.Channel) -> inference_pb2.SegmentResponse:
    stub = inference_pb2_grpc.InferenceServiceStub(channel)
    return await call(stub.Segment, request(), timeout_s=20)


async def test_a_cuda_error_leaves_rotation_and_nothing_is_asked_of_the_device_again(tmp_path: Path) -> None:
    memory, endings = FailingMemory(), []
    settings = settings_in(tmp_path)
    app = await build(
        settings,
        Dependencies(
            registry=tiny_registry(tmp_path, first="general"),
            engine=engine_on(memory, tmp_path),
            end_process=lambda: endings.append("ended"),
        ),
    )
    async with channel_to(app, settings) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        await segment(channel)
        memory.is_failing = True
        memory.copies_out = 0
        answers = await asyncio.gather(*(segment(channel) for _ in range(12)), return_exceptions=True)
        assert all(isinstance(answer, Unavailable) for answer in answers)
        assert {answer.reason for answer in answers if isinstance(answer, Unavailable)} == {
            reasons.ERROR_REASON_ENGINE_FAILED
        }
        assert not any("700" in str(answer) for answer in answers)
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert memory.copies_out == 1
        assert endings == ["ended"]
        watch.cancel()


async def test_the_process_of_a_lost_device_ends_for_its_supervisor_to_start_another(tmp_path: Path) -> None:
    environment = {
        "MATTEWORKS_INFERENCE_MODEL_DIRECTORY": str(tmp_path),
        "MATTEWORKS_INFERENCE_DETECTS_SUBJECT": "false",
        "MATTEWORKS_INFERENCE_MAX_BATCH_ITEMS": "4",
        "MATTEWORKS_INFERENCE_DRAIN_DELAY_S": "0",
        "PYTHONPATH": str(ROOT),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.component.inference.test_lost_device", str(tmp_path),
        env={**os.environ, **environment}, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout
        async for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "listening":
                break
        else:
            pytest.fail("the server ended before it listened")
        async with open_channel(f"127.0.0.1:{event['port']}", 8 * MEBIBYTE) as channel:
            with pytest.raises(Unavailable):
                await segment(channel)
        rest = await asyncio.wait_for(process.stdout.read(), 30)
        assert await asyncio.wait_for(process.wait(), 30) == 0
        assert json.loads(rest.splitlines()[-1])["event"] == "stopped"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def serve_on_a_device_that_fails(directory: Path) -> None:
    """The service's own entry point, on a device that fails once it is warm."""
    memory = FailingMemory()
    registry = tiny_registry(directory, first="general")

    async def wire(settings: InferenceSettings) -> Any:
        app = await build(settings, Dependencies(registry=registry, engine=engine_on(memory, directory)))
        memory.is_failing = True
        return app

    main("inference", InferenceSettings, wire)


if __name__ == "__main__":
    serve_on_a_device_that_fails(Path(sys.argv[1]))
