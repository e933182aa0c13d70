"""Where a subject stands: its lower contour, the ground below each column, and what touches it.

A camera looks down a little, so feet that are farther away stand higher in the picture. The ground
is therefore not the lowest row, but the envelope of the lower contour under the steepest line that
perspective gives to a floor. What lies on the envelope touches the ground; a belly, a bumper or a
raised arm lies above it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Stance", "find_stance"]

Box: TypeAlias = tuple[int, int, int, int]
"""Left, top, width, height in pixels."""

# Longest side of the copy that everything is measured on.
WORKING_SIDE_PX = 448
# Steepest ground line in the picture: rise over run.
STEEPEST_GROUND = 0.36
# Height above the ground, as a share of the subject's extent, at which contact has faded to 37 %.
CONTACT_REACH = 0.011
# A leg comes down at least this far between two rises, and its foot is at most this far above the ground.
LEAST_LEG, HIGHEST_FOOT = 0.10, 0.11
# Specks smaller than this share of the largest part are dust of the matte, not a subject.
SMALLEST_PART = 0.02
# Share of the standing columns that are cut by the frame at which the shadow starts to fade, and is gone.
CUT_FADE_START, CUT_FADE_END = 0.2, 0.65


@dataclass(frozen=True)
class Stance:
    """A subject on the ground, on the small working copy.

    `cover` is the alpha of the subject's box, h×w float32 0..1. Per column: `bottom`, the row where the
    subject ends (0 where it has nothing), `ground`, the row of the floor, `contact`, 0 hovering to
    1 standing, `is_present`. `extent_px` is the yardstick for every size: the geometric mean of width
    and height. `strength` is 0 where the frame cuts the subject off before it reaches the ground.
    `line` is the straight floor line as (row at column 0, slope). `left`, `top`, `pixel_size` tell where
    the copy lies in the alpha it was made of.
    """

    cover: NDArray[np.float32]
    bottom: NDArray[np.float32]
    ground: NDArray[np.float32]
    contact: NDArray[np.float32]
    is_present: NDArray[np.bool_]
    extent_px: float
    strength: float
    line: tuple[float, float]
    left: float
    top: float
    pixel_size: float


def find_stance(
    alpha: NDArray[np.uint8], *, is_cut_below: bool = False, steepest_ground: float = STEEPEST_GROUND
) -> Stance | None:
    """How the subject of `alpha` (H×W) stands, or None when there is none.

    `is_cut_below` says that the last row of `alpha` is the edge of what was photographed: where the
    subject touches it, it goes on outside and has no contact there. `steepest_ground` is the slope, rise
    over run, up to which two contacts may lie apart.
    """
    whole = (0, 0, alpha.shape[1], alpha.shape[0])
    box = _occupied(alpha, whole)
    if box is None:
        return None
    small = _without_specks(_shrunken(alpha, box))
    tighter = _occupied(small, (0, 0, small.shape[1], small.shape[0]))
    if tighter is None:
        return None
    if tighter[2] < 0.98 * small.shape[1] or tighter[3] < 0.98 * small.shape[0]:
        # Specks had made the box larger than the subject, and the box is the yardstick.
        box = _occupied(alpha, _in_pixels_of(box, small, tighter)) or box
        small = _without_specks(_shrunken(alpha, box))
    left, top, width, height = box
    rows, columns = small.shape
    cover = small.astype(np.float32) / np.float32(255)
    present = small >= 128
    is_present = np.asarray(present.any(axis=0), np.bool_)
    if not is_present.any():
        return None

    # Below the last row that is at least half covered, the rest of the coverage is the fraction of a row.
    last = rows - 1 - np.argmax(present[::-1], axis=0)
    bottom = np.where(is_present, last + 1, 0).astype(np.float32)
    extent_px = float(np.sqrt(columns * rows))
    ground = _envelope(bottom, is_present, steepest_ground)
    height_above = np.where(is_present, ground - bottom, np.inf)
    reach_px = max(CONTACT_REACH * extent_px, 0.75)
    contact = np.exp(-((height_above / reach_px) ** 2)).astype(np.float32)
    contact = np.maximum(contact, _contact_of_legs(bottom, ground, extent_px, reach_px))

    strength = 1.0
    if is_cut_below and top + height >= alpha.shape[0]:
        is_cut = is_present & (bottom >= rows - max(0.0, 0.004 * rows))
        standing = float(contact.sum())
        cut_share = float(contact[is_cut].sum()) / standing if standing else 1.0
        strength = 1 - _smoothstep((cut_share - CUT_FADE_START) / (CUT_FADE_END - CUT_FADE_START))
        contact[is_cut] *= np.float32(strength)
    return Stance(
        cover=cover,
        bottom=bottom,
        ground=ground,
        contact=contact,
        is_present=is_present,
        extent_px=extent_px,
        strength=strength,
        line=_straight_line(bottom, contact, is_present),
        left=float(left),
        top=float(top),
        pixel_size=width / columns,
    )


def _occupied(alpha: NDArray[np.uint8], part: Box) -> Box | None:
    """The box of what is solid within `part`, or None."""
    x, y, width, height = part
    left, top, width, height = cv2.boundingRect(cv2.inRange(alpha[y : y + height, x : x + width], 128, 255))
    return (x + left, y + top, width, height) if width else None


def _in_pixels_of(box: Box, small: NDArray[np.uint8], part: Box) -> Box:
    """`part` of the copy `small` of `box`, grown to whole pixels of what `box` is measured in."""
    left, top, width, height = box
    step_x, step_y = width / small.shape[1], height / small.shape[0]
    x, y = int(part[0] * step_x), int(part[1] * step_y)
    right = min(width, int(np.ceil((part[0] + part[2]) * step_x)))
    bottom = min(height, int(np.ceil((part[1] + part[3]) * step_y)))
    return left + x, top + y, right - x, bottom - y


def _shrunken(alpha: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
    left, top, width, height = box
    scale = min(1.0, WORKING_SIDE_PX / max(width, height))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    part = alpha[top : top + height, left : left + width]
    return np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8)


def _without_specks(small: NDArray[np.uint8]) -> NDArray[np.uint8]:
    parts, labels, stats, _ = cv2.connectedComponentsWithStats(cv2.inRange(small, 64, 255), connectivity=8)
    if parts <= 2:
        return small
    areas = stats[1:, cv2.CC_STAT_AREA]
    is_dust = np.concatenate(([False], areas < SMALLEST_PART * areas.max()))
    small[is_dust[labels]] = 0
    return small


def _envelope(
    bottom: NDArray[np.float32], is_present: NDArray[np.bool_], steepest_ground: float
) -> NDArray[np.float32]:
    """The floor under each column: the highest one that nothing of the contour reaches through."""
    columns = np.arange(bottom.size, dtype=np.float32) * np.float32(steepest_ground)
    low = np.where(is_present, bottom, -np.float32(1e6))
    from_left = np.maximum.accumulate(low + columns) - columns
    from_right = np.maximum.accumulate((low - columns)[::-1])[::-1] + columns
    return np.asarray(np.maximum(from_left, from_right), np.float32)


def _contact_of_legs(
    bottom: NDArray[np.float32], ground: NDArray[np.float32], extent_px: float, reach_px: float
) -> NDArray[np.float32]:
    """Contact of feet that stand just behind a nearer one, too steeply above it for the envelope.

    A leg is where the contour comes down far between two rises; its end stands when it is near the ground.
    """
    contact = np.zeros_like(bottom)
    edges = np.flatnonzero(np.diff(bottom)) + 1
    starts = np.concatenate(([0], edges))
    ends = np.concatenate((edges, [bottom.size]))
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        foot = float(bottom[start])
        if float(ground[start:end].min()) - foot > HIGHEST_FOOT * extent_px:
            continue
        if min(_rise(bottom[:start][::-1], foot), _rise(bottom[end:], foot)) < LEAST_LEG * extent_px:
            continue
        near = slice(max(0, start - round(4 * reach_px)), end + round(4 * reach_px))
        fading = np.exp(-(((bottom[near] - foot) / reach_px) ** 2))
        contact[near] = np.maximum(contact[near], fading)
    return contact


def _rise(outward: NDArray[np.float32], foot: float) -> float:
    """How far the contour rises above `foot` before it comes down lower than it; endless at the end."""
    lower = np.flatnonzero(outward > foot)
    return foot - float(outward[: lower[0]].min(initial=foot)) if lower.size else np.inf


def _straight_line(
    bottom: NDArray[np.float32], contact: NDArray[np.float32], is_present: NDArray[np.bool_]
) -> tuple[float, float]:
    """Row at column 0 and slope of the line through the contacts, drawn towards the horizontal."""
    weight = np.where(is_present, contact, 0).astype(np.float64)
    total = weight.sum()
    if total <= 1e-6:
        return float(bottom.max()), 0.0
    columns = np.arange(bottom.size, dtype=np.float64)
    mean_x = float((weight * columns).sum() / total)
    mean_y = float((weight * bottom).sum() / total)
    spread = float((weight * (columns - mean_x) ** 2).sum() / total)
    tilt = float((weight * (columns - mean_x) * (bottom - mean_y)).sum() / total)
    # A narrow base says little about the slope: the prior counts as contacts a fifth of the width apart.
    slope = tilt / (spread + (0.2 * bottom.size) ** 2 * 0.25)
    slope = float(np.clip(slope, -0.25, 0.25))
    return mean_y - slope * mean_x, slope


def _smoothstep(value: float) -> float:
    inside = min(1.0, max(0.0, value))
    return inside * inside * (3 - 2 * inside)
