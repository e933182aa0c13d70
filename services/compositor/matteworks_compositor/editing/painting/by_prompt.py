"""Fill and expand by a prompt, or erase by a network: the surroundings of the hole are sent to a painter, and
its answer laid in.

A painter may take a minute. While it does, a picture has no turn and holds no pixels but those that were
sent; it is decoded once more when the answer is there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from matteworks_common.errors import InvalidField
from matteworks_common.stages import Stages
from matteworks_compositor.editing.areas import AspectRatio, expanded_size, missing_for_ratio
from matteworks_compositor.editing.holes import Mask, check_mask, read_hole
from matteworks_compositor.editing.painting.client import HolePainter
from matteworks_compositor.editing.workbench import (
    Edited,
    EditOutput,
    Workbench,
    check_output_size,
    with_alpha,
)
from matteworks_compositor.geometry import Margins
from matteworks_compositor.kernels.filling import regions_of
from matteworks_compositor.kernels.painted_parts import RIM_PX, Cut, cut_around, fit_levels, lay_in
from matteworks_imaging.box import Box
from matteworks_imaging.decoding import Decoded
from matteworks_imaging.limits import PictureFile

__all__ = ["MAX_PROMPT_CHARACTERS", "PaintedPicture", "Painting", "check_prompt"]

Bytes8 = NDArray[np.uint8]
MAX_PROMPT_CHARACTERS = 1000


@dataclass(frozen=True, slots=True)
class PaintedPicture:
    """A finished file, and who painted."""

    edited: Edited
    painter: str


@dataclass(frozen=True, slots=True)
class _Canvas:
    """A picture that may be written to, and where it is to be painted."""

    decoded: Decoded
    hole: Bytes8


class Painting:
    """Both tools raise what `Editor` raises, and the painter's errors: FailedPrecondition (TOOL_UNAVAILABLE)
    when there is none, MatteworksError (PAINTER_FAILED).
    """

    def __init__(self, bench: Workbench, painter: HolePainter) -> None:
        self._bench = bench
        self._painter = painter

    async def fill(
        self, file: PictureFile, mask: Mask, prompt: str, output: EditOutput, stages: Stages
    ) -> PaintedPicture:
        """The picture, painted where `mask` is set; `area` is all of it.

        Raises InvalidField as `Editor.erase`, and for a prompt that is empty or too long.
        """
        check_prompt(prompt)
        if not prompt.strip():
            raise InvalidField("prompt", "Say what to paint; Erase fills without a prompt.")
        files = check_mask(file, mask)
        check_output_size(file.size, output)
        whole = Box(0, 0, file.size.width_px, file.size.height_px)
        build = self._builder(file, mask, output)
        return await self._paint(files, 1, build, prompt.strip(), RIM_PX, output, whole, stages)

    async def erase(
        self, file: PictureFile, mask: Mask, output: EditOutput, stages: Stages
    ) -> PaintedPicture:
        """As `Editor.erase`, by the painter: holes that are far apart are painted one after the other."""
        files = check_mask(file, mask)
        check_output_size(file.size, output)
        whole = Box(0, 0, file.size.width_px, file.size.height_px)
        build = self._builder(file, mask, output)
        return await self._paint(files, 1, build, "", RIM_PX, output, whole, stages)

    async def expand(
        self,
        file: PictureFile,
        wanted: Margins | AspectRatio,
        prompt: str,
        output: EditOutput,
        stages: Stages,
    ) -> PaintedPicture:
        """The picture with painted borders; `area` is where it lies in them. Raises as `Editor.expand`."""
        check_prompt(prompt)
        borders = wanted if isinstance(wanted, Margins) else missing_for_ratio(file.size, wanted.sides)
        size = expanded_size(file.size, borders, is_ratio=isinstance(wanted, AspectRatio))
        check_output_size(size, output)

        def build() -> _Canvas:
            return _widened(self._bench.decode(file, output), borders)

        growth = -(-size.pixel_count // file.size.pixel_count)
        area = Box(borders.left_px, borders.top_px, file.size.width_px, file.size.height_px)
        # Without a rim: the picture itself stays as it is.
        return await self._paint([file], growth, build, prompt.strip(), 0, output, area, stages)

    def _builder(self, file: PictureFile, mask: Mask, output: EditOutput) -> Callable[[], _Canvas]:
        def build() -> _Canvas:
            decoded = self._bench.decode(file, output)
            hole = read_hole(self._bench.decoder, mask, decoded)
            pixels = decoded.pixels if decoded.pixels.flags.writeable else decoded.pixels.copy()
            alpha = None if decoded.alpha is None else np.maximum(decoded.alpha, hole)
            return _Canvas(Decoded(pixels, alpha, decoded.metadata), hole)

        return build

    async def _paint(
        self,
        files: list[PictureFile],
        growth: int,
        build: Callable[[], _Canvas],
        prompt: str,
        rim_px: int,
        output: EditOutput,
        area: Box,
        stages: Stages,
    ) -> PaintedPicture:
        bench = self._bench
        async with bench.admit(files, output, growth):
            cuts = await bench.compute("decode", stages, lambda: _cuts(build(), is_one=bool(prompt)))
        with stages.measure("paint"):
            painted = [await self._painter.paint(cut.pixels, cut.hole, prompt) for cut in cuts]
        async with bench.admit(files, output, growth):
            canvas = await bench.compute("decode", stages, build)

            def lay_all_in() -> None:
                for cut, part in zip(cuts, painted, strict=True):
                    levelled = fit_levels(part.pixels, cut)
                    lay_in(canvas.decoded.pixels, canvas.hole, cut.box, levelled, rim_px=rim_px)

            await bench.compute("fill", stages, lay_all_in)
            size = canvas.decoded.size
            result = with_alpha(canvas.decoded, Box(0, 0, size.width_px, size.height_px))
            edited = await bench.compute(
                "encode", stages, lambda: bench.encode(result, canvas.decoded, output, area)
            )
        return PaintedPicture(edited, painted[0].painter)


def check_prompt(prompt: str) -> None:
    """Raises InvalidField for one that is too long."""
    if len(prompt) > MAX_PROMPT_CHARACTERS:
        raise InvalidField("prompt", f"Give at most {MAX_PROMPT_CHARACTERS} characters.")


def _cuts(canvas: _Canvas, *, is_one: bool) -> list[Cut]:
    """What is sent. Words mean all holes at once; without words each is like what is around it."""
    height, width = canvas.hole.shape
    parts = [Box(0, 0, width, height)] if is_one else regions_of(canvas.hole)
    return [cut_around(canvas.decoded.pixels, canvas.hole, part) for part in parts]


def _widened(decoded: Decoded, borders: Margins) -> _Canvas:
    """What is to be painted shows the edge of the picture drawn out, from which a painter sees the levels."""
    sides = (borders.top_px, borders.bottom_px, borders.left_px, borders.right_px)
    pixels = np.asarray(cv2.copyMakeBorder(decoded.pixels, *sides, cv2.BORDER_REPLICATE), np.uint8)
    inside = np.zeros(decoded.pixels.shape[:2], np.uint8)
    hole = np.asarray(cv2.copyMakeBorder(inside, *sides, cv2.BORDER_CONSTANT, value=(255,)), np.uint8)
    alpha = decoded.alpha
    if alpha is not None:
        alpha = np.asarray(cv2.copyMakeBorder(alpha, *sides, cv2.BORDER_CONSTANT, value=(255,)), np.uint8)
    return _Canvas(Decoded(pixels, alpha, decoded.metadata), hole)
