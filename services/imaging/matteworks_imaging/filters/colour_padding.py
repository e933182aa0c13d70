"""The subject's colours carried on beyond its edge, where nothing is seen.

Whoever averages neighbouring pixels of a cut-out (a JPEG block, a change of size) would mix the black
below alpha 0 into the edge. What is filled in here comes from the subject alone.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["blank_where_empty", "pad_colours"]

Bytes8 = NDArray[np.uint8]

# The filled colours are smooth; they are made on a copy that is smaller by this much.
CELL_PX = 8
# A cell with less of the subject than this gives too rough a mean of 8-bit colours.
SMALLEST_COVERAGE = 0.2
# Rows handled at once: bounds the memory of a large picture.
STRIP_ROWS = 256


def pad_colours(colours: Bytes8, alpha: Bytes8) -> Bytes8:
    """`colours` (H×W×3, 0 where `alpha`, H×W, is 0), in place, with the empty part filled smoothly.

    Returns the same array. A picture without subject stays black.
    """
    seen = cv2.inRange(alpha, 1, 255)
    if cv2.countNonZero(seen) == alpha.size:
        return colours
    height, width = alpha.shape
    # Whole cells only: averaging by a whole number is many times faster. The rest repeats the last cell.
    cell_x, cell_y = min(CELL_PX, width), min(CELL_PX, height)
    cells = (width // cell_x, height // cell_y)
    inner = (slice(cells[1] * cell_y), slice(cells[0] * cell_x))
    coverage = cv2.resize(seen[inner], cells, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    del seen  # A byte a pixel; the strips below ask again.
    mean = cv2.resize(colours[inner], cells, interpolation=cv2.INTER_AREA).astype(np.float32)
    weight = np.where(coverage >= SMALLEST_COVERAGE, coverage, 0).astype(np.float32)
    mean = np.where(weight[..., None] > 0, mean / np.maximum(coverage, 1e-6)[..., None], 0).astype(np.float32)
    field = np.clip(_fill(mean, (weight > 0).astype(np.float32)) + 0.5, 0, 255).astype(np.uint8)
    step_x, step_y = 1 / cell_x, 1 / cell_y
    for start in range(0, height, STRIP_ROWS):
        rows = slice(start, min(start + STRIP_ROWS, height))
        inverse = np.array([[step_x, 0, step_x / 2 - 0.5], [0, step_y, (start + 0.5) * step_y - 0.5]])
        enlarged = cv2.warpAffine(
            field,
            inverse,
            (width, rows.stop - start),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        cv2.copyTo(enlarged, cv2.inRange(alpha[rows], 0, 0), colours[rows])
    return colours


def blank_where_empty(colours: Bytes8, alpha: Bytes8) -> None:
    """Make `colours` (H×W×3) 0 where `alpha` (H×W) is 0, in place."""
    for start in range(0, alpha.shape[0], STRIP_ROWS):
        rows = slice(start, start + STRIP_ROWS)
        seen = cv2.inRange(alpha[rows], 1, 255)
        colours[rows] = cv2.bitwise_and(colours[rows], colours[rows], mask=seen)


def _fill(values: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """`values` where `weight` is 1, and beyond them the nearest mean, coarser with distance."""
    height, width = weight.shape
    if weight.min() > 0 or max(height, width) == 1:
        return values
    half = ((width + 1) // 2, (height + 1) // 2)
    coarse_weight = cv2.resize(weight, half, interpolation=cv2.INTER_AREA)
    coarse = cv2.resize(values * weight[..., None], half, interpolation=cv2.INTER_AREA)
    coarse = coarse / np.maximum(coarse_weight, 1e-6)[..., None]
    below = _fill(coarse.astype(np.float32), (coarse_weight > 1e-6).astype(np.float32))
    enlarged = cv2.resize(below, (width, height), interpolation=cv2.INTER_LINEAR)
    filled: NDArray[np.float32] = np.where(weight[..., None] > 0, values, enlarged)
    return filled
