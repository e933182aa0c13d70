"""What a call would give, from the head of the file alone: no pixel is decoded, no network runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from matteworks_compositor.options.model import OutputFormat, Quality, SubjectType
from matteworks_compositor.options.rules import output_limits
from matteworks_compositor.pipeline.job import Job
from matteworks_imaging.box import Size, fit_within

__all__ = ["Expected", "Preview", "WishCheck", "expected"]


@dataclass(frozen=True, slots=True)
class Expected:
    """One result to come. `size` None: it depends on the subject, which a crop follows."""

    format: OutputFormat
    size: Size | None
    source_size: Size
    is_shrunk: bool


class WishCheck(Protocol):
    """Knows which models there are."""

    async def check(self, *, model: str, quality: Quality, subject_type: SubjectType) -> None:
        """Raises the inference service's own errors for a wish that it could not serve."""


class Preview:
    """Checks jobs as far as that is possible without their pixels."""

    def __init__(self, wishes: WishCheck) -> None:
        self._wishes = wishes

    async def look(self, jobs: Sequence[Job]) -> list[Expected]:
        """What each of `jobs`, which are of one picture, would give. Raises what `WishCheck.check` raises."""
        first = jobs[0]
        await self._wishes.check(model=first.model, quality=first.quality, subject_type=first.declared_type)
        return [expected(job) for job in jobs]


def expected(job: Job) -> Expected:
    """The facts of a job's result that do not depend on the subject."""
    source = job.picture.size
    if job.options.crop is not None:
        return Expected(job.options.format, None, source, is_shrunk=False)
    limits = output_limits(job)
    size = fit_within(source, limits.max_pixel_count, limits.max_side_px, limits.max_shorter_side_px)
    return Expected(job.options.format, size, source, is_shrunk=size != source)
