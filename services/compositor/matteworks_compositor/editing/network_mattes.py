"""The network's own matte of a picture, asked for once in some minutes."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from matteworks_common.stages import Stages
from matteworks_compositor.compositor import Compositor
from matteworks_compositor.editing.kept_mattes import KeptMattes
from matteworks_compositor.options.model import Channels, OutputFormat, RenderOptions, SubjectType
from matteworks_compositor.pipeline.job import Job
from matteworks_imaging.decoding import Decoder
from matteworks_imaging.header import read_header
from matteworks_imaging.limits import PictureFile

__all__ = ["NetworkMattes", "run_on"]

T = TypeVar("T")


class NetworkMattes:
    """As a removal would have them, at the picture's size."""

    def __init__(
        self, compositor: Compositor, decoder: Decoder, executor: Executor, kept: KeptMattes
    ) -> None:
        self._compositor = compositor
        self._decoder = decoder
        self._executor = executor
        self._kept = kept

    async def of(self, picture: PictureFile, request_id: str, stages: Stages) -> NDArray[np.uint8]:
        """H×W, 0 to 255, not to be written to.

        Raises InvalidPicture (FAILED_TO_READ_IMAGE, UNKNOWN_FOREGROUND), LimitExceeded (OVERLOADED).
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
            rendered = await self._compositor.render(job, Stages())
        matte = await run_on(self._executor, lambda: self._decoder.decode_matte(_file(rendered.content)))
        self._kept.put(key, matte)
        return matte


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
