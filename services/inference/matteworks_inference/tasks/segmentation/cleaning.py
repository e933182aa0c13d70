"""What no subject has: islands far from it, pinholes in it, veils around it.

Invariant: a matte of one solid part, soft only at its contour, comes back unchanged.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from matteworks_imaging.resampling import grid_size

__all__ = ["cleaned"]

Bytes: TypeAlias = NDArray[np.uint8]

# Islands lighter than this part of the heaviest one are dropped, if they are also farther from it than
# this part of the diagonal: a hand or a strap cut off by a thin gap must stay.
ISLAND_MASS: Final = 0.03
ISLAND_DISTANCE: Final = 0.03
# Fainter than this is nothing; a component that is nowhere above the middle is a veil over background.
VEIL_LEVEL: Final = 4
# What is nowhere near anything solid is a veil too, although it hangs together with the subject: it fades
# between these parts of the diagonal. Wisps of hair stay: they are half solid somewhere on their way.
VEIL_DISTANCES: Final = (0.015, 0.03)
# The distance is measured at this longer side.
VEIL_GRID_PX: Final = 256
# Holes smaller than this part of the subject are a network's doubt about a pattern, not a handle.
HOLE_AREA: Final = 0.0015


def cleaned(matte: Bytes) -> Bytes:
    """`matte` (h×w) without them. Some of it is above the middle."""
    return _without_islands(_without_veils(_without_pinholes(matte)))


def _without_veils(matte: Bytes) -> Bytes:
    """`matte` without what is far from anything that is above the middle."""
    height, width = matte.shape
    columns, rows = grid_size(width, height, VEIL_GRID_PX)
    solid = np.asarray(cv2.inRange(matte, 128, 255), np.uint8)
    empty = cv2.inRange(cv2.resize(solid, (columns, rows), interpolation=cv2.INTER_AREA), 0, 0)
    distance = cv2.distanceTransform(empty, cv2.DIST_L2, 5) / np.float32(np.hypot(columns, rows))
    near, far = VEIL_DISTANCES
    ceiling = np.rint(np.clip((far - distance) / (far - near), 0, 1) * 255).astype(np.uint8)
    enlarged = cv2.resize(ceiling, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.min(matte, enlarged), np.uint8)


def _without_islands(matte: Bytes) -> Bytes:
    """`matte` without veils that are nowhere solid, and without light components far from the heaviest."""
    visible = np.asarray(cv2.inRange(matte, VEIL_LEVEL, 255), np.uint8)
    box = _box(visible)
    inside = matte[box]
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(visible[box])
    if count <= 2:
        return matte
    solid = np.zeros(count, np.bool_)
    solid[labels[inside > 127]] = True
    if not solid.any():
        return matte
    areas = np.where(solid, boxes[:, cv2.CC_STAT_AREA], 0)
    main = int(areas.argmax())
    light = solid & (areas < ISLAND_MASS * areas[main])
    if light.any():
        reach = ISLAND_DISTANCE * float(np.hypot(*matte.shape))
        distance = cv2.distanceTransform(np.where(labels == main, 0, 255).astype(np.uint8), cv2.DIST_L2, 3)
        light[np.unique(labels[(distance < reach) & light[labels]])] = False
    kept = np.where(solid & ~light, 255, 0).astype(np.uint8)
    cleaned = np.zeros_like(matte)
    cleaned[box] = cv2.min(inside, kept[labels])
    return cleaned


def _without_pinholes(matte: Bytes) -> Bytes:
    """`matte` with its smallest enclosed holes closed."""
    solid = np.asarray(cv2.inRange(matte, 128, 255), np.uint8)
    # Around this box there is nothing but outside, so what touches its edge is no hole.
    box = _box(solid)
    outside = cv2.bitwise_not(solid[box])
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(outside, connectivity=4)
    if count <= 1:
        return matte
    limit = HOLE_AREA * cv2.countNonZero(solid)
    height, width = outside.shape
    left, top = boxes[:, cv2.CC_STAT_LEFT], boxes[:, cv2.CC_STAT_TOP]
    right, bottom = left + boxes[:, cv2.CC_STAT_WIDTH], top + boxes[:, cv2.CC_STAT_HEIGHT]
    enclosed = (left > 0) & (top > 0) & (right < width) & (bottom < height)
    pinhole = enclosed & (boxes[:, cv2.CC_STAT_AREA] < limit)
    pinhole[0] = False
    if not pinhole.any():
        return matte
    holes = np.zeros_like(matte)
    holes[box] = np.where(pinhole, 255, 0).astype(np.uint8)[labels]
    # The soft rim of a hole belongs to it.
    holes = np.asarray(cv2.dilate(holes, np.ones((5, 5), np.uint8)), np.uint8)
    return np.asarray(cv2.max(matte, holes), np.uint8)


def _box(mask: Bytes) -> tuple[slice, slice]:
    """Rows and columns of the smallest box around what is set."""
    left, top, width, height = cv2.boundingRect(mask)
    return slice(top, top + height), slice(left, left + width)
