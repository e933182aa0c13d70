"""Crop, erase and expand: decode, change, encode, under the same admission as removals. Knows no wire."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from matteworks_common.stages import Stages
from matteworks_compositor.editing.areas import (
    AspectRatio,
    expanded_size,
    largest_of_ratio,
    missing_for_ratio,
    with_room,
)
from matteworks_compositor.editing.holes import Mask, check_mask, read_hole
from matteworks_compositor.editing.workbench import (
    Edited,
    EditOutput,
    Workbench,
    check_output_size,
    with_alpha,
)
from matteworks_compositor.geometry import Margins, pad_to_ratio
from matteworks_compositor.inference_client import MatteSource
from matteworks_compositor.kernels.filling import fill_holes
from matteworks_compositor.options.model import CropMargins, Quality, SubjectType
from matteworks_compositor.options.rules import margins_in_pixels
from matteworks_compositor.pipeline.steps.matte import SURE_ALPHA, unknown_foreground
from matteworks_compositor.pipeline.steps.subject_box import VISIBLE_ALPHA
from matteworks_imaging.box import Box, Size, scale_box_outwards
from matteworks_imaging.decoding import Decoded
from matteworks_imaging.limits import PictureFile
from matteworks_imaging.network_view import network_view
from matteworks_imaging.resampling import array_size

__all__ = ["Editor"]

Bytes8 = NDArray[np.uint8]
# Share of an enlarged picture that there must be to copy from without its subject.
LEAST_SOURCE = 0.03
# How far from its borders a picture is repeated in them at least.
LEAST_REACH_PX = 32


class Editor:
    """Edits pictures on `bench`.

    Every method raises LimitExceeded (OVERLOADED), InvalidPicture (FAILED_TO_READ_IMAGE;
    RESOLUTION_TOO_HIGH for a result that no message can hold), and what it says itself.
    """

    def __init__(self, bench: Workbench, mattes: MatteSource) -> None:
        self._bench = bench
        self._mattes = mattes

    async def crop(
        self, file: PictureFile, wanted: Box | AspectRatio | CropMargins, output: EditOutput, stages: Stages
    ) -> Edited:
        """The part of the picture that is `wanted`; `area` is where it was.

        A ratio is centred on the subject. Raises InvalidPicture (UNKNOWN_FOREGROUND) when there is none.
        """
        async with self._bench.admit([file], output):
            decoded = await self._bench.compute("decode", stages, lambda: self._bench.decode(file, output))
            if isinstance(wanted, Box):
                area = wanted
            else:
                with stages.measure("segment"):
                    subject = await self._subject_of(decoded)
                area = _area(decoded.size, subject, wanted)
            check_output_size(area.size, output)
            part = with_alpha(decoded, area)
            return await self._bench.compute(
                "encode", stages, lambda: self._bench.encode(part, decoded, output, area)
            )

    async def erase(self, file: PictureFile, mask: Mask, output: EditOutput, stages: Stages) -> Edited:
        """The picture, filled where `mask` is set; `area` is all of it.

        Raises InvalidField for a mask of another size, an empty one, and one of nearly everything.
        """
        bench, files = self._bench, check_mask(file, mask)
        check_output_size(file.size, output)
        async with bench.admit(files, output):
            decoded = await bench.compute("decode", stages, lambda: bench.decode(file, output))
            hole = await bench.compute("mask", stages, lambda: read_hole(bench.decoder, mask, decoded))
            decoded = await bench.compute("fill", stages, lambda: _fill(decoded, hole))
            whole = Box(0, 0, decoded.size.width_px, decoded.size.height_px)
            canvas = with_alpha(decoded, whole)
            return await bench.compute("encode", stages, lambda: bench.encode(canvas, decoded, output, whole))

    async def expand(
        self, file: PictureFile, wanted: Margins | AspectRatio, output: EditOutput, stages: Stages
    ) -> Edited:
        """The picture with filled borders; `area` is where it lies in them.

        Raises InvalidField for borders of nothing, wider than the picture, or of too many pixels in all.
        """
        borders = wanted if isinstance(wanted, Margins) else missing_for_ratio(file.size, wanted.sides)
        size = expanded_size(file.size, borders, is_ratio=isinstance(wanted, AspectRatio))
        check_output_size(size, output)
        growth = -(-size.pixel_count // file.size.pixel_count)
        async with self._bench.admit([file], output, growth):
            decoded = await self._bench.compute("decode", stages, lambda: self._bench.decode(file, output))
            area = Box(borders.left_px, borders.top_px, decoded.size.width_px, decoded.size.height_px)
            with stages.measure("segment"):
                matte = await self._matte_of(decoded)
            larger = await self._bench.compute("fill", stages, lambda: _widen(decoded, borders, matte))
            canvas = with_alpha(larger, Box(0, 0, size.width_px, size.height_px))
            return await self._bench.compute(
                "encode", stages, lambda: self._bench.encode(canvas, decoded, output, area)
            )

    async def _subject_of(self, decoded: Decoded) -> Box:
        matte = await self._matte_of(decoded)
        if int(matte.max(initial=0)) < SURE_ALPHA:
            raise unknown_foreground()
        box = Box(*cv2.boundingRect(cv2.inRange(matte, VISIBLE_ALPHA, 255)))
        return scale_box_outwards(box, array_size(matte), decoded.size)

    async def _matte_of(self, decoded: Decoded) -> Bytes8:
        """h×w, stretched over the picture."""
        seen = await self._bench.run(lambda: network_view(decoded.pixels, decoded.alpha))
        found = await self._mattes.segment(
            seen,
            source_size=decoded.size,
            model="",
            quality=Quality.UNSPECIFIED,
            subject_type=SubjectType.UNSPECIFIED,
        )
        return found.matte


def _area(picture: Size, subject: Box, wanted: AspectRatio | CropMargins) -> Box:
    if isinstance(wanted, AspectRatio):
        return largest_of_ratio(picture, wanted.sides, subject)
    room = margins_in_pixels(wanted, subject, 1.0)
    if wanted.aspect_ratio is not None:
        room = pad_to_ratio(subject.size, room, wanted.aspect_ratio)
    return with_room(picture, subject, room)


def _fill(decoded: Decoded, hole: Bytes8) -> Decoded:
    pixels, alpha = decoded.pixels, decoded.alpha
    # The decoder may hand out its own memory, which nobody may write to.
    pixels = pixels if pixels.flags.writeable else pixels.copy()
    fill_holes(pixels, hole)
    if alpha is not None:
        alpha = np.maximum(alpha, hole)
    return Decoded(pixels, alpha, decoded.metadata)


def _middle(picture: Size, borders: Margins) -> Bytes8:
    """255 where an enlarged picture is too far from its borders to be repeated in them, such as a subject."""
    sides = (borders.top_px, borders.bottom_px, borders.left_px, borders.right_px)
    reach = max(LEAST_REACH_PX, max(sides) // 2)
    shape = (picture.height_px + sides[0] + sides[1], picture.width_px + sides[2] + sides[3])
    far = np.zeros(shape, np.uint8)
    # A side that is not widened may be reached all along.
    top, bottom, left, right = (side + reach if side else 0 for side in sides)
    far[top : shape[0] - bottom, left : shape[1] - right] = 255
    return far


def _subject_in(canvas: Size, borders: Margins, matte: Bytes8, picture: Size) -> Bytes8:
    """255 where the subject is in an enlarged picture, and a little around it: a shop sells one of it."""
    seen = np.asarray(cv2.inRange(matte, VISIBLE_ALPHA, 255), np.uint8)
    seen = np.asarray(cv2.dilate(seen, np.ones((9, 9), np.uint8)), np.uint8)
    across = (picture.width_px, picture.height_px)
    subject = np.zeros((canvas.height_px, canvas.width_px), np.uint8)
    place = Box(borders.left_px, borders.top_px, *across).slices
    subject[place] = cv2.resize(seen, across, interpolation=cv2.INTER_NEAREST)
    return subject


def _widen(decoded: Decoded, borders: Margins, matte: Bytes8) -> Decoded:
    sides = (borders.top_px, borders.bottom_px, borders.left_px, borders.right_px)
    pixels = np.asarray(cv2.copyMakeBorder(decoded.pixels, *sides, cv2.BORDER_REPLICATE), np.uint8)
    inside = np.zeros(decoded.pixels.shape[:2], np.uint8)
    hole = np.asarray(cv2.copyMakeBorder(inside, *sides, cv2.BORDER_CONSTANT, value=(255,)), np.uint8)
    far = _middle(decoded.size, borders)
    subject = _subject_in(array_size(far), borders, matte, decoded.size)
    # Of a picture that is nearly all subject, the subject is what there is to repeat.
    is_rich = cv2.countNonZero(cv2.max(cv2.max(far, subject), hole)) < (1 - LEAST_SOURCE) * far.size
    fill_holes(pixels, hole, np.maximum(far, subject) if is_rich else far)
    alpha = decoded.alpha
    if alpha is not None:
        alpha = np.asarray(cv2.copyMakeBorder(alpha, *sides, cv2.BORDER_CONSTANT, value=(255,)), np.uint8)
    return Decoded(pixels, alpha, decoded.metadata)
