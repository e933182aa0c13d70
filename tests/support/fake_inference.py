"""A real inference server on loopback that answers with a drawn matte, and with larger tiles."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import cv2
import grpc
import numpy as np
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from numpy.typing import NDArray

from matteworks.common.v1 import image_pb2
from matteworks.inference.v1 import inference_pb2, inference_pb2_grpc
from matteworks_common.channels import channel_options
from matteworks_common.errors import STATUS_DETAILS_KEY, MatteworksError, to_status
from matteworks_common.settings import MEBIBYTE
from matteworks_inference.tasks.selection.selection import PromptedMasks
from matteworks_inference.tasks.selection.wire import answer

Draw = Callable[[int, int], NDArray[np.uint8]]

INFERENCE_NAME = inference_pb2.DESCRIPTOR.services_by_name["InferenceService"].full_name


def ellipse_matte(width_px: int, height_px: int) -> NDArray[np.uint8]:
    """A soft-edged ellipse in the middle, half as wide and high as the picture."""
    matte = np.zeros((height_px, width_px), np.uint8)
    centre = (width_px / 2, height_px / 2)
    cv2.ellipse(matte, (centre, (width_px / 2, height_px / 2), 0.0), 255, -1)
    return np.asarray(cv2.GaussianBlur(matte, (0, 0), 1.2), np.uint8)


def box_matte(left: float, top: float, right: float, bottom: float) -> Draw:
    """A drawer of hard-edged boxes, corners as shares of the picture."""

    def draw(width_px: int, height_px: int) -> NDArray[np.uint8]:
        matte = np.zeros((height_px, width_px), np.uint8)
        matte[
            round(top * height_px) : round(bottom * height_px),
            round(left * width_px) : round(right * width_px),
        ] = 255
        return matte

    return draw


def empty_matte(width_px: int, height_px: int) -> NDArray[np.uint8]:
    """Nothing was found."""
    return np.zeros((height_px, width_px), np.uint8)


@dataclass
class FakeInference:
    """What the server answers, and what it was asked. Tests change it while it runs."""

    draw: Draw = ellipse_matte
    subject_type: int = image_pb2.SUBJECT_TYPE_PRODUCT
    error: MatteworksError | None = None
    hold: asyncio.Event | None = None
    # The name of what enlarges; empty: it is not installed.
    upscaler: str = "enlarger"
    tile_s: float = 0.0
    tiles: list[inference_pb2.UpscaleRequest] = field(default_factory=list)
    detections: list[inference_pb2.Detection] = field(default_factory=list)
    prompted: PromptedMasks | None = None
    prompts: list[inference_pb2.PromptMaskRequest] = field(default_factory=list)
    port: int = 0
    requests: list[inference_pb2.SegmentRequest] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def target(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"


class _Servicer(inference_pb2_grpc.InferenceServiceServicer):
    def __init__(self, fake: FakeInference) -> None:
        self._fake = fake

    async def Segment(
        self, request: inference_pb2.SegmentRequest, context: Any
    ) -> inference_pb2.SegmentResponse:
        fake = self._fake
        fake.requests.append(request)
        fake.arrived.set()
        if fake.hold is not None:
            await fake.hold.wait()
        if fake.error is not None:
            await _abort(context, fake.error)
        if request.dry_run:
            return inference_pb2.SegmentResponse()
        size = request.pixels.size
        matte = fake.draw(size.width_px, size.height_px)
        stage = image_pb2.StageDuration(stage="infer")
        stage.duration.FromMilliseconds(1)
        return inference_pb2.SegmentResponse(
            matte=image_pb2.Matte(
                alpha=matte.tobytes(), size=image_pb2.Size(width_px=matte.shape[1], height_px=matte.shape[0])
            ),
            subject=image_pb2.Subject(
                type=image_pb2.SubjectType.ValueType(fake.subject_type), confidence=0.9
            ),
            model="drawn",
            stages=[stage],
            batch_item_count=1,
            detections=fake.detections,
        )

    async def PromptMask(
        self, request: inference_pb2.PromptMaskRequest, context: Any
    ) -> inference_pb2.PromptMaskResponse:
        if self._fake.prompted is None:
            # As a service from before this call.
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "unknown method")
        self._fake.prompts.append(request)
        return await answer(self._fake.prompted, request)

    async def ListModels(
        self, request: inference_pb2.ListModelsRequest, context: Any
    ) -> inference_pb2.ListModelsResponse:
        models = [
            inference_pb2.Model(
                name="drawn", is_loaded=True, is_default=True, task=inference_pb2.MODEL_TASK_SEGMENTATION
            ),
            inference_pb2.Model(
                name=self._fake.upscaler or "not-installed",
                loads_on_use=bool(self._fake.upscaler),
                task=inference_pb2.MODEL_TASK_UPSCALING,
            ),
        ]
        return inference_pb2.ListModelsResponse(models=models)

    async def Upscale(
        self, request: inference_pb2.UpscaleRequest, context: Any
    ) -> inference_pb2.UpscaleResponse:
        fake = self._fake
        fake.tiles.append(request)
        fake.arrived.set()
        if fake.hold is not None:
            await fake.hold.wait()
        await asyncio.sleep(fake.tile_s)
        if fake.error is not None:
            await _abort(context, fake.error)
        size = request.pixels.size
        tile = np.frombuffer(request.pixels.rgb, np.uint8).reshape(size.height_px, size.width_px, 3)
        larger = enlarged_tile(tile)
        return inference_pb2.UpscaleResponse(
            pixels=image_pb2.Pixels(
                rgb=larger.tobytes(),
                size=image_pb2.Size(width_px=4 * size.width_px, height_px=4 * size.height_px),
            ),
            model=fake.upscaler,
            batch_item_count=1,
        )


def enlarged_tile(tile: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Four times as wide and high, cubic: a pixel depends on its neighbours, as in a network's answer."""
    return np.asarray(cv2.resize(tile, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC), np.uint8)


async def _abort(context: Any, error: MatteworksError) -> None:
    details = to_status(error).SerializeToString()
    await context.abort(error.code, error.message, trailing_metadata=((STATUS_DETAILS_KEY, details),))


@asynccontextmanager
async def running_inference(fake: FakeInference | None = None) -> AsyncIterator[FakeInference]:
    """Serve on a free loopback port while the block runs."""
    fake = fake or FakeInference()
    server = grpc.aio.server(options=channel_options(96 * MEBIBYTE))
    inference_pb2_grpc.add_InferenceServiceServicer_to_server(_Servicer(fake), server)
    states = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(states, server)
    for name in ("", INFERENCE_NAME):
        await states.set(name, health_pb2.HealthCheckResponse.SERVING)
    fake.port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield fake
    finally:
        if fake.hold is not None:
            fake.hold.set()
        await server.stop(None)
