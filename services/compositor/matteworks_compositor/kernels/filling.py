"""A hole in a picture filled with patches of what is around it.

PatchMatch: Barnes, Shechtman, Finkelstein, Goldman, "A Randomized Correspondence Algorithm for Structural
Image Editing", SIGGRAPH 2009, by the library PyPatchMatch. It compares patches for seconds a megapixel, so
only a hole's surroundings are given to it, and large ones reduced. Equal pictures are filled equally.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from patchmatch import patch_match

from matteworks_imaging.box import Box, Size, fit_within
from matteworks_imaging.resampling import array_size, resize

__all__ = ["fill_holes", "regions_of"]

Bytes8 = NDArray[np.uint8]

# What one call may give to the library, all regions together: about four seconds of a core.
WORK_PIXELS = 1_000_000
# Radius of the compared patches.
PATCH_RADIUS = 3
LEAST_MARGIN_PX = 48
# Beyond this many separate holes their surroundings are one region.
MOST_REGIONS = 8
# A region that is nearly all hole shows too little to copy from.
MOST_HOLE = 0.6
# Smallest side in which the library finds patches at all.
LEAST_SIDE_PX = 16


def fill_holes(picture: Bytes8, hole: Bytes8, out_of_reach: Bytes8 | None = None) -> None:
    """Fill `picture` (H×W×3), in place, where `hole` (H×W, 0 or 255) is 255. Nothing else is changed.

    At least a fifth of the picture must be outside the hole. Nothing is copied from where `out_of_reach`
    (H×W, 0 or 255) is 255; then the whole picture is one region.
    """
    if out_of_reach is not None:
        _fill_region(picture, hole, WORK_PIXELS, out_of_reach)
        return
    regions = regions_of(hole)
    total = sum(region.size.pixel_count for region in regions)
    for region in regions:
        budget = max(LEAST_SIDE_PX**2, WORK_PIXELS * region.size.pixel_count // total)
        _fill_region(picture[region.slices], hole[region.slices], budget)


def _fill_region(picture: Bytes8, hole: Bytes8, budget: int, out_of_reach: Bytes8 | None = None) -> None:
    size = array_size(hole)
    worked = fit_within(size, budget, max(size.width_px, size.height_px))
    if worked == size:
        filled = _fill(picture, hole, out_of_reach)
    else:
        # A small pixel that holds any of the hole is hole: nothing of it may come back.
        some = cv2.resize(hole, (worked.width_px, worked.height_px), interpolation=cv2.INTER_AREA)
        small_hole = np.asarray(cv2.inRange(some, 1, 255), np.uint8)
        if out_of_reach is not None:
            far = cv2.resize(
                out_of_reach, (worked.width_px, worked.height_px), interpolation=cv2.INTER_NEAREST
            )
            out_of_reach = np.asarray(cv2.bitwise_and(far, cv2.bitwise_not(small_hole)), np.uint8)
        filled = resize(_fill(resize(picture, worked), small_hole, out_of_reach), size)
    inside = hole > 0
    picture[inside] = filled[inside]


def _fill(picture: Bytes8, hole: Bytes8, out_of_reach: Bytes8 | None) -> Bytes8:
    """As `patch_match.inpaint`, also for pictures that are narrower than its patches."""
    size = array_size(hole)
    right = max(0, LEAST_SIDE_PX - size.width_px)
    below = max(0, LEAST_SIDE_PX - size.height_px)

    def widened(pixels: Bytes8) -> Bytes8:
        wide = cv2.copyMakeBorder(pixels, 0, below, 0, right, cv2.BORDER_REFLECT)
        return np.ascontiguousarray(wide, np.uint8)

    filled = patch_match.inpaint(
        widened(picture),
        widened(hole),
        global_mask=None if out_of_reach is None else widened(out_of_reach),
        patch_size=PATCH_RADIUS,
    )
    return np.asarray(filled[: size.height_px, : size.width_px], np.uint8)


def regions_of(hole: Bytes8) -> list[Box]:
    """Boxes that do not overlap, each with holes and enough around them to copy from."""
    size = array_size(hole)
    count, _, facts, _ = cv2.connectedComponentsWithStats(hole, connectivity=8)
    boxes = [Box(*(int(value) for value in facts[index][:4])) for index in range(1, min(count, 65))]
    if count > 65:
        boxes = [Box(*cv2.boundingRect(hole))]
    boxes = _merged([_with_margin(box, size) for box in boxes])
    if len(boxes) > MOST_REGIONS:
        boxes = [_with_margin(Box(*cv2.boundingRect(hole)), size)]
    is_rich = all(cv2.countNonZero(hole[box.slices]) <= MOST_HOLE * box.size.pixel_count for box in boxes)
    return boxes if is_rich else [Box(0, 0, size.width_px, size.height_px)]


def _with_margin(box: Box, size: Size) -> Box:
    margin = max(LEAST_MARGIN_PX, box.size.longer_side_px // 2)
    left_px, top_px = max(0, box.left_px - margin), max(0, box.top_px - margin)
    right_px = min(size.width_px, box.right_px + margin)
    bottom_px = min(size.height_px, box.bottom_px + margin)
    return Box(left_px, top_px, right_px - left_px, bottom_px - top_px)


def _merged(boxes: list[Box]) -> list[Box]:
    """The boxes, those that overlap as one."""
    merged: list[Box] = []
    for box in boxes:
        current = box
        while touching := [other for other in merged if _overlap(current, other)]:
            merged = [other for other in merged if other not in touching]
            for other in touching:
                current = _around(current, other)
        merged.append(current)
    return merged


def _overlap(one: Box, other: Box) -> bool:
    return (
        one.left_px < other.right_px
        and other.left_px < one.right_px
        and one.top_px < other.bottom_px
        and other.top_px < one.bottom_px
    )


def _around(one: Box, other: Box) -> Box:
    left_px, top_px = min(one.left_px, other.left_px), min(one.top_px, other.top_px)
    right_px, bottom_px = max(one.right_px, other.right_px), max(one.bottom_px, other.bottom_px)
    return Box(left_px, top_px, right_px - left_px, bottom_px - top_px)
