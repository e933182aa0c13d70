"""Fill by a generative model on a server that speaks the Open Inference Protocol, a small one of ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from matteworks.compositor.v1 import edit_pb2 as edit
from matteworks.compositor.v1 import edit_pb2_grpc
from matteworks.inference.v2 import open_inference_pb2 as pb
from matteworks.inference.v2 import open_inference_pb2_grpc
from matteworks_common.errors import from_rpc_error
from matteworks_compositor.app import build
from matteworks_compositor.settings import CompositorSettings
from tests.component.compositor.pictures import decoded, encoded, gradient
from tests.support.harness import channel_to
from tests.support.painting_inference import inference_with_painter
from tests.support.painting_server import PaintingServer

COLOURS = {b"red": (255, 0, 0), b"": (0, 255, 0)}
BOX = (slice(60, 120), slice(100, 200))


@dataclass
class Model(open_inference_pb2_grpc.GRPCInferenceServiceServicer):
    """Paints the hole in the colour that the prompt names. `behaviour`: paint, hang, error, size, huge."""

    reads_prompts: bool = True
    behaviour: str = "paint"
    prompts: list[bytes] = field(default_factory=list)

    async def ModelMetadata(self, request: Any, context: Any) -> pb.ModelMetadataResponse:
        tensor = pb.ModelMetadataResponse.TensorMetadata
        names = ["pixels", "hole", *(["prompt"] if self.reads_prompts else [])]
        return pb.ModelMetadataResponse(name="painter", inputs=[tensor(name=name) for name in names])

    async def ModelInfer(self, request: pb.ModelInferRequest, context: Any) -> pb.ModelInferResponse:
        raw = dict(zip((tensor.name for tensor in request.inputs), request.raw_input_contents, strict=True))
        shapes = {tensor.name: tuple(tensor.shape) for tensor in request.inputs}
        prompt = raw.get("prompt", b"\0\0\0\0")[4:]
        self.prompts.append(prompt)
        if self.behaviour == "hang":
            await asyncio.sleep(30)
        if self.behaviour == "error":
            await context.abort(grpc.StatusCode.INTERNAL, "the token is hf_secret")
        painted = np.frombuffer(raw["pixels"], np.uint8).reshape(shapes["pixels"]).copy()
        painted[np.frombuffer(raw["hole"], np.uint8).reshape(shapes["hole"]) == 255] = COLOURS[prompt]
        if self.behaviour == "size":
            painted = np.ascontiguousarray(painted[:, ::2, ::2])
        if self.behaviour == "huge":
            painted = np.zeros((1, 2048, 2048, 3), np.uint8)
        output = pb.ModelInferResponse.InferOutputTensor(
            name="painted", datatype="UINT8", shape=painted.shape
        )
        return pb.ModelInferResponse(outputs=[output], raw_output_contents=[painted.tobytes()])


@asynccontextmanager
async def fills_by(model: Model, directory: Path) -> AsyncIterator[edit_pb2_grpc.EditServiceStub]:
    server = grpc.aio.server(options=[("grpc.max_send_message_length", -1)])
    open_inference_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(model, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        changes = {
            "painter": "open_inference", "painter_url": f"grpc://127.0.0.1:{port}",
            "painter_model": "painter", "painter_timeout_s": 1 if model.behaviour == "hang" else 20,
        }  # fmt: skip
        async with inference_with_painter(directory, PaintingServer(), **changes) as target:
            settings = CompositorSettings(
                listen_address="127.0.0.1:0", inference_target=target, drain_delay_s=0, threads=2,
                eraser="painter",
            )  # fmt: skip
            async with channel_to(await build(settings), settings) as channel:
                yield edit_pb2_grpc.EditServiceStub(channel)
    finally:
        await server.stop(None)


def mask() -> bytes:
    drawn = np.zeros((200, 300), np.uint8)
    drawn[BOX] = 255
    return encoded(drawn)


def fill(prompt: str = "red") -> edit.FillRequest:
    return edit.FillRequest(image=encoded(gradient(300, 200)), mask_image=mask(), prompt=prompt)


async def test_a_model_paints_words_and_continues_without_any(tmp_path: Path) -> None:
    model = Model()
    async with fills_by(model, tmp_path) as tools:
        painted = await tools.Fill(fill(), timeout=30)
        result = decoded(painted.picture.image)
        assert np.abs(result[BOX].astype(int) - (255, 0, 0)).max() <= 12
        assert np.array_equal(result[:55], gradient(300, 200)[:55])
        assert painted.painter == "painter"
        request = edit.EraseRequest(image=encoded(gradient(300, 200)), mask_image=mask())
        erased = decoded((await tools.Erase(request, timeout=30)).picture.image)
        assert np.abs(erased[BOX].astype(int) - (0, 255, 0)).max() <= 12
        assert model.prompts == [b"red", b""]


async def test_a_model_without_an_input_for_words_refuses_them(tmp_path: Path) -> None:
    async with fills_by(Model(reads_prompts=False), tmp_path) as tools:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await tools.Fill(fill(), timeout=30)
        assert from_rpc_error(raised.value).reason_name == "TOOL_UNAVAILABLE"


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("error", "PAINTER_FAILED"),
        ("size", "PAINTER_FAILED"),
        ("huge", "PAINTER_FAILED"),
        ("hang", "DEADLINE_EXCEEDED"),
    ],
)
async def test_a_model_that_misbehaves_is_a_clear_error(tmp_path: Path, behaviour: str, reason: str) -> None:
    model = Model(behaviour=behaviour)
    async with fills_by(model, tmp_path) as tools:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await tools.Fill(fill(), timeout=30)
        error = from_rpc_error(raised.value)
        assert error.reason_name == reason, error.message
        assert "hf_secret" not in error.message
        assert len(model.prompts) == 1
