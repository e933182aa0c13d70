"""Cuts out what somebody points at. Knows no wire."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.errors import InvalidField, InvalidPicture
from matteworks_common.stages import Stages
from matteworks_compositor.compositor import Compositor
from matteworks_compositor.editing.corrector import Corrected
from matteworks_compositor.editing.network_mattes import NetworkMattes, run_on
from matteworks_compositor.kernels.selection import Selection, select
from matteworks_compositor.options.model import OutputFormat, RenderOptions, SubjectType
from matteworks_compositor.pipeline.job import Job
from matteworks_compositor.pipeline.steps.encode import encode_as
from matteworks_imaging.decoding import Decoder
from matteworks_imaging.limits import PictureFile

__all__ = ["Choice", "Selector"]


@dataclass(frozen=True, slots=True)
class Choice:
    """What to cut out, and how to render it."""

    picture: PictureFile
    selection: Selection
    options: RenderOptions
    background: PictureFile | None
    request_id: str


class Selector:
    """Works on pictures under the compositor's admission, one step after the other."""

    def __init__(
        self,
        compositor: Compositor,
        mattes: NetworkMattes,
        decoder: Decoder,
        executor: Executor,
        *,
        threads: int,
    ) -> None:
        self._compositor = compositor
        self._mattes = mattes
        self._decoder = decoder
        self._executor = executor
        self._threads = threads

    async def select(self, choice: Choice, stages: Stages) -> Corrected:
        """The cut-out of what is selected, and its matte.

        Raises InvalidField when nothing is left, InvalidPicture (FAILED_TO_READ_IMAGE), LimitExceeded
        (OVERLOADED). A picture in which the network sees no subject has its colours alone.
        """
        whole = await self._whole(choice, stages)
        with stages.measure("select"):
            matte = await run_on(self._executor, lambda: self._selected(choice, whole))
        job = Job(
            request_id=choice.request_id,
            picture=choice.picture,
            options=choice.options,
            declared_type=SubjectType.OTHER,
            brought_matte=matte,
            background=choice.background,
            roi=None,
        )
        rendered = await self._compositor.render(job, stages)
        with stages.measure("matte_file"):
            encoded = await run_on(
                self._executor, lambda: encode_as(OutputFormat.PNG, matte, self._threads, None, None)
            )
        return Corrected(rendered, encoded)

    async def _whole(self, choice: Choice, stages: Stages) -> NDArray[np.uint8] | None:
        try:
            return await self._mattes.of(choice.picture, choice.request_id, stages)
        except InvalidPicture as error:
            if error.reason != reasons.ERROR_REASON_UNKNOWN_FOREGROUND:
                raise
            return None

    def _selected(self, choice: Choice, whole: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
        pixels = self._decoder.decode(choice.picture).pixels
        known = np.zeros(pixels.shape[:2], np.uint8) if whole is None else whole
        matte = select(pixels, known, choice.selection)
        if not matte.any():
            raise InvalidField(
                "inside_points", "Nothing is left of the picture. Add a point on what is wanted."
            )
        return matte
