"""A generative model on a server that speaks the Open Inference Protocol over gRPC: Triton, KServe.

Its tensors, one item at a time: `pixels` UINT8 1×h×w×3, `hole` UINT8 1×h×w (255 where to paint) and, when it
reads prompts, `prompt` BYTES 1; to `painted` UINT8 1×h×w×3.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Final, TypeVar
from urllib.parse import urlsplit

import grpc
import numpy as np
import structlog

from matteworks.inference.v2 import open_inference_pb2 as pb
from matteworks.inference.v2 import open_inference_pb2_grpc
from matteworks_common.channels import channel_options
from matteworks_inference.networks.graph import PIXELS
from matteworks_inference.picture import PixelArray
from matteworks_inference.tasks.inpainting.fitting import Fitted, fit
from matteworks_inference.tasks.inpainting.painter import Hole, no_words, painter_failed

__all__ = ["OpenInferenceServer"]

T = TypeVar("T")
HOLE: Final = "hole"
PROMPT: Final = "prompt"
PAINTED: Final = "painted"
_TRANSPORTS: Final = ("grpc", "grpcs")
# A message holds one answer and little else.
_ENVELOPE_BYTES: Final = 64 * 1024
log = structlog.get_logger()


class OpenInferenceServer:
    """See `Painter`. `url` is grpc://host:port, or grpcs:// for TLS; any other raises ValueError."""

    def __init__(self, url: str, model: str, sizes_px: Sequence[tuple[int, int]], workers: Executor) -> None:
        parts = urlsplit(url)
        if parts.scheme not in _TRANSPORTS or not parts.hostname or not parts.port or not model:
            raise ValueError("give grpc://host:port or grpcs://host:port, and a model")
        largest = max(width * height for width, height in sizes_px)
        options = channel_options(3 * largest + _ENVELOPE_BYTES)
        # Both ways the pixels, and on the way there the hole.
        options[1] = ("grpc.max_send_message_length", 4 * largest + _ENVELOPE_BYTES)
        self._channel = (
            grpc.aio.secure_channel(parts.netloc, grpc.ssl_channel_credentials(), options=options)
            if parts.scheme == "grpcs"
            else grpc.aio.insecure_channel(parts.netloc, options=options)
        )
        self._stub = open_inference_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._model = model
        self._sizes_px = sizes_px
        self._workers = workers
        self._inputs: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """The model."""
        return self._model

    async def paint(self, hole: Hole, timeout_s: float) -> PixelArray:
        """See `Painter`."""
        try:
            async with asyncio.timeout(timeout_s):
                if not self._inputs:
                    self._inputs = await self._input_names(timeout_s)
                if hole.prompt and PROMPT not in self._inputs:
                    raise no_words(self._model)
                fitted, request = await self._run(lambda: self._request(hole))
                response = await self._stub.ModelInfer(request, timeout=timeout_s)
                return await self._run(lambda: _painted(response, fitted))
        except grpc.aio.AioRpcError as error:
            log.warning("painter_refused", code=error.code().name)
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise TimeoutError from error
            if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise painter_failed("it is at its limit, or its answer is too large") from error
            raise painter_failed(f"it answered {error.code().name}") from error

    async def aclose(self) -> None:
        """Close the channel."""
        await self._channel.close()

    async def _input_names(self, timeout_s: float) -> frozenset[str]:
        request = pb.ModelMetadataRequest(name=self._model)
        metadata = await self._stub.ModelMetadata(request, timeout=timeout_s)
        return frozenset(tensor.name for tensor in metadata.inputs)

    def _request(self, hole: Hole) -> tuple[Fitted, pb.ModelInferRequest]:
        fitted = fit(hole, self._sizes_px)
        shown, tensor = fitted.hole, pb.ModelInferRequest.InferInputTensor
        height, width = shown.mask.shape
        inputs = [
            tensor(name=PIXELS, datatype="UINT8", shape=(1, height, width, 3)),
            tensor(name=HOLE, datatype="UINT8", shape=(1, height, width)),
        ]
        contents = [shown.pixels.tobytes(), shown.mask.tobytes()]
        if PROMPT in self._inputs:
            inputs.append(tensor(name=PROMPT, datatype="BYTES", shape=(1,)))
            words = hole.prompt.encode()
            contents.append(len(words).to_bytes(4, "little") + words)
        return fitted, pb.ModelInferRequest(
            model_name=self._model,
            inputs=inputs,
            outputs=[pb.ModelInferRequest.InferRequestedOutputTensor(name=PAINTED)],
            raw_input_contents=contents,
        )

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._workers, work)


def _painted(response: pb.ModelInferResponse, fitted: Fitted) -> PixelArray:
    size = fitted.size
    shape = (1, size.height_px, size.width_px, 3)
    for described, raw in zip(response.outputs, response.raw_output_contents, strict=False):
        if described.name != PAINTED:
            continue
        if described.datatype != "UINT8" or tuple(described.shape) != shape or len(raw) != np.prod(shape):
            raise painter_failed(
                f"it answered {described.datatype} {list(described.shape)}, not UINT8 {shape}"
            )
        return fitted.take_back(np.frombuffer(raw, np.uint8).reshape(shape[1:]))
    raise painter_failed(f"its answer has no tensor {PAINTED} in raw contents")
