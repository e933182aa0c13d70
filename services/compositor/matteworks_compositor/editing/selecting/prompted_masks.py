"""Masks of what is pointed at, from the promptable network that an operator may have given inference."""

from __future__ import annotations

from typing import Final

import grpc
import numpy as np
from numpy.typing import NDArray

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.common.v1 import image_pb2
from matteworks.inference.v1 import inference_pb2, inference_pb2_grpc
from matteworks_common.channels import call
from matteworks_common.clock import Clock
from matteworks_common.context import current_call
from matteworks_common.errors import FailedPrecondition, MatteworksError, Unavailable
from matteworks_compositor.inference_client import read_matte
from matteworks_compositor.kernels.pointing.selection import Selection
from matteworks_imaging.box import Size
from matteworks_imaging.resampling import array_size

__all__ = ["SHOWN_SIDE_PX", "PromptedMasks"]

Bytes8 = NDArray[np.uint8]

# What these networks look at.
SHOWN_SIDE_PX: Final = 1024
# How long "there is none" is believed.
ABSENT_S: Final = 60.0


class PromptedMasks:
    """Asks the inference service. Use from one event loop."""

    def __init__(self, channel: grpc.aio.Channel, timeout_s: float, clock: Clock) -> None:
        self._stub = inference_pb2_grpc.InferenceServiceStub(channel)
        self._timeout_s = timeout_s
        self._clock = clock
        self._absent_until_s = float("-inf")

    @property
    def may_answer(self) -> bool:
        """Whether it is worth asking."""
        return self._clock.monotonic_s() >= self._absent_until_s

    async def of(self, shown: Bytes8, size: Size, selection: Selection) -> Bytes8 | None:
        """How likely each place is meant (h×w, 0 to 255, stretched over the picture) by the points and box of
        `selection`, in pixels of `size`; None when no such network is set up.

        `shown` (h×w×3) is the picture, its longer side at most SHOWN_SIDE_PX. Raises what inference raises.
        """
        seen = array_size(shown)
        across, down = seen.width_px / size.width_px, seen.height_px / size.height_px
        context = current_call.get()
        request = inference_pb2.PromptMaskRequest(
            request_id=context.request_id if context else "",
            points=[
                inference_pb2.PromptPoint(
                    x_px=min(x * across, seen.width_px - 1),
                    y_px=min(y * down, seen.height_px - 1),
                    is_inside=is_inside,
                )
                for places, is_inside in ((selection.inside, True), (selection.outside, False))
                for x, y in places
            ],
        )
        if selection.box is not None:
            box = selection.box
            request.box.left_px, request.box.top_px = box.left_px * across, box.top_px * down
            request.box.right_px = min(box.right_px * across, seen.width_px)
            request.box.bottom_px = min(box.bottom_px * down, seen.height_px)
        request.pixels.rgb = np.ascontiguousarray(shown).tobytes()
        request.pixels.size.CopyFrom(image_pb2.Size(width_px=seen.width_px, height_px=seen.height_px))
        try:
            answer = await call(self._stub.PromptMask, request, timeout_s=self._timeout_s)
        except (FailedPrecondition, Unavailable) as error:
            if not _is_absent(error):
                raise
            self._absent_until_s = self._clock.monotonic_s() + ABSENT_S
            return None
        return read_matte(answer.mask)


def _is_absent(error: MatteworksError) -> bool:
    cause = error.__cause__
    # A service from before this call does not know it.
    is_older = isinstance(cause, grpc.aio.AioRpcError) and cause.code() == grpc.StatusCode.UNIMPLEMENTED
    return is_older or error.reason == reasons.ERROR_REASON_TOOL_UNAVAILABLE
