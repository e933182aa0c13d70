"""What a caller may ask for, whatever protocol it speaks: door, decoder, networks, counters."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from dataclasses import dataclass

from matteworks_common.context import is_deferred
from matteworks_common.stages import Stages
from matteworks_imaging.decoding import Decoder
from matteworks_inference.metrics import InferenceMetrics
from matteworks_inference.picture import Picture, decode_picture
from matteworks_inference.queueing.door import PictureAdmission
from matteworks_inference.tasks.segmentation.loaded_models import LoadedModels, Quality
from matteworks_inference.tasks.segmentation.segmenter import Segmented, Segmenter

__all__ = ["Mattes", "Wish"]


@dataclass(frozen=True)
class Wish:
    """How a matte is to be made. `model` empty: chosen by subject and quality. `subject_type`: what the
    caller knows, a name of SUBJECT_TYPES; empty: it is detected.
    """

    model: str
    subject_type: str
    quality: Quality


class Mattes:
    """Pictures to mattes. Use from one event loop.

    `workers` run the decoding of files. `admission` is asked before any work: the queue bounds runs, it
    bounds pictures.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        metrics: InferenceMetrics,
        *,
        decoder: Decoder,
        workers: Executor,
        admission: PictureAdmission,
    ) -> None:
        self._segmenter = segmenter
        self._metrics = metrics
        self._decoder = decoder
        self._workers = workers
        self._admission = admission

    @property
    def models(self) -> LoadedModels:
        """The registry, and what of it is loaded."""
        return self._segmenter.models

    def hold(self, deadline_s: float | None, picture_count: int = 1) -> AbstractContextManager[None]:
        """Count pictures in hand while the block makes their mattes.

        Raises LimitExceeded (OVERLOADED) instead when there are too many, or they would be too late.
        """
        return self._admission.hold(deadline_s, picture_count)

    def check(self, wish: Wish) -> None:
        """Before any work: a wrong name must not cost a decode. Raises as `LoadedModels.find`."""
        if wish.model:
            self.models.find(wish.model)

    async def decode(self, content: bytes, stages: Stages) -> Picture:
        """The picture in a file. Raises InvalidPicture, see `decode_picture`."""
        with stages.measure("decode"):
            return await asyncio.get_running_loop().run_in_executor(
                self._workers, decode_picture, self._decoder, content
            )

    async def make(
        self, picture: Picture, wish: Wish, deadline_s: float | None, stages: Stages
    ) -> tuple[Segmented, Stages]:
        """The matte, and what it took, with one entry a stage. Raises as `Segmenter.segment`."""
        segmented = await self._segmenter.segment(
            picture,
            model=wish.model,
            subject_type=wish.subject_type,
            quality=wish.quality,
            deadline_s=deadline_s,
            stages=stages,
        )
        stages = _summed(stages)
        self._metrics.matte_made(segmented.model, segmented.subject.type or "undetermined")
        for stage, duration_s in stages.durations_s:
            self._metrics.stage_seconds.labels(stage).observe(duration_s)
            if stage == "queue":
                self._metrics.waited(duration_s, is_deferred=is_deferred())
        return segmented, stages


def _summed(stages: Stages) -> Stages:
    """One entry a stage: a picture that needed a second network went through some of them twice."""
    sums: dict[str, float] = {}
    for stage, duration_s in stages.durations_s:
        sums[stage] = sums.get(stage, 0.0) + duration_s
    result = Stages()
    for stage, duration_s in sums.items():
        result.add(stage, duration_s)
    return result
