"""A shadow as a field of darkness around the subject, free of any resolution, and its pixels.

Shadows are soft, so they are computed on a small copy of the subject and stretched when the final
size is known. Everything in between is measured in pixels of the subject's alpha as it was given.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["EMPTY_FIELD", "ShadowField", "ShadowLayer", "lay_under"]

# Darkness below this is not seen and does not widen a box: one step of 8-bit alpha.
VISIBLE_DARKNESS = 1.0 / 255
# Rows that are united at once: the intermediate pictures stay in the processor's cache.
STRIP_ROWS = 32


@dataclass(frozen=True)
class ShadowLayer:
    """Pixels of a shadow: black with `alpha` (h×w uint8), its corner relative to the canvas."""

    alpha: NDArray[np.uint8]
    left_px: int
    top_px: int

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to see."""
        return self.alpha.size == 0


@dataclass(frozen=True)
class ShadowField:
    """Darkness 0..1 (float32) on a coarse grid.

    The grid covers the rectangle from (`left`, `top`) with size `width` × `height`, in pixels of the
    subject's alpha, origin at the corner of that alpha. All may be fractional, left and top negative.
    """

    darkness: NDArray[np.float32]
    left: float
    top: float
    width: float
    height: float

    @property
    def is_empty(self) -> bool:
        """Whether there is no shadow at all."""
        return self.darkness.size == 0

    def visible_box(self, opacity_percent: float) -> tuple[int, int, int, int]:
        """Left, top, right, bottom of what can be seen at this opacity, in pixels of the subject's alpha.

        All zero when nothing can be seen.
        """
        if self.is_empty or opacity_percent <= 0:
            return (0, 0, 0, 0)
        seen = np.asarray(self.darkness * (opacity_percent / 100) >= VISIBLE_DARKNESS)
        columns = np.flatnonzero(seen.any(axis=0))
        rows = np.flatnonzero(seen.any(axis=1))
        if columns.size == 0:
            return (0, 0, 0, 0)
        step_x = self.width / self.darkness.shape[1]
        step_y = self.height / self.darkness.shape[0]
        return (
            math.floor(self.left + columns[0] * step_x),
            math.floor(self.top + rows[0] * step_y),
            math.ceil(self.left + (columns[-1] + 1) * step_x),
            math.ceil(self.top + (rows[-1] + 1) * step_y),
        )

    def rasterise(
        self,
        opacity_percent: float,
        *,
        canvas_width_px: int,
        canvas_height_px: int,
        origin_left: float = 0.0,
        origin_top: float = 0.0,
        scale_x: float = 1.0,
        scale_y: float = 1.0,
    ) -> ShadowLayer:
        """The pixels of this shadow on a canvas, clipped at its frame.

        (`origin_left`, `origin_top`) is where the corner of the subject's alpha lies on the canvas and
        `scale_x`, `scale_y` the width and height of a pixel of that alpha there; rounding may make them
        differ. Alpha is proportional to `opacity_percent` (0..100).
        """
        left = origin_left + self.left * scale_x
        top = origin_top + self.top * scale_y
        width, height = self.width * scale_x, self.height * scale_y
        first_x, last_x = max(0, math.floor(left)), min(canvas_width_px, math.ceil(left + width))
        first_y, last_y = max(0, math.floor(top)), min(canvas_height_px, math.ceil(top + height))
        if self.is_empty or opacity_percent <= 0 or first_x >= last_x or first_y >= last_y:
            return ShadowLayer(np.zeros((0, 0), np.uint8), 0, 0)
        rows, columns = self.darkness.shape
        step_x, step_y = columns / width, rows / height
        # Sixteen bits hold the gradient while it is stretched; eight would turn it into terraces.
        grey = np.rint(self.darkness * np.float32(65535 * opacity_percent / 100)).astype(np.uint16)
        inverse = np.array(
            [
                [step_x, 0, (first_x + 0.5 - left) * step_x - 0.5],
                [0, step_y, (first_y + 0.5 - top) * step_y - 0.5],
            ],
            np.float64,
        )
        stretched = cv2.warpAffine(
            grey,
            inverse,
            (last_x - first_x, last_y - first_y),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=0,
        )
        alpha = cv2.convertScaleAbs(stretched, alpha=1 / 257)
        return ShadowLayer(np.asarray(alpha, np.uint8), first_x, first_y)


EMPTY_FIELD = ShadowField(np.zeros((0, 0), np.float32), 0.0, 0.0, 0.0, 0.0)


def lay_under(rgba: NDArray[np.uint8], shadow: ShadowLayer) -> None:
    """Put `shadow` under the subject in `rgba` (H×W×4, straight alpha), in place.

    Opaque pixels stay as they are, empty ones become black with the shadow's alpha, and in between
    both are mixed as if the shadow had been painted first.
    """
    if shadow.is_empty:
        return
    height, width = shadow.alpha.shape
    box = rgba[shadow.top_px : shadow.top_px + height, shadow.left_px : shadow.left_px + width]
    for first in range(0, height, STRIP_ROWS):
        rows = slice(first, first + STRIP_ROWS)
        subject = cv2.extractChannel(box[rows], 3)
        below = shadow.alpha[rows]
        covered = cv2.multiply(subject, below, scale=1 / 255)
        # A sum beyond 255 is cut by the first addition, so the covered part goes first.
        united = cv2.add(subject, cv2.subtract(below, covered))
        # The share of the colour that is the subject's: all of it where it is opaque or unshaded, so those
        # pixels come out of the product exactly as they were; none where it is empty: the shadow is black.
        share = cv2.divide(subject, united, scale=255)
        box[rows] = cv2.multiply(box[rows], cv2.merge((share, share, share, share)), scale=1 / 255)
        cv2.insertChannel(united, box[rows], 3)
