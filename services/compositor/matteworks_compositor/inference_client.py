"""Who makes the matte: the inference service, behind a small Protocol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import grpc
import numpy as np
from numpy.typing import NDArray

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.common.v1 import image_pb2
from matteworks.inference.v1 import inference_pb2, inference_pb2_grpc
from matteworks_common.channels import call
from matteworks_common.context import current_call
from matteworks_common.errors import Unavailable
from matteworks_compositor.options.model import Quality, SubjectType
from matteworks_imaging.box import Size

__all__ = ["InferenceClient", "MatteSource", "Segmentation"]


@dataclass(frozen=True, slots=True)
class Segmentation:
    """A matte (h×w, stretched over what was sent) and what is known of the subject.

    `subject_type` is UNSPECIFIED when nothing was detected. `stages` are names and seconds.
    """

    matte: NDArray[np.uint8]
    subject_type: SubjectType
    confidence: float
    model: str
    stages: tuple[tuple[str, float], ...] = ()


class MatteSource(Protocol):
    """Makes mattes."""

    async def segment(
        self,
        pixels: NDArray[np.uint8],
        *,
        source_size: Size,
        model: str,
        quality: Quality,
        subject_type: SubjectType,
    ) -> Segmentation:
        """The matte of `pixels` (h×w×3, sRGB), which were squeezed from a picture of `source_size`.

        Raises the inference service's own errors.
        """


class InferenceClient:
    """Asks the inference service. `timeout_s` bounds a call that has no nearer deadline."""

    def __init__(self, channel: grpc.aio.Channel, timeout_s: float) -> None:
        self._stub = inference_pb2_grpc.InferenceServiceStub(channel)
        self._timeout_s = timeout_s

    async def segment(
        self,
        pixels: NDArray[np.uint8],
        *,
        source_size: Size,
        model: str,
        quality: Quality,
        subject_type: SubjectType,
    ) -> Segmentation:
        """See `MatteSource`. Raises Unavailable too when the answer makes no sense."""
        context = current_call.get()
        request = inference_pb2.SegmentRequest(
            request_id=context.request_id if context else "",
            pixels=image_pb2.Pixels(
                rgb=pixels.tobytes(),
                size=image_pb2.Size(width_px=pixels.shape[1], height_px=pixels.shape[0]),
            ),
            model=model,
            source_size=image_pb2.Size(width_px=source_size.width_px, height_px=source_size.height_px),
            subject_type=image_pb2.SubjectType.ValueType(subject_type),
            quality=image_pb2.Quality.ValueType(quality),
        )
        response = await call(self._stub.Segment, request, timeout_s=self._timeout_s)
        return Segmentation(
            matte=_read_matte(response.matte),
            subject_type=_read_type(response.subject.type),
            confidence=response.subject.confidence,
            model=response.model,
            stages=tuple((stage.stage, stage.duration.ToNanoseconds() / 1e9) for stage in response.stages),
        )


def _read_matte(message: image_pb2.Matte) -> NDArray[np.uint8]:
    width_px, height_px = message.size.width_px, message.size.height_px
    if width_px < 1 or height_px < 1 or len(message.alpha) != width_px * height_px:
        raise Unavailable(
            "The inference service sent a matte that does not fit its own size.",
            reason=reasons.ERROR_REASON_ENGINE_FAILED,
        )
    return np.frombuffer(message.alpha, np.uint8).reshape(height_px, width_px)


def _read_type(number: int) -> SubjectType:
    try:
        return SubjectType(number)
    except ValueError:  # A newer inference service may know more types than we do.
        return SubjectType.OTHER
