"""The wire of the inference service: proto in, domain call, proto out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.common.v1 import image_pb2
from matteworks.inference.v1 import inference_pb2, inference_pb2_grpc
from matteworks_common.context import current_call
from matteworks_common.errors import InvalidField, InvalidPicture
from matteworks_common.shared_memory import Borrower, NotShared
from matteworks_common.stages import Stages
from matteworks_common.vocabulary import SUBJECT_TYPES, subject_type_name
from matteworks_inference.engines.contract import Engine
from matteworks_inference.networks.registry import ModelEntry
from matteworks_inference.picture import Picture, picture_from_pixels, pixels_size_bytes
from matteworks_inference.subject.evidence import Detection, subject_type_of
from matteworks_inference.tasks.segmentation.loaded_models import LoadedModels, Quality
from matteworks_inference.tasks.segmentation.mattes import Mattes, Wish
from matteworks_inference.tasks.selection.selection import PromptedMasks
from matteworks_inference.tasks.selection.wire import answer
from matteworks_inference.tasks.upscaling.upscaler import Upscaler

_QUALITIES: Final[dict[int, Quality]] = {
    image_pb2.QUALITY_FAST: "fast",
    image_pb2.QUALITY_BALANCED: "balanced",
    image_pb2.QUALITY_BEST: "best",
}


# More than a picture has; what is less sure than these is noise.
MAX_DETECTIONS: Final = 50


class InferenceServicer(inference_pb2_grpc.InferenceServiceServicer):
    """`quality` is what a request gets that names none. `borrower` reads pixels that callers share; None:
    there is no memory that they could share. `grown_bytes` is what each loaded model takes.
    """

    def __init__(
        self,
        mattes: Mattes,
        upscaler: Upscaler,
        prompted: PromptedMasks,
        engine: Engine,
        *,
        quality: Quality,
        borrower: Borrower | None = None,
        grown_bytes: Mapping[str, int] | None = None,
    ) -> None:
        self._mattes = mattes
        self._upscaler = upscaler
        self._prompted = prompted
        self._engine = engine
        self._quality: Quality = quality
        self._borrower = borrower
        self._grown_bytes = grown_bytes or {}

    async def Segment(
        self, request: inference_pb2.SegmentRequest, context: Any
    ) -> inference_pb2.SegmentResponse:
        call = current_call.get()
        deadline_s = call.deadline_s if call else None
        wish = Wish(request.model, self._subject_type(request), self._quality_of(request))
        self._mattes.check(wish)
        if request.dry_run:
            return inference_pb2.SegmentResponse()
        with self._mattes.hold(deadline_s):
            stages = Stages()
            picture = await self._picture(request, stages)
            segmented, stages = await self._mattes.make(picture, wish, deadline_s, stages)
        height_px, width_px = segmented.matte.shape
        response = inference_pb2.SegmentResponse(
            subject=image_pb2.Subject(
                type=SUBJECT_TYPES.get(segmented.subject.type, image_pb2.SUBJECT_TYPE_UNSPECIFIED),
                confidence=segmented.subject.confidence,
            ),
            model=segmented.model,
            stages=stages.to_proto(),
            batch_item_count=segmented.batch_item_count,
            matte_confidence=segmented.confidence,
            detections=[_write_detection(detection) for detection in segmented.detections[:MAX_DETECTIONS]],
        )
        # In place: a Matte that is handed over would be copied once more.
        response.matte.alpha = segmented.matte.tobytes()
        response.matte.size.width_px, response.matte.size.height_px = width_px, height_px
        return response

    async def Upscale(
        self, request: inference_pb2.UpscaleRequest, context: Any
    ) -> inference_pb2.UpscaleResponse:
        """See the proto."""
        call = current_call.get()
        size = request.pixels.size
        self._upscaler.check(size.width_px, size.height_px)
        tile = picture_from_pixels(request.pixels.rgb, size.width_px, size.height_px, None).pixels
        stages = Stages()
        upscaled = await self._upscaler.upscale(tile, call.deadline_s if call else None, stages)
        response = inference_pb2.UpscaleResponse(
            model=upscaled.model, stages=stages.to_proto(), batch_item_count=upscaled.batch_item_count
        )
        response.pixels.rgb = upscaled.pixels.tobytes()
        response.pixels.size.height_px, response.pixels.size.width_px = upscaled.pixels.shape[:2]
        return response

    async def PromptMask(
        self, request: inference_pb2.PromptMaskRequest, context: Any
    ) -> inference_pb2.PromptMaskResponse:
        return await answer(self._prompted, request)

    async def ListModels(
        self, request: inference_pb2.ListModelsRequest, context: Any
    ) -> inference_pb2.ListModelsResponse:
        models = self._mattes.models
        rest = [entry for entry in models.registry.entries if entry not in models.loaded]
        return inference_pb2.ListModelsResponse(
            models=[self._model(entry, models) for entry in (*models.loaded, *rest)]
        )

    async def _picture(self, request: inference_pb2.SegmentRequest, stages: Stages) -> Picture:
        match request.WhichOneof("source"):
            case "pixels":
                pixels = request.pixels
                return self._shown(pixels.rgb, pixels.size, request)
            case "shared_pixels":
                return await self._shared(request)
            case "image":
                return await self._mattes.decode(request.image, stages)
        raise InvalidPicture(
            reasons.ERROR_REASON_MISSING_SOURCE, "Send either pixels or image.", field="source"
        )

    async def _shared(self, request: inference_pb2.SegmentRequest) -> Picture:
        shared = request.shared_pixels
        if self._borrower is None:
            raise InvalidField("shared_pixels", "No memory is shared here: send pixels.")
        size_bytes = pixels_size_bytes("shared_pixels", shared.size.width_px, shared.size.height_px)
        try:
            rgb = await self._borrower.read(shared.name, size_bytes)
        except NotShared as error:
            raise InvalidField("shared_pixels.name", f"{error} Send pixels instead.") from error
        return self._shown(rgb, shared.size, request)

    @staticmethod
    def _shown(rgb: bytes, size: image_pb2.Size, request: inference_pb2.SegmentRequest) -> Picture:
        source_size_px = None
        if request.HasField("source_size"):
            source_size_px = (request.source_size.width_px, request.source_size.height_px)
        return picture_from_pixels(rgb, size.width_px, size.height_px, source_size_px)

    def _quality_of(self, request: inference_pb2.SegmentRequest) -> Quality:
        if request.quality == image_pb2.QUALITY_UNSPECIFIED:
            return self._quality
        try:
            return _QUALITIES[request.quality]
        except KeyError:
            raise InvalidField("quality", "Use a value of the enum Quality.") from None

    @staticmethod
    def _subject_type(request: inference_pb2.SegmentRequest) -> str:
        if request.subject_type == image_pb2.SUBJECT_TYPE_UNSPECIFIED:
            return ""
        name = subject_type_name(request.subject_type)
        if not name:
            raise InvalidField("subject_type", "Use a value of the enum SubjectType.")
        return name

    def _model(self, entry: ModelEntry, models: LoadedModels) -> inference_pb2.Model:
        is_own_upscaler = entry == self._upscaler.entry
        is_loaded = entry in models.loaded or (is_own_upscaler and self._upscaler.is_loaded)
        facts = self._engine.facts_of(entry.name) if is_loaded else None
        fixed = entry.input_sizes_px[0] if len(entry.input_sizes_px) == 1 else (0, 0)
        return inference_pb2.Model(
            name=entry.name,
            summary=entry.summary,
            license=entry.license,
            code_license=entry.code_license,
            license_note=entry.license_note,
            input_size=image_pb2.Size(width_px=fixed[0], height_px=fixed[1]),
            subject_types=[SUBJECT_TYPES[name] for name in entry.subject_types],
            weights_sha256=entry.sha256,
            weights_size_bytes=entry.size_bytes,
            is_loaded=is_loaded,
            is_default=entry == models.default or is_own_upscaler,
            engine=facts.label if facts else "",
            engine_reason=facts.reason if facts else "",
            memory_bytes=self._grown_bytes.get(entry.name, 0),
            task=inference_pb2.MODEL_TASK_UPSCALING
            if entry.is_upscaler
            else inference_pb2.MODEL_TASK_SEGMENTATION,
            loads_on_use=is_own_upscaler,
        )


def _write_detection(detection: Detection) -> inference_pb2.Detection:
    return inference_pb2.Detection(
        type=SUBJECT_TYPES[subject_type_of(detection.label)],
        label=detection.label,
        score=detection.score,
        left=detection.left,
        top=detection.top,
        right=detection.right,
        bottom=detection.bottom,
    )
