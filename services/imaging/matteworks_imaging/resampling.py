"""Changing the size of pixels, each way with the method that measured best for it.

Colours going down by a quarter or more: a Lanczos window over every source pixel, so nothing aliases.
Alpha going down: plain averages, which cannot overshoot into a halo. Everything else: cubic. Rough fields
of colours and alpha: the mean of whole cells.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
import pyvips
from numpy.typing import NDArray

from matteworks_imaging.box import Size

__all__ = [
    "array_size",
    "average_cells",
    "averaged",
    "grid_size",
    "is_strong_reduction",
    "reduce_image",
    "resize",
]

Bytes8 = NDArray[np.uint8]

# Reductions milder than this need no window: cubic interpolation of four pixels sees them all.
MILD_REDUCTION: Final = 0.75


def resize(pixels: Bytes8, size: Size) -> Bytes8:
    """`pixels` (H×W alpha or H×W×3 colours) at `size`; the same array when it has that size already."""
    source = array_size(pixels)
    if source == size:
        return pixels
    if not is_strong_reduction(source, size):
        return _resize_cv(pixels, size, cv2.INTER_CUBIC)
    if pixels.ndim == 2 or size.width_px > source.width_px or size.height_px > source.height_px:
        return _resize_cv(pixels, size, cv2.INTER_AREA)
    return _reduce_colours(np.ascontiguousarray(pixels), source, size)


def array_size(pixels: Bytes8) -> Size:
    """Extent of an array of pixels."""
    return Size(pixels.shape[1], pixels.shape[0])


def average_cells(pixels: Bytes8, cell: tuple[int, int]) -> Bytes8:
    """The mean of every `cell` (width, height) of `pixels`, H×W or H×W×3.

    Only whole cells, which is several times faster than shares of pixels; what is left at the right and
    below goes on as its neighbour.
    """
    columns, rows = pixels.shape[1] // cell[0], pixels.shape[0] // cell[1]
    whole: cv2.typing.MatLike = pixels[: rows * cell[1], : columns * cell[0]]
    across, down = cell
    # By two is the one step that the library takes with vector instructions.
    while across % 2 == down % 2 == 0:
        across, down = across // 2, down // 2
        whole = cv2.resize(whole, (columns * across, rows * down), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA), np.uint8)


def _resize_cv(pixels: Bytes8, size: Size, method: int) -> Bytes8:
    return np.asarray(cv2.resize(pixels, (size.width_px, size.height_px), interpolation=method), np.uint8)


def _reduce_colours(pixels: Bytes8, source: Size, size: Size) -> Bytes8:
    image = pyvips.Image.new_from_memory(pixels.data, source.width_px, source.height_px, 3, "uchar")
    return reduce_image(image, size)


def reduce_image(image: pyvips.Image, size: Size) -> Bytes8:
    """The three bands of `image`, H×W×3 at `size`; they are computed only now, part by part."""
    reduced = image.resize(
        size.width_px / image.width, vscale=size.height_px / image.height, kernel="lanczos3"
    )
    flat = np.frombuffer(reduced.write_to_memory(), np.uint8)
    array = flat.reshape(reduced.height, reduced.width, 3)
    # The library rounds sizes its own way; a pixel more or less must not reach the plan.
    return array if array_size(array) == size else _resize_cv(array, size, cv2.INTER_CUBIC)


def is_strong_reduction(source: Size, size: Size) -> bool:
    """Whether colours on this way need a window over every source pixel."""
    return min(size.width_px / source.width_px, size.height_px / source.height_px) < MILD_REDUCTION


def averaged(image: Bytes8, width_px: int, height_px: int) -> Bytes8:
    """`image` (h×w or h×w×3) in that size, no larger than its own on at least one side.

    Whole halves come first: four pixels to one is nearly free, the odd rest of the way costs by the
    pixel that is left. Each half is rounded to a level of its own.
    """
    height, width = image.shape[:2]
    while width % 2 == height % 2 == 0 and width >= 2 * width_px and height >= 2 * height_px:
        width, height = width // 2, height // 2
        image = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    if (width, height) == (width_px, height_px):
        return image
    return np.asarray(cv2.resize(image, (width_px, height_px), interpolation=cv2.INTER_AREA), np.uint8)


def grid_size(width_px: int, height_px: int, longest: int) -> tuple[int, int]:
    """Columns and rows of a grid over a picture: at most `longest` a side, no finer than the pixels."""
    scale = min(1.0, longest / max(width_px, height_px))
    return max(1, round(width_px * scale)), max(1, round(height_px * scale))
