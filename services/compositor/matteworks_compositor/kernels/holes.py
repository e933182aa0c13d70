"""Regions that a subject encloses: filled, or opened where the background shows through them.

An enclosed region is told from the subject by colour alone: it looks like the ground around the subject, it
does not touch the outline, and at its rim the picture changes. A white label on white paper cannot be told
from a hole, so this is done only for who asks. Everything is decided on a small copy; the rims then follow
the picture's own edges, as the matte does.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from matteworks_compositor.kernels.matte_upsampling import upsample_matte
from matteworks_imaging.filters.colour_evidence import colour_evidence
from matteworks_imaging.filters.guided_filter import guided_filter
from matteworks_imaging.resampling import grid_size

__all__ = ["clear_holes", "fill_holes"]

Bytes = NDArray[np.uint8]
Mask = NDArray[np.bool_]

# Longer side of the small copy.
GRID_PX: Final = 1024
# A region is like the ground up to this likeness to the subject.
GROUND_LIKENESS: Final = 0.1
# Smaller parts of the subject than this are texture.
LEAST_AREA: Final = 0.0005
# Distance from the outline below which a region belongs to the edge, and the rim's width: parts of the
# diagonal.
OUTLINE_MARGIN: Final = 0.004
RIM: Final = 0.004
# Mean difference of colour (CIE 1976, in OpenCV's bytes) between a hole and what is around it.
LEAST_CONTRAST: Final = 12.0
# The guided filter that draws a rim: its window, and the variance of colour (0..1) that counts as an edge.
FILTER_RADIUS_PX: Final = 3
EDGE_VARIANCE: Final = 1e-4


def fill_holes(alpha: Bytes) -> Bytes:
    """`alpha` (H×W) opaque within the outline of everything that is half solid."""
    solid = cv2.inRange(alpha, 128, 255)
    contours, _ = cv2.findContours(solid, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros_like(alpha)
    cv2.drawContours(filled, contours, -1, 255, cv2.FILLED)
    # The soft rim of a hole goes with it; the outline's own softness stays.
    holes = cv2.dilate(cv2.subtract(filled, solid), np.ones((5, 5), np.uint8))
    within = cv2.erode(filled, np.ones((3, 3), np.uint8))
    return np.asarray(cv2.max(alpha, cv2.bitwise_and(holes, within)), np.uint8)


def clear_holes(picture: Bytes, alpha: Bytes) -> Bytes:
    """`alpha` (H×W) transparent where `picture` (H×W×3) shows the background through the subject.

    Returns the same array when there is no such place.
    """
    height, width = alpha.shape
    columns, rows = grid_size(width, height, GRID_PX)
    small = np.asarray(cv2.resize(picture, (columns, rows), interpolation=cv2.INTER_AREA), np.uint8)
    matte = np.asarray(cv2.resize(alpha, (columns, rows), interpolation=cv2.INTER_AREA), np.uint8)
    holes = _holes(small, matte)
    if not holes.any():
        return alpha
    drawn = guided_filter(small, holes.astype(np.float32), FILTER_RADIUS_PX, EDGE_VARIANCE)
    # Only a rim's width beyond the hole may change.
    reach = 2 * max(1, round(RIM * float(np.hypot(columns, rows)))) + 1
    near = cv2.dilate(holes.astype(np.uint8), np.ones((reach, reach), np.uint8)) > 0
    opened = np.where(near, np.rint(np.clip((drawn - 0.1) / 0.8, 0, 1) * 255), 0).astype(np.uint8)
    return np.asarray(cv2.min(alpha, cv2.bitwise_not(upsample_matte(picture, opened, small))), np.uint8)


def _holes(picture: Bytes, alpha: Bytes) -> Mask:
    solid = np.asarray(cv2.inRange(alpha, 128, 255), np.uint8)
    filled = fill_holes(solid)
    margin = 2 * max(1, round(OUTLINE_MARGIN * float(np.hypot(*alpha.shape)))) + 1
    around = np.ones((margin, margin), np.uint8)
    inside = cv2.erode(filled, around, borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0
    ground = cv2.dilate(cv2.max(filled, cv2.inRange(alpha, 8, 255)), around) == 0
    # The subject is what lies along its outline; farther inside it may be a hole already.
    along = (filled > 0) & ~(cv2.erode(filled, np.ones((4 * margin + 1,) * 2, np.uint8)) > 0) & (solid > 0)
    if not ground.any() or not along.any():
        return np.zeros(alpha.shape, np.bool_)
    likeness, _ = colour_evidence(picture, along, ground, filled > 0)
    like = ((likeness < GROUND_LIKENESS) & inside).astype(np.uint8)
    like = np.asarray(cv2.morphologyEx(like, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)), np.uint8)
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(like, connectivity=4)
    lab = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB).astype(np.float32)
    least = LEAST_AREA * cv2.countNonZero(filled)
    holes = np.zeros(alpha.shape, np.bool_)
    room = 3 * margin
    for label in range(1, count):
        left, top, box_width, box_height, area = (int(value) for value in boxes[label])
        if area < least:
            continue
        box = (
            slice(max(0, top - room), top + box_height + room),
            slice(max(0, left - room), left + box_width + room),
        )
        own = labels[box] == label
        ring = (cv2.dilate(own.astype(np.uint8), np.ones((2 * margin + 1,) * 2, np.uint8)) > 0) & ~(
            cv2.dilate(own.astype(np.uint8), around) > 0
        )
        if not ring.any():
            continue
        contrast = float(np.linalg.norm(lab[box][own].mean(axis=0) - lab[box][ring].mean(axis=0)))
        if contrast >= LEAST_CONTRAST:
            holes[box] |= own
    return holes
