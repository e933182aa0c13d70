"""The network's own matte of a picture, asked for once in some minutes."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

import numpy as np

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.errors import InvalidPicture
from matteworks_common.kept import Kept
from matteworks_common.stages import Stages
from matteworks_compositor.compositor import Compositor
from matteworks_compositor.editing.kept_mattes import NetworkMatte
from matteworks_compositor.options.model import Channels, OutputFormat, RenderOptions, SubjectType
from matteworks_compositor.pipeline.job import Job
from matteworks_compositor.pipeline.steps.matte import unknown_foreground
from matteworks_imaging.decoding import Decoder
from matteworks_imaging.header import read_header
from matteworks_imaging.limits import PictureFile

__all__ = ["NetworkMattes", "run_on"]

T = TypeVar("T")


class NetworkMattes:
    """As a removal would have them, at the picture's size."""

    def __init__(
        self, compositor: Compositor, decoder: Decoder, executor: Executor, kept: Kept[NetworkMatte]
    ) -> None:
        self._compositor = compositor
        self._decoder = decoder
        self._executor = executor
        self._kept = kept

    async def of(self, picture: PictureFile, request_id: str, stages: Stages) -> NetworkMatte:
        """Of a picture with a subject.

        Raises InvalidPicture (FAILED_TO_READ_IMAGE, UNKNOWN_FOREGROUND), LimitExceeded (OVERLOADED).
        """
        known = await self.look(picture, request_id, stages)
        if known.is_empty:
            raise unknown_foreground()
        return known

    async def look(self, picture: PictureFile, request_id: str, stages: Stages) -> NetworkMatte:
        """Of any picture, subject or not.

        Raises InvalidPicture (FAILED_TO_READ_IMAGE), LimitExceeded (OVERLOADED).
        """
        key = await run_on(self._executor, lambda: self._kept.key(picture.content))
        kept = self._kept.get(key)
        if kept is not None:
            return kept
        job = Job(
            request_id=request_id,
            picture=picture,
            options=RenderOptions(channels=Channels.ALPHA, format=OutputFormat.PNG),
            declared_type=SubjectType.UNSPECIFIED,
            background=None,
            roi=None,
        )
        with stages.measure("segment"):
            known = await self._ask(job)
        self._kept.put(key, known)
        return known

    async def _ask(self, job: Job) -> NetworkMatte:
        try:
            rendered = await self._compositor.render(job, Stages())
        except InvalidPicture as error:
            if error.reason != reasons.ERROR_REASON_UNKNOWN_FOREGROUND:
                raise
            size = job.picture.size
            return NetworkMatte(np.zeros((size.height_px, size.width_px), np.uint8), is_empty=True)
        matte = await run_on(self._executor, lambda: self._decoder.decode_matte(_file(rendered.content)))
        sightings = rendered.segmentation.sightings if rendered.segmentation else ()
        return NetworkMatte(matte, sightings, rendered.subject_type, rendered.confidence)


async def run_on(executor: Executor, work: Callable[[], T]) -> T:
    """`work` on a worker thread. When cancelled it returns only after it, since its memory is counted."""
    context = contextvars.copy_context()
    done = asyncio.get_running_loop().run_in_executor(executor, context.run, work)
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        await asyncio.wait([done])
        raise


def _file(content: bytes) -> PictureFile:
    return PictureFile(content, read_header(content), field="matte_image")
