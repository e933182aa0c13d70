"""From a checked job to a rendering: admission, then the pipeline. Knows nothing of the wire."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass

from matteworks_common.context import current_call
from matteworks_common.stages import Stages
from matteworks_compositor.admission import Admission
from matteworks_compositor.metrics import CompositorMetrics
from matteworks_compositor.options.model import OutputFormat, SubjectType
from matteworks_compositor.pipeline.job import Job, made
from matteworks_compositor.pipeline.pipeline import Pipeline
from matteworks_imaging.box import Box, Size
from matteworks_imaging.limits import PictureFile

__all__ = ["Compositor", "Rendered"]

WEBP_WEIGHT = 2


@dataclass(frozen=True, slots=True)
class Rendered:
    """A finished file and its facts. Boxes and sizes as in `matteworks.compositor.v1.Rendering`."""

    content: bytes
    format: OutputFormat
    size: Size
    source_size: Size
    foreground: Box
    is_shrunk: bool
    subject_type: SubjectType
    confidence: float
    model: str


class Compositor:
    """Renders jobs, as many at once as `admission` lets in."""

    def __init__(self, pipeline: Pipeline, admission: Admission, metrics: CompositorMetrics) -> None:
        self._pipeline = pipeline
        self._admission = admission
        self._metrics = metrics
        self._step_names = frozenset(step.name for step in pipeline.steps)

    async def render(self, job: Job, stages: Stages) -> Rendered:
        """The result of `job`. Raises LimitExceeded (OVERLOADED), and whatever the pipeline raises."""
        call = current_call.get()
        remaining_s = call.remaining_s() if call else None
        async with AsyncExitStack() as admitted:
            with stages.measure("queue"):
                await admitted.enter_async_context(self._admission.admit(_megapixels(job), remaining_s))
            state = await self._pipeline.run(job, stages)
        for name, duration_s in stages.durations_s:
            if name in self._step_names:
                self._metrics.observe_step(name, duration_s)
        self._metrics.count_result(state.encoded_format, len(state.encoded), job.picture.header.pixel_count)
        return Rendered(
            content=state.encoded,
            format=state.encoded_format,
            size=made(state.plan).canvas,
            source_size=job.picture.size,
            foreground=made(state.foreground_box),
            is_shrunk=state.is_shrunk,
            subject_type=state.subject_type,
            confidence=state.subject_confidence,
            model=state.model,
        )


def _megapixels(job: Job) -> int:
    """What the request weighs: every picture that is decoded for it."""
    files = [job.picture, job.background, job.brought_matte]
    weight = sum(file.header.megapixels for file in files if isinstance(file, PictureFile))
    # The WebP encoder keeps the picture several times over, the others hardly once.
    return weight * WEBP_WEIGHT if job.options.format is OutputFormat.WEBP else weight
