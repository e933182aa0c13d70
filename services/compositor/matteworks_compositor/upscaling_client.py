"""Who draws tiles larger: the inference service, behind a small Protocol."""

from __future__ import annotations

from typing import Final, Protocol

import grpc
import numpy as np
from numpy.typing import NDArray

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.inference.v1 import inference_pb2, inference_pb2_grpc
from matteworks_common.channels import call
from matteworks_common.context import current_call
from matteworks_common.errors import FailedPrecondition, Unavailable

__all__ = ["FACTOR", "TileSource", "UpscalingClient"]

Bytes8 = NDArray[np.uint8]
# What the network of the inference service does.
FACTOR: Final = 4
_LISTING_TIMEOUT_S: Final = 5.0


class TileSource(Protocol):
    """Draws tiles larger."""

    async def model(self) -> str:
        """The network's name. Raises FailedPrecondition (TOOL_UNAVAILABLE) where there is none."""

    async def upscale(self, tile: Bytes8) -> Bytes8:
        """`tile` (h×w×3, at most 96 a side), FACTOR times as wide and high.

        Raises the inference service's own errors.
        """


class UpscalingClient:
    """Asks the inference service. `timeout_s` bounds a call that has no nearer deadline."""

    def __init__(self, channel: grpc.aio.Channel, timeout_s: float) -> None:
        self._stub = inference_pb2_grpc.InferenceServiceStub(channel)
        self._timeout_s = timeout_s

    async def model(self) -> str:
        """See `TileSource`."""
        request = inference_pb2.ListModelsRequest()
        answer = await call(self._stub.ListModels, request, timeout_s=_LISTING_TIMEOUT_S)
        for model in answer.models:
            is_upscaler = model.task == inference_pb2.MODEL_TASK_UPSCALING
            if is_upscaler and (model.is_loaded or model.loads_on_use):
                return model.name
        names = [m.name for m in answer.models if m.task == inference_pb2.MODEL_TASK_UPSCALING]
        raise FailedPrecondition(
            reasons.ERROR_REASON_TOOL_UNAVAILABLE,
            "Upscaling needs a network that is not installed here. The operator of this server gets it with: "
            f"matteworks models pull {' '.join(names) or 'esrgan-thick-x4'}, and starts inference again.",
        )

    async def upscale(self, tile: Bytes8) -> Bytes8:
        """See `TileSource`. Raises Unavailable too when the answer makes no sense."""
        context = current_call.get()
        request = inference_pb2.UpscaleRequest(request_id=context.request_id if context else "")
        height_px, width_px = tile.shape[:2]
        request.pixels.rgb = tile.tobytes()
        request.pixels.size.height_px, request.pixels.size.width_px = height_px, width_px
        answer = await call(self._stub.Upscale, request, timeout_s=self._timeout_s)
        pixels = np.frombuffer(answer.pixels.rgb, np.uint8)
        shape = (FACTOR * height_px, FACTOR * width_px, 3)
        size = answer.pixels.size
        if (size.height_px, size.width_px, pixels.size) != (*shape[:2], shape[0] * shape[1] * 3):
            raise Unavailable(
                "The inference service sent a tile of another size than it should have.",
                reason=reasons.ERROR_REASON_ENGINE_FAILED,
            )
        return pixels.reshape(shape)
