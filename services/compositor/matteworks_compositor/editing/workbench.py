"""What every tool that changes a picture needs: a turn, threads, a decoder, and how a file is made."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.context import current_call
from matteworks_common.errors import InvalidField, InvalidPicture
from matteworks_common.stages import Stages
from matteworks_compositor.admission import Admission
from matteworks_compositor.compositor import INPUT_WEIGHTS, OUTPUT_WEIGHTS
from matteworks_compositor.kernels.flattening import flatten_onto
from matteworks_compositor.options.model import OutputFormat
from matteworks_compositor.pipeline.steps.encode import encode_as
from matteworks_imaging.box import Box, Size
from matteworks_imaging.decoding import Decoded, Decoder
from matteworks_imaging.header import MAX_PIXELS
from matteworks_imaging.limits import PictureFile
from matteworks_imaging.resampling import array_size, resize

__all__ = ["EditOutput", "Edited", "Workbench", "with_alpha"]

Bytes8 = NDArray[np.uint8]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class EditOutput:
    """The file to make; never AUTO or ZIP. `quality` 1 to 100 of lossy formats, None: the format's own.
    `size` None: as large as the picture is.
    """

    format: OutputFormat = OutputFormat.PNG
    quality: int | None = None
    keep_metadata: bool = False
    size: Size | None = None
    # Whether transparent parts lie on white also where the format could keep them.
    is_opaque: bool = False


@dataclass(frozen=True, slots=True)
class Edited:
    """A finished file. `area` is where what was given, or what was taken, lies; see each tool."""

    content: bytes
    format: OutputFormat
    size: Size
    area: Box


class Workbench:
    """Shared by the tools: as many pictures at once as `admission` lets in, results of at most
    `max_result_bytes`.
    """

    def __init__(
        self,
        decoder: Decoder,
        executor: Executor,
        admission: Admission,
        *,
        threads: int,
        max_result_bytes: int,
    ) -> None:
        self.decoder = decoder
        self._executor = executor
        self._admission = admission
        self._threads = threads
        self._max_result_bytes = max_result_bytes

    def admit(
        self, files: list[PictureFile], output: EditOutput, growth: int = 1
    ) -> AbstractAsyncContextManager[None]:
        """A turn to work on `files`, of which something `growth` times as large is made.

        Raises LimitExceeded (OVERLOADED), DeadlineExceeded.
        """
        written = files[0].header.megapixels * OUTPUT_WEIGHTS.get(output.format, 1)
        return self.admit_weight(files, written, growth)

    def admit_weight(
        self, files: list[PictureFile], written: int, growth: int = 1
    ) -> AbstractAsyncContextManager[None]:
        """As `admit`, for a result that is told in megapixels of Admission."""
        read = sum(file.header.megapixels * INPUT_WEIGHTS.get(file.header.format, 1) for file in files)
        call = current_call.get()
        return self._admission.admit(max(read, written) * growth, call.remaining_s() if call else None)

    def decode(self, file: PictureFile, output: EditOutput) -> Decoded:
        """The upright picture. Blocks. Raises InvalidPicture."""
        return self.decoder.decode(file, with_metadata=output.keep_metadata)

    def encode(self, canvas: Bytes8, decoded: Decoded, output: EditOutput, area: Box) -> Edited:
        """The file of `canvas`, H×W×3 or H×W×4 with straight alpha, and the metadata of `decoded`. Blocks.

        Raises InvalidField for a size of another ratio, InvalidPicture for a file that no message can hold.
        """
        if output.size is not None:
            canvas = _scaled(canvas, output.size)
        if (output.is_opaque or output.format.is_flat) and canvas.shape[2] == 4:
            canvas = flatten_onto(np.full((*canvas.shape[:2], 3), 255, np.uint8), canvas)
        content = encode_as(output.format, canvas, self._threads, output.quality, decoded.metadata)
        if len(content) > self._max_result_bytes:
            raise InvalidPicture(
                reasons.ERROR_REASON_RESOLUTION_TOO_HIGH,
                f"The result has {len(content) // 2**20} MB; at most {self._max_result_bytes // 2**20} can "
                "be sent. Ask for a format that packs better.",
            )
        return Edited(content, output.format, array_size(canvas), area)

    async def compute(self, stage: str, stages: Stages, work: Callable[[], T]) -> T:
        """As `run`, with its time among the stages."""
        with stages.measure(stage):
            return await self.run(work)

    async def run(self, work: Callable[[], T]) -> T:
        """`work` on a worker thread. When cancelled it returns only after it, since its memory is counted."""
        context = contextvars.copy_context()
        done = asyncio.get_running_loop().run_in_executor(self._executor, context.run, work)
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            await asyncio.wait([done])
            raise


def with_alpha(decoded: Decoded, area: Box) -> Bytes8:
    """A part of the picture: H×W×4 where the file is transparent anywhere, else H×W×3."""
    part = decoded.pixels[area.slices]
    return part if decoded.alpha is None else np.dstack((part, decoded.alpha[area.slices]))


def check_output_size(picture: Size, output: EditOutput) -> None:
    """Raises InvalidField for a size of another ratio than the result's, or of too many pixels."""
    wanted = output.size
    if wanted is None:
        return
    if min(wanted.width_px, wanted.height_px) < 1 or wanted.pixel_count > MAX_PIXELS:
        raise InvalidField("output.size", f"Give 1 to {MAX_PIXELS // 1_000_000} megapixels.")
    fitting_px = wanted.width_px * picture.height_px / picture.width_px
    if abs(fitting_px - wanted.height_px) > 1:
        raise InvalidField(
            "output.size",
            f"Give a size of the picture's ratio, {picture.width_px} × {picture.height_px}, such as "
            f"{wanted.width_px} × {max(1, round(fitting_px))}.",
        )


def _scaled(canvas: Bytes8, size: Size) -> Bytes8:
    """Colours and alpha apart; at the edges of transparent parts the colours below them count as well."""
    colours = resize(np.ascontiguousarray(canvas[..., :3]), size)
    if canvas.shape[2] == 3:
        return colours
    return np.dstack((colours, resize(np.ascontiguousarray(canvas[..., 3]), size)))
