"""The drop shadow: light from a wide lamp overhead.

A tight dark seam where the subject touches the floor, a softer one around it, and a wide ambient
dimming over the footprint. All sizes are shares of the subject's own size, so the shadow looks the same
at any resolution.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from matteworks_compositor.kernels.shadows.ground import find_stance
from matteworks_compositor.kernels.shadows.layer import EMPTY_FIELD, ShadowField
from matteworks_compositor.kernels.shadows.lobes import Plot, ambient_lobe, contact_lobe, unite

__all__ = ["drop_shadow"]


def drop_shadow(alpha: NDArray[np.uint8], *, is_cut_below: bool = False) -> ShadowField:
    """The drop shadow of the subject of `alpha` (H×W); empty when there is no subject.

    `is_cut_below`: the last row of `alpha` is the edge of what was photographed.
    """
    stance = find_stance(alpha, is_cut_below=is_cut_below)
    if stance is None or stance.strength == 0:
        return EMPTY_FIELD
    room = round(0.5 * stance.extent_px) + 2
    plot = Plot(stance, room_left_px=room, room_right_px=room, room_above_px=0, room_below_px=room)
    return plot.field(
        unite(
            0.95 * contact_lobe(plot, spread_x=0.009, spread_y=0.005, thickness=0.018),
            0.65 * contact_lobe(plot, spread_x=0.032, spread_y=0.014, thickness=0.035),
            0.62 * ambient_lobe(plot, reach=0.22, depth=0.13, forward=0.02, spread_x=0.045, spread_y=0.024),
            0.40 * ambient_lobe(plot, reach=0.5, depth=0.16, forward=0.05, spread_x=0.12, spread_y=0.055),
        )
    )
