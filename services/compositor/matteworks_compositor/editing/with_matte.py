"""Renders a cut-out with a matte that is there already, and gives the matte beside it."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from matteworks_common.stages import Stages
from matteworks_compositor.compositor import Compositor, Rendered
from matteworks_compositor.editing.network_mattes import run_on
from matteworks_compositor.options.model import OutputFormat, RenderOptions, SubjectType
from matteworks_compositor.pipeline.job import Job
from matteworks_compositor.pipeline.steps.encode import encode_as
from matteworks_imaging.limits import PictureFile

__all__ = ["CutOut", "CutOutRequest", "WithMatte"]

Bytes8 = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class CutOutRequest:
    """The picture, and how its cut-out is rendered."""

    picture: PictureFile
    options: RenderOptions
    background: PictureFile | None
    request_id: str


@dataclass(frozen=True, slots=True)
class CutOut:
    """The cut-out, and its matte as a grey PNG of the picture's size."""

    rendered: Rendered
    matte: bytes


class WithMatte:
    """Runs the whole pipeline but the network, under the compositor's admission."""

    def __init__(self, compositor: Compositor, executor: Executor, *, threads: int) -> None:
        self._compositor = compositor
        self._executor = executor
        self._threads = threads

    async def render(
        self, request: CutOutRequest, matte: Bytes8, stages: Stages, *, factor: Bytes8 | None = None
    ) -> CutOut:
        """The cut-out by `matte` (H×W, 0 to 255).

        `factor`, when given, is what the pipeline multiplies the picture's own alpha with to get that matte.
        Raises LimitExceeded (OVERLOADED) and what the steps raise.
        """
        job = Job(
            request_id=request.request_id,
            picture=request.picture,
            options=request.options,
            declared_type=SubjectType.OTHER,
            brought_matte=matte if factor is None else factor,
            background=request.background,
            roi=None,
        )
        rendered = await self._compositor.render(job, stages)
        with stages.measure("matte_file"):
            encoded = await run_on(
                self._executor, lambda: encode_as(OutputFormat.PNG, matte, self._threads, None, None)
            )
        return CutOut(rendered, encoded)

    def check_result(self, size_bytes: int) -> None:
        """Raise InvalidPicture (RESOLUTION_TOO_HIGH) when no message can hold so much."""
        self._compositor.check_result(size_bytes)
