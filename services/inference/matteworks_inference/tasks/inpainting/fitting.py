"""A hole laid out in the size that a network or server wants, and what it answers taken back.

The part keeps its aspect ratio: it is scaled until one side fits, and what is left of the other side is its
own mirror image, which is nobody's hole and is cut off again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from matteworks_imaging.box import Size
from matteworks_imaging.resampling import array_size, resize
from matteworks_inference.networks.registry import nearest_size_px
from matteworks_inference.picture import MatteArray, PixelArray
from matteworks_inference.tasks.inpainting.painter import Hole

__all__ = ["Fitted", "fit"]


@dataclass(frozen=True, slots=True)
class Fitted:
    """`hole` has the wanted size; the part lies in its upper left corner, `shown` large."""

    hole: Hole
    shown: Size
    original: Size

    @property
    def size(self) -> Size:
        """The wanted size."""
        return array_size(self.hole.mask)

    def take_back(self, painted: PixelArray) -> PixelArray:
        """The part of `painted`, which has the wanted size, at the size of what was fitted."""
        part = painted[: self.shown.height_px, : self.shown.width_px]
        return resize(np.ascontiguousarray(part), self.original)


def fit(hole: Hole, sizes_px: Sequence[tuple[int, int]]) -> Fitted:
    """`hole` in the one of `sizes_px` (width, height) whose aspect ratio is nearest."""
    original = array_size(hole.mask)
    width_px, height_px = nearest_size_px(sizes_px, original.width_px, original.height_px)
    scale = min(width_px / original.width_px, height_px / original.height_px)
    shown = Size(
        min(width_px, max(1, round(original.width_px * scale))),
        min(height_px, max(1, round(original.height_px * scale))),
    )
    right, below = width_px - shown.width_px, height_px - shown.height_px
    pixels = cv2.copyMakeBorder(resize(hole.pixels, shown), 0, below, 0, right, cv2.BORDER_REFLECT)
    mask = cv2.copyMakeBorder(_any_of(hole.mask, shown), 0, below, 0, right, cv2.BORDER_CONSTANT, value=(0,))
    fitted = Hole(np.ascontiguousarray(pixels, np.uint8), np.asarray(mask, np.uint8), hole.prompt)
    return Fitted(fitted, shown, original)


def _any_of(mask: MatteArray, size: Size) -> MatteArray:
    """`mask` at `size`: a pixel that holds any of the hole is hole, so that nothing of it shows through."""
    if array_size(mask) == size:
        return mask
    is_smaller = size.width_px < mask.shape[1]
    method = cv2.INTER_AREA if is_smaller else cv2.INTER_NEAREST
    scaled = cv2.resize(mask, (size.width_px, size.height_px), interpolation=method)
    return np.asarray(cv2.inRange(scaled, 1, 255), np.uint8)
