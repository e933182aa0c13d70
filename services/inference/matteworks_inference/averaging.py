"""Shrinking by averaging areas, the cheap way down first."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["averaged", "grid_size"]


def averaged(image: npt.NDArray[np.uint8], width_px: int, height_px: int) -> npt.NDArray[np.uint8]:
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
