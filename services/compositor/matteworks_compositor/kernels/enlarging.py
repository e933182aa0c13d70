"""Pixels at a larger size that average to the picture they came from.

What a network drew, or else a Lanczos window, is a first guess. Shrunk again it must give the picture; what
is missing is enlarged and added (iterative back-projection, Irani and Peleg, 1991). That brings back what a
network smoothed away. Overshoots are then cut off near the levels of the neighbourhood: edges have no rims.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from matteworks_imaging.box import Size

__all__ = ["enlarge", "first_guess"]

Bytes8 = NDArray[np.uint8]
ROUNDS: Final = 2
# How far a pixel may go beyond the darkest and the lightest of its neighbourhood, in levels.
OVERSHOOT_LEVELS: Final = 3


def first_guess(pixels: Bytes8, size: Size) -> Bytes8:
    """`pixels` (H×W×C) at `size` by a Lanczos window."""
    larger = cv2.resize(pixels, (size.width_px, size.height_px), interpolation=cv2.INTER_LANCZOS4)
    return np.asarray(larger, np.uint8).reshape(size.height_px, size.width_px, -1)


def enlarge(
    pixels: Bytes8, size: Size, drawn: Bytes8 | None = None, overshoot_levels: int = OVERSHOOT_LEVELS
) -> Bytes8:
    """`pixels` (H×W×C) at `size`, no side smaller. `drawn` is the same picture, larger, of any size.

    Takes 9 bytes for each pixel of the result beside it.
    """
    result = np.empty((size.height_px, size.width_px, pixels.shape[2]), np.uint8)
    for channel in range(pixels.shape[2]):
        plane = np.ascontiguousarray(pixels[..., channel])
        guess = None if drawn is None else np.ascontiguousarray(drawn[..., channel])
        result[..., channel] = _plane(plane, size, guess, overshoot_levels)
    return result


def _plane(plane: Bytes8, size: Size, drawn: Bytes8 | None, overshoot_levels: int) -> Bytes8:
    small, large = (plane.shape[1], plane.shape[0]), (size.width_px, size.height_px)
    known = plane.astype(np.float32)
    if drawn is None:
        levels = cv2.resize(known, large, interpolation=cv2.INTER_LANCZOS4)
    else:
        shrinks = drawn.shape[1] > size.width_px
        method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
        levels = cv2.resize(drawn.astype(np.float32), large, interpolation=method)
    for _ in range(ROUNDS):
        missing = cv2.subtract(known, cv2.resize(levels, small, interpolation=cv2.INTER_AREA))
        cv2.add(levels, cv2.resize(missing, large, interpolation=cv2.INTER_CUBIC), dst=levels)
    neighbours = np.ones((3, 3), np.uint8)
    margin = np.uint8(overshoot_levels)
    lowest = np.maximum(cv2.erode(plane, neighbours), margin) - margin
    highest = np.minimum(cv2.dilate(plane, neighbours), 255 - margin) + margin
    np.maximum(levels, 0, out=levels)
    # Rounds, and cuts off at 255.
    result = cv2.convertScaleAbs(levels)
    del levels
    cv2.max(result, cv2.resize(lowest, large, interpolation=cv2.INTER_NEAREST), dst=result)
    cv2.min(result, cv2.resize(highest, large, interpolation=cv2.INTER_NEAREST), dst=result)
    return np.asarray(result, np.uint8)
