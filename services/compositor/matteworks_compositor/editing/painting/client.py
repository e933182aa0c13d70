"""Who paints holes: the inference service's painter, behind a small Protocol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import grpc
import numpy as np
from numpy.typing import NDArray

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.inference.v1 import inpainting_pb2, inpainting_pb2_grpc
from matteworks_common.channels import call
from matteworks_common.context import current_call
from matteworks_common.errors import Unavailable

__all__ = ["HolePainter", "PaintedHole", "PaintingClient"]

Bytes8 = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class PaintedHole:
    """Pixels as large as what was sent, and who painted them."""

    pixels: Bytes8
    painter: str


class HolePainter(Protocol):
    """Paints holes."""

    async def paint(self, pixels: Bytes8, hole: Bytes8, prompt: str) -> PaintedHole:
        """`pixels` (h×w×3) painted where `hole` (h×w) is 255. Raises the inference service's own errors."""


class PaintingClient:
    """Asks the inference service. `timeout_s` bounds a call that has no nearer deadline."""

    def __init__(self, channel: grpc.aio.Channel, timeout_s: float) -> None:
        self._stub = inpainting_pb2_grpc.InpaintingServiceStub(channel)
        self._timeout_s = timeout_s

    async def paint(self, pixels: Bytes8, hole: Bytes8, prompt: str) -> PaintedHole:
        """See `HolePainter`. Raises Unavailable too when the answer makes no sense."""
        context = current_call.get()
        request = inpainting_pb2.InpaintRequest(
            request_id=context.request_id if context else "", hole=hole.tobytes(), prompt=prompt
        )
        request.pixels.rgb = pixels.tobytes()
        request.pixels.size.width_px, request.pixels.size.height_px = pixels.shape[1], pixels.shape[0]
        response = await call(self._stub.Inpaint, request, timeout_s=self._timeout_s)
        if len(response.pixels.rgb) != pixels.size:
            raise Unavailable(
                "The inference service painted something of another size.",
                reason=reasons.ERROR_REASON_ENGINE_FAILED,
            )
        painted = np.frombuffer(response.pixels.rgb, np.uint8).reshape(pixels.shape)
        return PaintedHole(painted, response.painter)
