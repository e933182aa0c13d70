"""A guided filter: an alpha redrawn so that, in every small window, it is a linear function of colour.

After He, Sun and Tang, "Guided Image Filtering", 2010, with a guide of three channels. Within a window
that sees one colour on either side of an edge, alpha then follows the mixture of the two.
"""

from __future__ import annotations

from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["guided_filter"]

Bytes: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float32]


def guided_filter(rgb: Bytes, alpha: Floats, radius_px: int, edge_variance: float) -> Floats:
    """`alpha` (h×w, 0..1) drawn onto the colours of `rgb` (h×w×3, sRGB).

    Windows are 2·`radius_px`+1 wide. Where colours vary less than `edge_variance` (of 0..1, squared) alpha is
    averaged instead.
    """
    side = (2 * radius_px + 1, 2 * radius_px + 1)

    def mean(values: Floats) -> Floats:
        return np.asarray(cv2.boxFilter(values, cv2.CV_32F, side), np.float32)

    colours = [np.asarray(channel, np.float32) for channel in cv2.split(rgb.astype(np.float32) / 255)]
    red, green, blue = colours
    centre = [mean(channel) for channel in colours]
    level = mean(alpha)
    with_alpha = [
        mean(channel * alpha) - middle * level for channel, middle in zip(colours, centre, strict=True)
    ]
    loose = np.float32(edge_variance)
    rr, gg, bb = (
        mean(channel * channel) - middle * middle + loose
        for channel, middle in zip(colours, centre, strict=True)
    )
    rg = mean(red * green) - centre[0] * centre[1]
    rb = mean(red * blue) - centre[0] * centre[2]
    gb = mean(green * blue) - centre[1] * centre[2]
    # The inverse of a symmetric 3×3 matrix by its cofactors.
    c_rr, c_rg, c_rb = gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb
    c_gg, c_gb, c_bb = rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg
    scale = 1 / (rr * c_rr + rg * c_rg + rb * c_rb)
    x, y, z = with_alpha
    slopes = [
        (c_rr * x + c_rg * y + c_rb * z) * scale,
        (c_rg * x + c_gg * y + c_gb * z) * scale,
        (c_rb * x + c_gb * y + c_bb * z) * scale,
    ]
    drawn = level.copy()
    for slope, middle in zip(slopes, centre, strict=True):
        drawn -= slope * middle
    drawn = mean(drawn)
    for slope, channel in zip(slopes, colours, strict=True):
        drawn += mean(slope) * channel
    return np.asarray(np.clip(drawn, 0, 1), np.float32)
