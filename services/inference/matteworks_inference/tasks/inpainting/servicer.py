"""The wire of inpainting: proto in, domain call, proto out."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.inference.v1 import inpainting_pb2, inpainting_pb2_grpc
from matteworks_common.context import current_call
from matteworks_common.errors import InvalidField
from matteworks_common.stages import Stages
from matteworks_inference.picture import picture_from_pixels
from matteworks_inference.tasks.inpainting.inpainting import Inpainting
from matteworks_inference.tasks.inpainting.painter import Hole

__all__ = ["INPAINTING_NAME", "InpaintingServicer"]

INPAINTING_NAME: Final = inpainting_pb2.DESCRIPTOR.services_by_name["InpaintingService"].full_name
MAX_PROMPT_CHARACTERS: Final = 1000


class InpaintingServicer(inpainting_pb2_grpc.InpaintingServiceServicer):
    """`matteworks.inference.v1.InpaintingService`."""

    def __init__(self, inpainting: Inpainting) -> None:
        self._inpainting = inpainting

    async def Inpaint(
        self, request: inpainting_pb2.InpaintRequest, context: Any
    ) -> inpainting_pb2.InpaintResponse:
        """See the proto."""
        call, stages = current_call.get(), Stages()
        painted = await self._inpainting.paint(_read(request), call.deadline_s if call else None, stages)
        response = inpainting_pb2.InpaintResponse(painter=painted.painter, stages=stages.to_proto())
        response.pixels.rgb = painted.pixels.tobytes()
        response.pixels.size.CopyFrom(request.pixels.size)
        return response


def _read(request: inpainting_pb2.InpaintRequest) -> Hole:
    size = request.pixels.size
    pixels = picture_from_pixels(request.pixels.rgb, size.width_px, size.height_px, None).pixels
    if len(request.hole) != size.width_px * size.height_px:
        raise InvalidField(
            "hole",
            f"Give one byte a pixel: {size.width_px * size.height_px}.",
            reason=reasons.ERROR_REASON_INVALID_DIMENSIONS,
        )
    mask = np.frombuffer(request.hole, np.uint8).reshape(size.height_px, size.width_px)
    if not mask.any() or ((mask != 0) & (mask != 255)).any():
        raise InvalidField("hole", "Give 255 for some pixels, and 0 for the others.")
    if len(request.prompt) > MAX_PROMPT_CHARACTERS:
        raise InvalidField("prompt", f"Give at most {MAX_PROMPT_CHARACTERS} characters.")
    return Hole(pixels, mask, request.prompt.strip())
