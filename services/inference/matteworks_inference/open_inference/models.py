"""Our mattes as models of the Open Inference Protocol, for KServe, Triton and OpenVINO clients.

Each loaded network is a model by its name; the model `matteworks` chooses networks by subject and quality,
as a removal does. Pictures go through the door, the queue and the counters that `Segment` uses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final, TypeAlias, TypeVar

import numpy as np

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.clock import Clock
from matteworks_common.errors import InvalidField, MatteworksError, NotFound
from matteworks_common.stages import Stages
from matteworks_common.vocabulary import SUBJECT_TYPES
from matteworks_inference.engines.contract import Engine
from matteworks_inference.networks.graph import MATTE, PIXELS
from matteworks_inference.open_inference.tensors import BYTES, FP32, UINT8, Tensor, invalid
from matteworks_inference.picture import LARGEST_PIXELS_SIDE_PX, Picture, picture_from_pixels
from matteworks_inference.tasks.segmentation.loaded_models import Quality
from matteworks_inference.tasks.segmentation.mattes import Mattes, Wish
from matteworks_inference.tasks.segmentation.segmenter import Segmented

__all__ = ["EXTENSIONS", "InferRequest", "ModelFacts", "OpenModels", "Parameter", "TensorFacts"]

# The model that chooses; not a name of the registry.
ENSEMBLE: Final = "matteworks"
# Models are told apart by their names; each has one version.
VERSION: Final = "1"
EXTENSIONS: Final = ("binary_tensor_data",)

IMAGE: Final = "image"
SUBJECT_TYPE: Final = "subject_type"
CONFIDENCE: Final = "confidence"
MODEL: Final = "model"
_OUTPUTS: Final = (MATTE, SUBJECT_TYPE, CONFIDENCE, MODEL)
_QUALITIES: Final[dict[str, Quality]] = {"fast": "fast", "balanced": "balanced", "best": "best"}

T = TypeVar("T")
Parameter: TypeAlias = bool | int | float | str


@dataclass(frozen=True)
class TensorFacts:
    """What a tensor is; -1 in the shape: any length."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class ModelFacts:
    """What a model takes and gives."""

    name: str
    platform: str
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    versions: tuple[str, ...] = (VERSION,)


@dataclass(frozen=True)
class InferRequest:
    """One run. `outputs` are names; none: all. Of `parameters` these are read: `quality`, `subject_type`, and
    `timeout` in microseconds; the others belong to other servers.
    """

    model: str
    inputs: Sequence[Tensor]
    version: str = ""
    outputs: Sequence[str] = ()
    parameters: Mapping[str, Parameter] = field(default_factory=dict)


class OpenModels:
    """The models and their runs. Use from one event loop."""

    def __init__(
        self,
        mattes: Mattes,
        engine: Engine,
        clock: Clock,
        *,
        quality: Quality,
        max_pictures: int,
        is_ready: Callable[[], bool],
    ) -> None:
        self._mattes = mattes
        self._engine = engine
        self._clock = clock
        self._quality: Quality = quality
        self._max_pictures = max_pictures
        self._is_ready = is_ready

    @property
    def is_ready(self) -> bool:
        """Whether a run that is asked for now can be done."""
        return self._is_ready()

    @property
    def server_version(self) -> str:
        """The product's version; empty where it runs from sources that are not installed."""
        try:
            return version("matteworks")
        except PackageNotFoundError:
            return ""

    def is_model_ready(self, name: str, version: str) -> bool:
        """Whether a run of that model can be done; False for one that is not known or not loaded."""
        try:
            self._find(name, version)
        except MatteworksError:
            return False
        return self.is_ready

    def facts_of(self, name: str, version: str) -> ModelFacts:
        """Raises NotFound (MODEL_NOT_FOUND), FailedPrecondition (MODEL_NOT_LOADED)."""
        self._find(name, version)
        platform = "matteworks" if name == ENSEMBLE else self._engine.facts_of(name).label
        return ModelFacts(
            name,
            platform,
            (TensorFacts(IMAGE, BYTES, (-1,)), TensorFacts(PIXELS, UINT8, (-1, -1, -1, 3))),
            (
                TensorFacts(MATTE, UINT8, (-1, -1, -1)),
                TensorFacts(SUBJECT_TYPE, BYTES, (-1,)),
                TensorFacts(CONFIDENCE, FP32, (-1,)),
                TensorFacts(MODEL, BYTES, (-1,)),
            ),
        )

    async def infer(self, request: InferRequest, deadline_s: float | None) -> list[Tensor]:
        """The tensors that were asked for, by `deadline_s` on the clock's monotonic scale.

        Raises InvalidField, InvalidPicture, NotFound, FailedPrecondition, and what `Mattes` raises.
        """
        self._find(request.model, request.version)
        outputs = request.outputs or _OUTPUTS
        for name in outputs:
            if name not in _OUTPUTS:
                raise InvalidField(
                    f"outputs[{name[:64]}]", f"There is no such output; ask for {', '.join(_OUTPUTS)}."
                )
        wish = self._wish(request, outputs)
        deadline_s = self._sooner(request, deadline_s)
        source = _only_input(request.inputs)
        count = source.shape[0]
        if not 1 <= count <= self._max_pictures:
            raise invalid(source.name, f"Send 1 to {self._max_pictures} pictures.", received=str(count))
        with self._mattes.hold(deadline_s, count):
            stages = [Stages() for _ in range(count)]
            pictures = await self._pictures(source, stages)
            made = await _all(
                [
                    self._mattes.make(picture, wish, deadline_s, own)
                    for picture, own in zip(pictures, stages, strict=True)
                ]
            )
        segmented = [result for result, _ in made]
        return [_output(name, segmented) for name in outputs]

    def _find(self, name: str, version: str) -> None:
        if version not in ("", VERSION):
            raise NotFound(
                reasons.ERROR_REASON_MODEL_NOT_FOUND,
                f"Every model has the version {VERSION} only; leave the version out.",
                field="model_version",
                metadata={"version": version[:64]},
            )
        if name != ENSEMBLE:
            self._mattes.models.find(name)

    def _wish(self, request: InferRequest, outputs: Sequence[str]) -> Wish:
        model = "" if request.model == ENSEMBLE else request.model
        quality = request.parameters.get("quality", self._quality)
        if not isinstance(quality, str) or quality not in _QUALITIES:
            raise InvalidField("parameters[quality]", f"Use {', '.join(_QUALITIES)}.")
        subject_type = request.parameters.get("subject_type", "")
        if not isinstance(subject_type, str) or (subject_type and subject_type not in SUBJECT_TYPES):
            raise InvalidField("parameters[subject_type]", f"Use {', '.join(SUBJECT_TYPES)}.")
        if model and not subject_type and SUBJECT_TYPE not in outputs and CONFIDENCE not in outputs:
            # Nobody asks what it shows, and a network that was named answers the same either way.
            subject_type = "other"
        return Wish(model, subject_type, _QUALITIES[quality])

    def _sooner(self, request: InferRequest, deadline_s: float | None) -> float | None:
        timeout_us = request.parameters.get("timeout", 0)
        if isinstance(timeout_us, bool) or not isinstance(timeout_us, int) or timeout_us < 0:
            raise InvalidField("parameters[timeout]", "Give microseconds as a whole number.")
        if not timeout_us:
            return deadline_s
        own_s = self._clock.monotonic_s() + timeout_us / 1e6
        return own_s if deadline_s is None else min(deadline_s, own_s)

    async def _pictures(self, source: Tensor, stages: Sequence[Stages]) -> list[Picture]:
        if isinstance(source.values, np.ndarray):
            count, height_px, width_px, _ = source.shape
            pixels = source.values.reshape(count, -1)
            return [
                picture_from_pixels(pixels[index].data, width_px, height_px, None) for index in range(count)
            ]
        decoded = await _all(
            [
                self._mattes.decode(bytes(content), own)
                for content, own in zip(source.values, stages, strict=True)
            ]
        )
        sizes = {_matte_size_px(picture) for picture in decoded}
        if len(sizes) > 1:
            raise invalid(
                IMAGE, "Send pictures of different sizes one by one: their mattes fit no one tensor."
            )
        return decoded


def _only_input(inputs: Sequence[Tensor]) -> Tensor:
    names = [tensor.name for tensor in inputs]
    if len(inputs) != 1 or names[0] not in (IMAGE, PIXELS):
        raise InvalidField(
            "inputs",
            f"Send one input: {IMAGE} (BYTES, encoded files) or {PIXELS} (UINT8, N x height x width x 3).",
            metadata={"received": ", ".join(names)[:128]},
        )
    (tensor,) = inputs
    if tensor.name == IMAGE and (tensor.datatype != BYTES or len(tensor.shape) not in (1, 2)):
        raise invalid(IMAGE, "Send BYTES of shape [N]: one element a file.")
    if tensor.name == IMAGE and len(tensor.shape) == 2:
        # KServe's own clients put the batch in front of the declared shape.
        if tensor.shape[1] != 1:
            raise invalid(IMAGE, "Send BYTES of shape [N] or [N, 1]: one element a file.")
        return Tensor(IMAGE, BYTES, tensor.shape[:1], tensor.values)
    if tensor.name == PIXELS:
        is_picture = len(tensor.shape) == 4 and tensor.shape[3] == 3
        if tensor.datatype != UINT8 or not is_picture:
            raise invalid(PIXELS, "Send UINT8 of shape [N, height, width, 3], red first.")
        if not all(1 <= side <= LARGEST_PIXELS_SIDE_PX for side in tensor.shape[1:3]):
            raise invalid(PIXELS, f"Height and width go from 1 to {LARGEST_PIXELS_SIDE_PX} px.")
    return tensor


def _matte_size_px(picture: Picture) -> tuple[int, ...]:
    return picture.pixels.shape[:2]


def _output(name: str, segmented: Sequence[Segmented]) -> Tensor:
    count = (len(segmented),)
    if name == SUBJECT_TYPE:
        return Tensor(name, BYTES, count, [result.subject.type.encode() for result in segmented])
    if name == MODEL:
        return Tensor(name, BYTES, count, [result.model.encode() for result in segmented])
    if name == CONFIDENCE:
        values = np.array([result.subject.confidence for result in segmented], "<f4")
        return Tensor(name, FP32, count, values)
    mattes = [result.matte for result in segmented]
    stacked = mattes[0][np.newaxis] if len(mattes) == 1 else np.stack(mattes)
    return Tensor(name, UINT8, stacked.shape, stacked)


async def _all(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Every result, or the first failure, with the rest given up."""
    tasks: list[asyncio.Task[T]] = []
    try:
        async with asyncio.TaskGroup() as group:
            tasks.extend(group.create_task(one) for one in work)
    except ExceptionGroup as failures:
        first = failures.exceptions[0]
        raise first from first.__cause__
    return [task.result() for task in tasks]
