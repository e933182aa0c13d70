"""Who makes the matte: the inference service, behind a small Protocol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import grpc
import numpy as np
import structlog
from numpy.typing import NDArray

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.common.v1 import image_pb2
from matteworks.inference.v1 import inference_pb2, inference_pb2_grpc
from matteworks_common.channels import call
from matteworks_common.context import current_call
from matteworks_common.errors import InvalidField, Unavailable
from matteworks_common.shared_memory import Lender, NotShared
from matteworks_compositor.kernels.pointing.subjects import Sighting
from matteworks_compositor.options.model import Quality, SubjectType
from matteworks_imaging.box import Size

__all__ = ["InferenceClient", "MatteSource", "Segmentation", "read_matte"]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Segmentation:
    """A matte (h×w, stretched over what was sent) and what is known of the subject.

    `subject_type` is UNSPECIFIED when nothing was detected. `stages` are names and seconds.
    `sightings` are the things that were seen in what was sent, in the matte or not.
    """

    matte: NDArray[np.uint8]
    subject_type: SubjectType
    confidence: float
    model: str
    stages: tuple[tuple[str, float], ...] = ()
    # How likely the matte is right, 0 to 1; None: not estimated.
    matte_confidence: float | None = None
    sightings: tuple[Sighting, ...] = ()


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
    """Asks the inference service. `timeout_s` bounds a call that has no nearer deadline.

    With a `lender` pixels go through memory that both services share, and in the message where that fails;
    once the other side says that it sees no such memory, always.
    """

    def __init__(self, channel: grpc.aio.Channel, timeout_s: float, lender: Lender | None = None) -> None:
        self._stub = inference_pb2_grpc.InferenceServiceStub(channel)
        self._timeout_s = timeout_s
        self._lender = lender

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
            model=model,
            source_size=image_pb2.Size(width_px=source_size.width_px, height_px=source_size.height_px),
            subject_type=image_pb2.SubjectType.ValueType(subject_type),
            quality=image_pb2.Quality.ValueType(quality),
        )
        response = await self._answer(request, pixels)
        return Segmentation(
            matte=read_matte(response.matte),
            subject_type=_read_type(response.subject.type),
            confidence=response.subject.confidence,
            model=response.model,
            sightings=tuple(_read_sighting(detection) for detection in response.detections),
            stages=tuple((stage.stage, stage.duration.ToNanoseconds() / 1e9) for stage in response.stages),
            matte_confidence=response.matte_confidence if response.HasField("matte_confidence") else None,
        )

    async def check(self, *, model: str, quality: Quality, subject_type: SubjectType) -> None:
        """Raises as `segment` would for a model that is not there; no network runs."""
        context = current_call.get()
        request = inference_pb2.SegmentRequest(
            request_id=context.request_id if context else "",
            model=model,
            subject_type=image_pb2.SubjectType.ValueType(subject_type),
            quality=image_pb2.Quality.ValueType(quality),
            dry_run=True,
        )
        await call(self._stub.Segment, request, timeout_s=self._timeout_s)

    async def _answer(
        self, request: inference_pb2.SegmentRequest, pixels: NDArray[np.uint8]
    ) -> inference_pb2.SegmentResponse:
        """What the service says to `request` with `pixels` in it."""
        size = image_pb2.Size(width_px=pixels.shape[1], height_px=pixels.shape[0])
        if self._lender is not None:
            try:
                with self._lender.lend(np.ascontiguousarray(pixels).data.cast("B")) as name:
                    request.shared_pixels.CopyFrom(inference_pb2.SharedPixels(name=name, size=size))
                    return await call(self._stub.Segment, request, timeout_s=self._timeout_s)
            except NotShared as error:
                log.warning("memory_not_shared", error=str(error))
            except InvalidField as error:
                # A service from before this field says that there is no source.
                if error.field.partition(".")[0] not in ("shared_pixels", "source"):
                    raise
                log.warning("memory_not_shared", error=str(error), is_for_good=True)
                self._lender = None
        # In place: Pixels that are handed over would be copied once more.
        request.pixels.rgb = pixels.tobytes()
        request.pixels.size.CopyFrom(size)
        return await call(self._stub.Segment, request, timeout_s=self._timeout_s)


def read_matte(message: image_pb2.Matte) -> NDArray[np.uint8]:
    """h×w, 0 to 255. Raises Unavailable (ENGINE_FAILED) for one that does not fit its own size."""
    width_px, height_px = message.size.width_px, message.size.height_px
    if width_px < 1 or height_px < 1 or len(message.alpha) != width_px * height_px:
        raise Unavailable(
            "The inference service sent a matte that does not fit its own size.",
            reason=reasons.ERROR_REASON_ENGINE_FAILED,
        )
    return np.frombuffer(message.alpha, np.uint8).reshape(height_px, width_px)


def _read_sighting(message: inference_pb2.Detection) -> Sighting:
    left, top = (min(max(edge, 0.0), 1.0) for edge in (message.left, message.top))
    return Sighting(
        label=message.label,
        type=_read_type(message.type),
        score=message.score,
        left=left,
        top=top,
        right=min(max(message.right, left), 1.0),
        bottom=min(max(message.bottom, top), 1.0),
    )


def _read_type(number: int) -> SubjectType:
    try:
        return SubjectType(number)
    except ValueError:  # A newer inference service may know more types than we do.
        return SubjectType.OTHER
