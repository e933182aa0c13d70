"""A matte corrected by brush strokes: taken at their word in the middle, by the picture's edges at the rim.

Between the core of a stroke, which is sure, and what is out of its reach, the line is drawn where the
picture has its strongest edge (watershed: Meyer, "Color Image Segmentation", 1992, on colour differences);
the line is then softened as far as the colours mix there (guided filter). Only the surroundings of a stroke
are worked on, and large ones reduced.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from matteworks_imaging.box import Box, Size, fit_within
from matteworks_imaging.filters.guided_filter import guided_filter

__all__ = ["Stroke", "StrokeKind", "apply_mask", "apply_stroke"]

Bytes8 = NDArray[np.uint8]

# Shares of a brush's radius: what is sure, and what is never touched beyond.
CORE: Final = 0.55
REACH: Final = 1.15
# As many pixels of a mask's rim are open to the picture's edges, on either side of its line.
MASK_RIM_PX: Final = 8
WORK_PIXELS: Final = 1_000_000
_FRACTION_BITS: Final = 4
_EDGE_VARIANCE: Final = 1e-4
_SURE, _BEYOND = 1, 2


class StrokeKind(IntEnum):
    """As on the wire."""

    KEEP = 1
    ERASE = 2
    RESTORE = 3


@dataclass(frozen=True, slots=True)
class Stroke:
    """A line through `points` (x, y in pixels) with a round brush."""

    kind: StrokeKind
    points: Sequence[tuple[float, float]]
    radius_px: float


def apply_stroke(rgb: Bytes8, matte: Bytes8, first: Bytes8 | None, stroke: Stroke) -> None:
    """Correct `matte` (H×W, 0 to 255), in place. `rgb` (H×W×3) is the picture; `first`, the network's matte,
    is needed for RESTORE alone.
    """
    size = Size(matte.shape[1], matte.shape[0])
    area = _surroundings(stroke, size)
    if area is None:
        return
    corners = np.asarray(stroke.points, np.float64) - (area.left_px, area.top_px)
    fixed = np.round(corners * (1 << _FRACTION_BITS)).astype(np.int32).reshape(-1, 1, 2)
    shape = (area.height_px, area.width_px)
    core = _drawn(shape, fixed, stroke.radius_px * CORE)
    near = _drawn(shape, fixed, stroke.radius_px * REACH)
    _correct(rgb, matte, first, area, core, near, stroke.kind, softness_px=stroke.radius_px / 8)


def apply_mask(rgb: Bytes8, matte: Bytes8, first: Bytes8 | None, mask: Bytes8, kind: StrokeKind) -> None:
    """As `apply_stroke`, for what is set in `mask` (H×W, 0 or 255)."""
    left_px, top_px, width_px, height_px = cv2.boundingRect(mask)
    if not width_px:
        return
    area = _grown(
        left_px, top_px, left_px + width_px, top_px + height_px, MASK_RIM_PX * 3,
        Size(mask.shape[1], mask.shape[0]),
    )  # fmt: skip
    part = mask[area.slices]
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * MASK_RIM_PX + 1,) * 2)
    # The picture's own border is no rim: what is beyond it is as what is at it.
    core = np.asarray(cv2.erode(part, brush, borderType=cv2.BORDER_REPLICATE), np.uint8)
    if not core.any():
        core = part
    near = np.asarray(cv2.dilate(part, brush), np.uint8)
    _correct(rgb, matte, first, area, core, near, kind, softness_px=MASK_RIM_PX / 3)


def _correct(
    rgb: Bytes8,
    matte: Bytes8,
    first: Bytes8 | None,
    area: Box,
    core: Bytes8,
    near: Bytes8,
    kind: StrokeKind,
    *,
    softness_px: float,
) -> None:
    part = np.ascontiguousarray(rgb[area.slices])
    share = _share(part, core, near, softness_px)
    old = matte[area.slices].astype(np.float32)
    if kind is StrokeKind.RESTORE:
        if first is None:
            raise ValueError("the network's matte is needed to restore")
        wanted = first[area.slices].astype(np.float32)
    else:
        wanted = np.full_like(old, 255 if kind is StrokeKind.KEEP else 0)
    matte[area.slices] = np.rint(old + (wanted - old) * share).astype(np.uint8)


def _share(rgb: Bytes8, core: Bytes8, near: Bytes8, softness_px: float) -> NDArray[np.float32]:
    """How much of each pixel the correction takes, 0 to 1; 1 in `core`, 0 outside `near`."""
    height, width = core.shape
    worked = fit_within(Size(width, height), WORK_PIXELS, max(width, height))
    small = (worked.width_px, worked.height_px)
    shrink = worked.width_px / width
    marks = np.where(core > 0, _SURE, np.where(near > 0, 0, _BEYOND)).astype(np.int32)
    seen = rgb
    if small != (width, height):
        seen = np.asarray(cv2.resize(rgb, small, interpolation=cv2.INTER_AREA), np.uint8)
        marks = np.asarray(
            cv2.resize(marks.astype(np.uint8), small, interpolation=cv2.INTER_NEAREST), np.int32
        )
    # Noise has edges everywhere; those that matter survive this.
    smooth = np.asarray(cv2.bilateralFilter(seen, 5, 20, 3), np.uint8)
    flooded = cv2.watershed(smooth, marks)
    inside = (flooded == _SURE).astype(np.float32)
    # The line between two floods belongs to neither: half of it to each.
    inside[flooded == -1] = 0.5
    radius_px = max(2, round(softness_px * shrink))
    soft = guided_filter(seen, inside, radius_px, _EDGE_VARIANCE)
    if small != (width, height):
        soft = np.asarray(cv2.resize(soft, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    soft[core > 0] = 1
    soft[near == 0] = 0
    return soft


def _drawn(shape: tuple[int, int], corners: NDArray[np.int32], radius_px: float) -> Bytes8:
    drawn = np.zeros(shape, np.uint8)
    radius = max(1, round(radius_px * (1 << _FRACTION_BITS)))
    if len(corners) > 1:
        cv2.polylines(
            drawn, [corners], isClosed=False, color=(255,), thickness=max(1, round(2 * radius_px)),
            lineType=cv2.LINE_8, shift=_FRACTION_BITS,
        )  # fmt: skip
    # Round ends, and the dot of a single point.
    for x, y in (corners[0, 0], corners[-1, 0]):
        cv2.circle(drawn, (int(x), int(y)), radius, (255,), -1, cv2.LINE_8, _FRACTION_BITS)
    return drawn


def _surroundings(stroke: Stroke, size: Size) -> Box | None:
    """The stroke's box and some picture around it; None when none of it is in the picture."""
    xs, ys = zip(*stroke.points, strict=True)
    room = stroke.radius_px * REACH
    if (
        max(xs) + room < 0
        or max(ys) + room < 0
        or min(xs) - room >= size.width_px
        or min(ys) - room >= size.height_px
    ):
        return None
    return _grown(min(xs), min(ys), max(xs), max(ys), room * 1.5 + 4, size)


def _grown(left: float, top: float, right: float, bottom: float, room: float, size: Size) -> Box:
    left_px, top_px = max(0, int(left - room)), max(0, int(top - room))
    right_px = min(size.width_px, int(right + room) + 1)
    bottom_px = min(size.height_px, int(bottom + room) + 1)
    return Box(left_px, top_px, right_px - left_px, bottom_px - top_px)
