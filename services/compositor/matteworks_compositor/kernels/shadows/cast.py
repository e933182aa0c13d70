"""The 3D shadow: the silhouette cast back and to the right onto the floor by a lamp at the front left.

The silhouette is folded down about the ground line: a point at height e lands `LEAN`·e to the right
and `FORESHORTENING`·e up the picture. With the distance from the contact it grows softer, because the
lamp has a size, and lighter, because the room's light reaches in from more sides.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from matteworks_compositor.kernels.shadows.ground import Stance, find_stance
from matteworks_compositor.kernels.shadows.layer import EMPTY_FIELD, ShadowField
from matteworks_compositor.kernels.shadows.lobes import Plot, ambient_lobe, blur, contact_lobe, unite

__all__ = ["cast_shadow"]

# Where a point at height 1 lands: to the right, and up the picture.
LEAN = 0.62
FORESHORTENING = 0.30
# Softness at the contact and at the subject's full height, as shares of its extent.
NEAR_SPREAD, FAR_SPREAD = 0.006, 0.055
# Darkness at the contact and at the subject's full height.
NEAR_DARKNESS, FAR_DARKNESS = 0.86, 0.22
# Blurred copies between which the softness is interpolated.
SOFTNESS_STEPS = 5


def cast_shadow(alpha: NDArray[np.uint8], *, is_cut_below: bool = False) -> ShadowField:
    """The cast shadow of the subject of `alpha` (H×W); empty when there is no subject.

    `is_cut_below`: the last row of `alpha` is the edge of what was photographed.
    """
    stance = find_stance(alpha, is_cut_below=is_cut_below)
    if stance is None or stance.strength == 0:
        return EMPTY_FIELD
    extent = stance.extent_px
    room = round(0.28 * extent) + 2
    rows = stance.cover.shape[0]
    plot = Plot(
        stance,
        room_left_px=room,
        room_right_px=room + round(LEAN * rows),
        room_above_px=0,
        room_below_px=room,
    )
    return plot.field(
        unite(
            _folded_silhouette(plot),
            0.92 * contact_lobe(plot, spread_x=0.009, spread_y=0.005, thickness=0.018),
            0.50 * contact_lobe(plot, spread_x=0.03, spread_y=0.013, thickness=0.03),
            0.30 * ambient_lobe(plot, reach=0.22, depth=0.12, forward=0.01, spread_x=0.05, spread_y=0.022),
        )
    )


def _folded_silhouette(plot: Plot) -> NDArray[np.float32]:
    stance = plot.stance
    rows, columns = plot.shape
    row0, slope = stance.line
    # Plot pixel (X, Y) shows the subject's pixel (x, y): height e = (row0 + slope·x - Y) / FORESHORTENING,
    # x = X - LEAN·e, y = row0 + slope·x - e. All three are linear, so one affine warp does it.
    fold = FORESHORTENING - slope * LEAN
    height_x, height_y, height_1 = slope / fold, -1 / fold, row0 / fold
    source_x = np.array([1 - LEAN * height_x, -LEAN * height_y, -LEAN * height_1])
    source_y = slope * source_x - np.array([height_x, height_y, height_1])
    source_y[2] += row0
    inverse = np.array([source_x, source_y])
    inverse[:, 2] += inverse[:, :2] @ np.array([0.5 - plot.room_left_px, 0.5 - plot.room_above_px]) - 0.5
    silhouette = cv2.warpAffine(
        _prefiltered(stance),
        inverse,
        (columns, rows),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=0,
    )
    x = np.arange(columns, dtype=np.float32)[None, :] + (0.5 - plot.room_left_px)
    y = np.arange(rows, dtype=np.float32)[:, None] + (0.5 - plot.room_above_px)
    height = (height_x * x + height_y * y + height_1) / stance.cover.shape[0]
    away = np.clip(height, 0, 1).astype(np.float32)
    softened = _soften_by_distance(np.asarray(silhouette, np.float32), away, stance.extent_px)
    darkness = FAR_DARKNESS + (NEAR_DARKNESS - FAR_DARKNESS) * np.exp(-2.4 * away)
    return np.asarray(softened * darkness, np.float32)


def _prefiltered(stance: Stance) -> NDArray[np.float32]:
    """The cover, averaged over the rows that the fold squeezes into one."""
    taps = max(1, round(1 / FORESHORTENING))
    return np.asarray(cv2.blur(stance.cover, (1, taps), borderType=cv2.BORDER_CONSTANT), np.float32)


def _soften_by_distance(
    silhouette: NDArray[np.float32], away: NDArray[np.float32], extent_px: float
) -> NDArray[np.float32]:
    position = away * (SOFTNESS_STEPS - 1)
    result = np.zeros_like(silhouette)
    for step in range(SOFTNESS_STEPS):
        share = step / (SOFTNESS_STEPS - 1)
        spread = (NEAR_SPREAD + (FAR_SPREAD - NEAR_SPREAD) * share) * extent_px
        # The floor is seen at an angle: what is round on it is flat in the picture.
        level = blur(silhouette, spread, spread * 0.6)
        result += level * np.clip(1 - np.abs(position - step), 0, 1)
    return np.asarray(result, np.float32)
