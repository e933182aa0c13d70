"""The car shadow: an overcast sky over a car on its wheels.

The floor between the wheels is dark because almost no light gets under a car, darkest beside the
tyres. Around the footprint the light comes back within a fraction of the car's height.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from matteworks_compositor.kernels.shadows.ground import Stance, find_stance
from matteworks_compositor.kernels.shadows.layer import EMPTY_FIELD, ShadowField
from matteworks_compositor.kernels.shadows.lobes import Plot, bands, blur, contact_lobe, unite

__all__ = ["car_shadow"]

# A car seen from its corner shows tyres at very different heights; steeper than this is bodywork.
STEEPEST_CAR_GROUND = 0.75
# Slope of the silhouette's hull beyond which there is no floor below the car any more.
END_SLOPE = 1.3
# A hull stretch that is this level and takes this share of the width joins two tyres seen squarely.
SQUARE_VIEW_SLOPE, SQUARE_VIEW_RUN = 0.12, 0.4
# How far back the dark floor reaches from the line of the tyres, as a share of the extent.
UNDERBODY_DEPTH = 0.12
# How far above that line daylight under the car may reach.
HIGHEST_SILL = 0.2


def car_shadow(alpha: NDArray[np.uint8], *, is_cut_below: bool = False) -> ShadowField:
    """The floor shadow of the car of `alpha` (H×W); empty when there is no subject.

    `is_cut_below`: the last row of `alpha` is the edge of what was photographed.
    """
    stance = find_stance(alpha, is_cut_below=is_cut_below, steepest_ground=STEEPEST_CAR_GROUND)
    if stance is None or stance.strength == 0:
        return EMPTY_FIELD
    room = round(0.45 * stance.extent_px) + 2
    plot = Plot(stance, room_left_px=room, room_right_px=room, room_above_px=0, room_below_px=room)
    underbody = _underbody(plot)
    extent = stance.extent_px
    return plot.field(
        unite(
            0.90 * contact_lobe(plot, spread_x=0.010, spread_y=0.005, thickness=0.02),
            0.50 * contact_lobe(plot, spread_x=0.03, spread_y=0.012, thickness=0.03),
            0.80 * blur(underbody, 0.016 * extent, 0.009 * extent),
            0.50 * blur(underbody, 0.045 * extent, 0.022 * extent),
            0.32 * blur(underbody, 0.12 * extent, 0.05 * extent),
        )
    )


def _underbody(plot: Plot) -> NDArray[np.float32]:
    """The floor that the car stands over, from the floor line back into its hidden depth."""
    stance = plot.stance
    floor, weight, is_overhang = _floor_line(stance)
    hidden = floor - UNDERBODY_DEPTH * stance.extent_px
    # Where daylight shows between the wheels the floor is dark up to the sill, if that is what it is.
    sill = np.maximum(stance.bottom, floor - HIGHEST_SILL * stance.extent_px)
    upper = np.where(is_overhang, hidden, np.minimum(hidden, sill))
    return bands(plot, upper=upper.astype(np.float32), lower=floor, weight=weight)


def _floor_line(
    stance: Stance,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Per column the floor's row below the car, how surely the car covers it (0..1), and the overhangs.

    The line is the lower hull of the silhouette. Seen from a corner it runs from tyre to tyre and climbs
    along the bumpers; where it climbs steeper than any floor the car ends. Seen squarely from the side
    or the front, one level stretch joins the tyres, and the bumpers hang over a floor that goes on level.
    """
    columns = np.flatnonzero(stance.is_present).astype(np.float64)
    hull_x, hull_y = _lower_hull(columns, stance.bottom[stance.is_present].astype(np.float64))
    every = np.arange(stance.bottom.size, dtype=np.float64)
    floor = np.interp(every, hull_x, hull_y)
    runs = np.diff(hull_x)
    if runs.size:
        longest = int(np.argmax(runs))
        slope = (hull_y[longest + 1] - hull_y[longest]) / runs[longest]
        if abs(slope) <= SQUARE_VIEW_SLOPE and runs[longest] >= SQUARE_VIEW_RUN * every.size:
            floor = hull_y[longest] + slope * (every - hull_x[longest])
            near, far = hull_x[longest], hull_x[longest + 1]
            overhang = np.maximum(near - every, every - far)
            length = np.where(every < near, near - columns[0], columns[-1] - far)
            weight = np.clip(1 - np.maximum(overhang, 0) / np.maximum(length, 1), 0, 1) * stance.is_present
            return floor.astype(np.float32), weight.astype(np.float32), np.asarray(overhang > 0)
    steepness = np.abs(np.gradient(floor)) if floor.size > 1 else np.zeros_like(floor)
    weight = np.clip((END_SLOPE - steepness) / (END_SLOPE - STEEPEST_CAR_GROUND), 0, 1) * stance.is_present
    return floor.astype(np.float32), weight.astype(np.float32), np.zeros(every.size, np.bool_)


def _lower_hull(
    x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The corners of the points' hull on the side of larger rows, left to right."""
    hull: list[tuple[float, float]] = []
    for point in zip(x.tolist(), y.tolist(), strict=True):
        while len(hull) >= 2 and _is_above(hull[-2], hull[-1], point):
            hull.pop()
        hull.append(point)
    corners = np.array(hull)
    return corners[:, 0], corners[:, 1]


def _is_above(first: tuple[float, float], middle: tuple[float, float], last: tuple[float, float]) -> bool:
    """Whether `middle` lies on or above the line from `first` to `last`, rows counted downwards."""
    run = last[0] - first[0]
    return (middle[1] - first[1]) * run <= (last[1] - first[1]) * (middle[0] - first[0])
