"""A hole's surroundings cut out for who paints it, and what was painted laid back in.

Nothing but the hole and its rim is changed, whatever comes back. Painters shift levels a little even where
they are to change nothing; how much, the surroundings tell, and that is taken out of what they painted.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from matteworks_imaging.box import Box, Size, fit_within
from matteworks_imaging.resampling import array_size, grid_size, resize

__all__ = ["RIM_PX", "Cut", "cut_around", "fit_levels", "lay_in"]

Bytes8 = NDArray[np.uint8]

# Outside a hole, this far, what was painted goes over into what was there.
RIM_PX = 4
# What is seen around a hole at least, and of the hole's longer side.
LEAST_MARGIN_PX = 64
MARGIN_SHARE = 0.5
# What is sent at most; painters work in about this size.
MOST_SENT_SIDE_PX = 1536
MOST_SENT_PIXELS = 1536 * 1024
# A painter that is off by more than this many levels beside the hole has painted something else there.
MOST_SHIFT_LEVELS = 40
# Of the surroundings so many must agree before levels are taken from them.
LEAST_AGREEING = 0.25
# Cells a side in which shifts of levels are spread, and how far.
LEVELS_GRID = 128
BLUR_CELLS = 8.0
# Rows that are blended at once, which bounds the memory.
STRIP_ROWS = 256


@dataclass(frozen=True, slots=True)
class Cut:
    """The part of a picture in `box`, perhaps reduced: `pixels` h×w×3, `hole` h×w, 255 in it and its rim, 0
    elsewhere.
    """

    box: Box
    pixels: Bytes8
    hole: Bytes8


def cut_around(picture: Bytes8, hole: Bytes8, part: Box) -> Cut:
    """What of the hole is in `part`, and what is around it, as near to a square as the picture allows.

    What is to be painted goes over the hole's edge, so that nothing of what was there is left beside it.
    """
    size = array_size(hole)
    left_px, top_px, width_px, height_px = cv2.boundingRect(hole[part.slices])
    box = _surroundings(Box(part.left_px + left_px, part.top_px + top_px, width_px, height_px), size)
    pixels, mask = np.ascontiguousarray(picture[box.slices]), np.ascontiguousarray(hole[box.slices])
    sent = fit_within(box.size, MOST_SENT_PIXELS, MOST_SENT_SIDE_PX)
    if sent == box.size:
        return Cut(box, pixels, _with_rim(mask))
    # A small pixel that holds any of the hole is hole.
    some = cv2.resize(mask, (sent.width_px, sent.height_px), interpolation=cv2.INTER_AREA)
    return Cut(box, resize(pixels, sent), _with_rim(cv2.inRange(some, 1, 255)))


def fit_levels(painted: Bytes8, cut: Cut) -> Bytes8:
    """`painted`, of the size of `cut`, with the levels that the surroundings of the hole have in `cut`.

    Where the painter painted something else beside the hole, nothing is learnt.
    """
    height, width = cut.hole.shape
    reach = max(2, max(height, width) // 48)
    near = cv2.dilate(cut.hole, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
    known = (near > 0) & (cut.hole == 0)
    shift = cut.pixels.astype(np.float32) - painted
    agrees = known & (np.abs(shift).max(axis=2) <= MOST_SHIFT_LEVELS)
    agreeing = int(agrees.sum())
    if not agreeing or agreeing < LEAST_AGREEING * int(known.sum()):
        return painted
    weight = agrees.astype(np.float32)
    shift *= weight[..., None]
    usual = shift.sum(axis=(0, 1)) / agreeing
    # A blur of what is known, by how much is known; far from it the usual shift. It is smooth, so a coarse
    # grid holds it.
    grid = grid_size(width, height, LEVELS_GRID)
    known_there = cv2.GaussianBlur(cv2.resize(weight, grid, interpolation=cv2.INTER_AREA), (0, 0), BLUR_CELLS)
    shift_there = cv2.GaussianBlur(cv2.resize(shift, grid, interpolation=cv2.INTER_AREA), (0, 0), BLUR_CELLS)
    coarse = (shift_there + 1e-3 * usual) / (known_there[..., None] + 1e-3)
    smooth = cv2.resize(coarse.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.clip(np.rint(painted + smooth), 0, 255), np.uint8)


def lay_in(picture: Bytes8, hole: Bytes8, box: Box, painted: Bytes8, *, rim_px: int) -> None:
    """Put `painted`, stretched over `box`, into the hole of `picture` (H×W×3), in place.

    Pixels further than `rim_px` outside the hole are not touched.
    """
    large = resize(painted, box.size)
    part, mask = picture[box.slices], hole[box.slices]
    if rim_px == 0:
        inside = mask > 0
        part[inside] = large[inside]
        return
    for top in range(0, box.height_px, STRIP_ROWS):
        rows = slice(top, min(top + STRIP_ROWS, box.height_px))
        # A strip sees the hole that begins in its neighbours, too.
        first = max(0, top - rim_px - 1)
        seen = mask[first : rows.stop + rim_px + 1]
        if not seen.any():
            continue
        distance = cv2.distanceTransform(np.asarray(cv2.bitwise_not(seen), np.uint8), cv2.DIST_L2, 5)
        distance = distance[rows.start - first : rows.stop - first]
        weight = np.clip(1 - distance / (rim_px + 1), 0, 1)[..., None]
        there = part[rows]
        blended = np.rint(there + weight * (large[rows].astype(np.float32) - there))
        touched = weight[..., 0] > 0
        there[touched] = blended[touched].astype(np.uint8)


def _with_rim(mask: cv2.typing.MatLike) -> Bytes8:
    side = 2 * RIM_PX + 1
    return np.asarray(cv2.dilate(mask, np.ones((side, side), np.uint8)), np.uint8)


def _surroundings(hole: Box, picture: Size) -> Box:
    margin = max(LEAST_MARGIN_PX, round(MARGIN_SHARE * hole.size.longer_side_px))
    side = hole.size.longer_side_px + 2 * margin
    left_px, width_px = _span(hole.left_px, hole.width_px, side, picture.width_px)
    top_px, height_px = _span(hole.top_px, hole.height_px, side, picture.height_px)
    return Box(left_px, top_px, width_px, height_px)


def _span(first: int, length: int, wanted: int, available: int) -> tuple[int, int]:
    """Start and length of `wanted` around a span, moved and cut to what is available."""
    wanted = min(wanted, available)
    start = min(max(0, first + length // 2 - wanted // 2), available - wanted)
    return start, wanted
