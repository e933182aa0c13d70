"""The engine that hands networks to another server, against one of our own: equal mattes, clear failures."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest

from matteworks.common.v1 import image_pb2
from matteworks.inference.v1 import inference_pb2, inference_pb2_grpc
from matteworks.inference.v2 import open_inference_pb2 as pb
from matteworks.inference.v2 import open_inference_pb2_grpc
from matteworks_common.channels import call
from matteworks_common.errors import Unavailable
from matteworks_common.lifecycle import running
from matteworks_common.settings import SettingsError
from matteworks_inference.app import Dependencies, build
from matteworks_inference.settings import InferenceSettings
from tests.support.harness import channel_to
from tests.unit.inference.tiny_networks import SIDE_PX, tiny_registry


def settings_for(directory: Path, **changes: object) -> InferenceSettings:
    values = {
        "listen_address": "127.0.0.1:0", "drain_delay_s": 0, "grace_s": 1, "model_directory": directory,
        "threads": 1, "models": "tiny", "detects_subject": False, **changes,
    }  # fmt: skip
    return InferenceSettings(**values)  # type: ignore[arg-type]


@asynccontextmanager
async def networks_in(directory: Path) -> AsyncIterator[str]:
    """The address of a server that has the network `tiny`, run by onnxruntime."""
    registry = tiny_registry(directory, tiny="general")
    settings = settings_for(directory, engine="onnxruntime")
    app = await build(settings, Dependencies(registry=registry))
    async with running(app, settings) as service:
        await service.health.poll()
        yield f"127.0.0.1:{service.port}"


def request(seed: int) -> inference_pb2.SegmentRequest:
    rgb = np.random.default_rng(seed).integers(0, 256, (SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
    size = image_pb2.Size(width_px=SIDE_PX, height_px=SIDE_PX)
    return inference_pb2.SegmentRequest(pixels=image_pb2.Pixels(rgb=rgb.tobytes(), size=size), model="tiny")


async def test_a_service_without_weights_answers_with_the_mattes_of_the_other_server(tmp_path: Path) -> None:
    registry = tiny_registry(tmp_path / "elsewhere", tiny="general")
    async with networks_in(tmp_path / "there") as target:
        settings = settings_for(tmp_path / "here", engine="triton", triton_target=target, max_batch_items=4)
        app = await build(settings, Dependencies(registry=registry))
        async with channel_to(app, settings) as channel:
            stub = inference_pb2_grpc.InferenceServiceStub(channel)
            for seed in range(3):
                asked = request(seed)
                response = await call(stub.Segment, asked, timeout_s=20)
                assert response.matte.alpha == asked.pixels.rgb[0::3]
            models = await call(stub.ListModels, inference_pb2.ListModelsRequest(), timeout_s=5)
            assert models.models[0].engine.startswith("triton/onnxruntime/cpu")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"models": "tiny"}, "TRITON_TARGET"),
        ({"triton_target": "127.0.0.1:9", "models": ""}, "MODELS"),
        ({"triton_target": "127.0.0.1:9", "max_wait_s": 0.2}, "does not serve tiny"),
    ],
)
async def test_what_is_missing_is_told_at_the_start(
    tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    registry = tiny_registry(tmp_path, tiny="general")

    with pytest.raises(SettingsError, match=words):
        await build(settings_for(tmp_path, engine="triton", **changes), Dependencies(registry=registry))


class OtherTensors(open_inference_pb2_grpc.GRPCInferenceServiceServicer):
    """A server whose model is not a finished graph of ours."""

    async def ModelMetadata(
        self, request: pb.ModelMetadataRequest, context: object
    ) -> pb.ModelMetadataResponse:
        tensor = pb.ModelMetadataResponse.TensorMetadata(name="input", datatype="FP32", shape=[1, 3, 32, 32])
        return pb.ModelMetadataResponse(name=request.name, inputs=[tensor])


async def test_a_model_with_other_tensors_is_refused_at_the_start(tmp_path: Path) -> None:
    server = grpc.aio.server()
    open_inference_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(OtherTensors(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        settings = settings_for(tmp_path, engine="triton", triton_target=f"127.0.0.1:{port}")
        with pytest.raises(SettingsError, match="must take pixels and give matte"):
            await build(settings, Dependencies(registry=tiny_registry(tmp_path, tiny="general")))
    finally:
        await server.stop(0)


async def test_a_server_that_goes_away_makes_calls_unavailable_and_not_wrong(tmp_path: Path) -> None:
    registry = tiny_registry(tmp_path / "elsewhere", tiny="general")
    async with networks_in(tmp_path / "there") as target:
        settings = settings_for(tmp_path / "here", engine="triton", triton_target=target, max_wait_s=5)
        app = await build(settings, Dependencies(registry=registry))
    async with channel_to(app, settings) as channel:
        stub = inference_pb2_grpc.InferenceServiceStub(channel)
        with pytest.raises(Unavailable):
            await call(stub.Segment, request(1), timeout_s=20)
