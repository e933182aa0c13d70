"""Prompts from the wire, and masks back to it."""

from __future__ import annotations

from typing import Final

from matteworks.common.v1 import image_pb2
from matteworks.inference.v1 import inference_pb2
from matteworks_common.context import current_call
from matteworks_common.errors import InvalidField
from matteworks_common.stages import Stages
from matteworks_inference.picture import picture_from_pixels
from matteworks_inference.tasks.selection.prompt import Prompt
from matteworks_inference.tasks.selection.selection import PromptedMasks

__all__ = ["answer"]

MAX_POINTS: Final = 100


async def answer(
    masks: PromptedMasks, request: inference_pb2.PromptMaskRequest
) -> inference_pb2.PromptMaskResponse:
    """Check `request` and have it answered. Raises InvalidField, and as PromptedMasks."""
    masks.check()
    size = request.pixels.size
    picture = picture_from_pixels(request.pixels.rgb, size.width_px, size.height_px, None)
    prompt = _read(request)
    stages = Stages()
    call = current_call.get()
    mask = await masks.mask(picture.pixels, prompt, call.deadline_s if call else None, stages)
    height_px, width_px = mask.likely.shape
    return inference_pb2.PromptMaskResponse(
        mask=image_pb2.Matte(
            alpha=mask.likely.tobytes(), size=image_pb2.Size(width_px=width_px, height_px=height_px)
        ),
        score=mask.score,
        model=masks.model,
        stages=stages.to_proto(),
    )


def _read(request: inference_pb2.PromptMaskRequest) -> Prompt:
    width_px, height_px = request.pixels.size.width_px, request.pixels.size.height_px
    if len(request.points) > MAX_POINTS:
        raise InvalidField("points", f"Give at most {MAX_POINTS} points.")
    for index, point in enumerate(request.points):
        if not (0 <= point.x_px < width_px and 0 <= point.y_px < height_px):
            raise InvalidField(f"points[{index}]", "Point into the picture.")
    box = None
    if request.HasField("box"):
        given = request.box
        box = (given.left_px, given.top_px, given.right_px, given.bottom_px)
        if not (0 <= box[0] < box[2] <= width_px and 0 <= box[1] < box[3] <= height_px):
            raise InvalidField(
                "box", "Give a box in the picture, left of its right edge and above its lower."
            )
    inside = [(point.x_px, point.y_px) for point in request.points if point.is_inside]
    if not inside and box is None:
        raise InvalidField("points", "Give a point on what is meant, or a box.")
    outside = [(point.x_px, point.y_px) for point in request.points if not point.is_inside]
    return Prompt(inside, outside, box)
