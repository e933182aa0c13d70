"""What colour alone says of a pixel: whether it looks like the subject nearby or like the ground nearby.

Two histograms over lightness and hue, smoothed, one of each side. They know nothing of places, so they are
evidence and never an answer: a white shirt before a white wall gives no evidence at all.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["colour_evidence"]

Bytes: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float32]
Mask: TypeAlias = NDArray[np.bool_]

# Steps of L, a and b (CIE 1976, in OpenCV's bytes): of hue only what photographs hold, twice as fine.
LIGHTNESS_CELLS: Final = 16
HUE_CELLS: Final = 32
HUE_FROM: Final = 64
HUE_STEP: Final = 4
# Colours count that are within this part of the diagonal from what is asked about.
NEARBY: Final = 0.06
# A share of the pixels below this is chance.
RARE: Final = 1e-5


def colour_evidence(rgb: Bytes, subject: Mask, ground: Mask, asked: Mask) -> tuple[Floats, Floats]:
    """How much each pixel (h×w) looks like `subject` (1) or `ground` (0), and how surely, 0..1.

    `rgb` is h×w×3. Only the sides' pixels near `asked` count. Without any on a side nothing is sure.
    """
    side = 2 * int(NEARBY * float(np.hypot(*asked.shape))) + 1
    near = cv2.boxFilter(asked.astype(np.float32), cv2.CV_32F, (side, side)) > 1e-6
    lab = cv2.blur(cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB), (3, 3))
    hue = np.clip((lab[..., 1:].astype(np.int32) - HUE_FROM) // HUE_STEP, 0, HUE_CELLS - 1)
    cell = (lab[..., 0].astype(np.int32) // (256 // LIGHTNESS_CELLS) * HUE_CELLS + hue[..., 0]) * HUE_CELLS
    cell += hue[..., 1]
    own, foreign = (_shares(cell[mask & near])[cell] for mask in (subject, ground))
    likeness = (own + RARE / 2) / (own + foreign + RARE)
    return likeness.astype(np.float32), np.abs(2 * likeness - 1).astype(np.float32)


def _shares(cells: NDArray[np.int32]) -> NDArray[np.float64]:
    """How much of `cells` each cell of the histogram holds, smoothed, flat."""
    shape = (LIGHTNESS_CELLS, HUE_CELLS, HUE_CELLS)
    counts = np.bincount(cells, minlength=int(np.prod(shape))).astype(np.float64).reshape(shape)
    for axis in (0, 1, 2) * 2:
        padded = np.pad(counts, [(1, 1) if other == axis else (0, 0) for other in range(3)], mode="edge")
        middle = np.moveaxis(padded, axis, 0)
        counts = np.moveaxis((middle[:-2] + 2 * middle[1:-1] + middle[2:]) / 4, 0, axis)
    return np.asarray(counts.reshape(-1) / max(float(counts.sum()), 1.0), np.float64)
