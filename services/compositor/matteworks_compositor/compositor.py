"""From a checked job to a rendering: admission, then the pipeline. Knows nothing of the wire."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Final

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.context import current_call
from matteworks_common.errors import InvalidPicture
from matteworks_common.stages import Stages
from matteworks_compositor.admission import Admission
from matteworks_compositor.inference_client import Segmentation
from matteworks_compositor.metrics import CompositorMetrics
from matteworks_compositor.options.model import OutputFormat, SubjectType
from matteworks_compositor.pipeline.job import Job, made
from matteworks_compositor.pipeline.pipeline import Pipeline
from matteworks_imaging.box import Box, Size
from matteworks_imaging.header import ImageFormat
from matteworks_imaging.limits import PictureFile

__all__ = ["Compositor", "Rendered"]

# Coders that hold the picture several times over; a weight of 1 is 12 bytes a pixel in all. Measured by
# `python -m tools.bench.formats`.
INPUT_WEIGHTS: Final[dict[ImageFormat, int]] = {"avif": 2}
OUTPUT_WEIGHTS: Final = {
    OutputFormat.WEBP: 2,
    OutputFormat.WEBP_LOSSLESS: 2,
    OutputFormat.GIF: 2,
    OutputFormat.AVIF: 4,
}


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
    matte_confidence: float | None = None
    # What the network said; None: it was not asked.
    segmentation: Segmentation | None = None


class Compositor:
    """Renders jobs, as many at once as `admission` lets in; results of at most `max_result_bytes`."""

    def __init__(
        self,
        pipeline: Pipeline,
        admission: Admission,
        metrics: CompositorMetrics,
        max_result_bytes: int,
    ) -> None:
        self._max_result_bytes = max_result_bytes
        self._pipeline = pipeline
        self._admission = admission
        self._metrics = metrics
        self._step_names = frozenset(step.name for step in pipeline.steps)

    async def render(self, job: Job, stages: Stages) -> Rendered:
        """The result of `job`; see `render_all`."""
        (rendered,) = await self.render_all([job], stages)
        return rendered

    async def render_all(self, jobs: Sequence[Job], stages: Stages) -> list[Rendered]:
        """The results of `jobs`, which are of one picture and one roi: the network is asked once.

        One after the other, so that they need no more memory than the largest and the files together. The
        first one's steps are told in `stages`, of the others `output.2` and so on as a whole.
        Raises LimitExceeded (OVERLOADED), InvalidPicture (RESOLUTION_TOO_HIGH) for a result that no message
        can hold, and whatever the pipeline raises.
        """
        call = current_call.get()
        remaining_s = call.remaining_s() if call else None
        async with AsyncExitStack() as admitted:
            with stages.measure("queue"):
                weight = max(_megapixels(job) for job in jobs)
                await admitted.enter_async_context(self._admission.admit(weight, remaining_s))
            first = await self._run(jobs[0], stages)
            results = [first]
            for number, job in enumerate(jobs[1:], 2):
                with stages.measure(f"output.{number}"):
                    rendered = await self._run(replace(job, known=first.segmentation), Stages())
                results.append(rendered)
                self.check_result(sum(len(result.content) for result in results))
        return results

    async def _run(self, job: Job, stages: Stages) -> Rendered:
        state = await self._pipeline.run(job, stages)
        self.check_result(len(state.encoded))
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
            matte_confidence=state.segmentation.matte_confidence if state.segmentation else None,
            segmentation=state.segmentation,
        )

    def check_result(self, size_bytes: int) -> None:
        """Raise InvalidPicture (RESOLUTION_TOO_HIGH) when no message can hold so much."""
        if size_bytes > self._max_result_bytes:
            raise InvalidPicture(
                reasons.ERROR_REASON_RESOLUTION_TOO_HIGH,
                f"The result has {size_bytes // 2**20} MB; at most {self._max_result_bytes // 2**20} can be "
                "sent. Ask for fewer pixels or for a format that packs better.",
                metadata={"size_bytes": str(size_bytes), "limit_bytes": str(self._max_result_bytes)},
            )


def _megapixels(job: Job) -> int:
    """What the request weighs: every picture that is decoded for it."""
    files = [job.picture, job.background, job.brought_matte]
    headers = [file.header for file in files if isinstance(file, PictureFile)]
    read = sum(header.megapixels * INPUT_WEIGHTS.get(header.format, 1) for header in headers)
    written = sum(header.megapixels for header in headers) * OUTPUT_WEIGHTS.get(job.options.format, 1)
    # The reader is done before the writer begins.
    return max(read, written)
