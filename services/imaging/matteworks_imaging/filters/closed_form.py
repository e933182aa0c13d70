"""Alpha that is, in every small window, a linear function of colour, and keeps to what is known of it.

After Levin, Lischinski and Weiss, "A Closed-Form Solution to Natural Image Matting", 2006. The matting
Laplacian is never written down: as He, Sun and Tang show ("Fast Matting Using Large Kernel Matting Laplacian
Matrices", 2010), its product with an alpha is what a guided filter leaves of that alpha. So a step costs the
same for any size of window, and wide windows carry what is known farther with each step.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["linear_in_colour", "solve_alpha"]

Bytes: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float32]
Wide: TypeAlias = NDArray[np.float64]

# Colours count from here, so that their products stay small and lose little by rounding.
MIDDLE: Final = 0.5
# Of the Laplacian's diagonal; it only has to be near for the steps to be well directed.
MEAN_DIAGONAL: Final = 0.6
# A residual that is this part of the first one is nothing that eight bits can show.
DONE: Final = 1e-4
# One that is so many times the first is the work of rounding.
RUNAWAY: Final = 4.0


def solve_alpha(
    rgb: Bytes, expected: Floats, weight: Floats, start: Floats, radius_px: int, variance: float, steps: int
) -> Floats:
    """Alpha (h×w, 0..1) near `expected` where `weight` (h×w, above 0) is high, drawn by colour elsewhere.

    `rgb` is h×w×3, `start` a first guess. Windows are 2·`radius_px`+1 wide; colours that vary by less than
    `variance` (of 0..1, squared) are noise. At most `steps` steps of conjugate gradients; fewer where
    rounding makes them run away, as over even surfaces whose colours hardly vary.
    """
    product = _Laplacian(rgb, radius_px, variance).times
    alpha = start.astype(np.float32)
    residual = weight * expected - product(alpha) - weight * alpha
    inverse = np.float32(1) / (np.float32(MEAN_DIAGONAL) + weight)
    scaled = inverse * residual
    direction = scaled.copy()
    size = first = _dot(residual, scaled)
    for _ in range(steps):
        if size <= DONE * DONE * first:
            break
        change = product(direction) + weight * direction
        curvature = _dot(direction, change)
        if curvature <= 0:
            break
        length = np.float32(size / curvature)
        alpha += length * direction
        residual -= length * change
        scaled = inverse * residual
        former, size = size, _dot(residual, scaled)
        if size > RUNAWAY * first:
            # Back to where it still made sense.
            alpha -= length * direction
            break
        direction *= np.float32(size / former)
        direction += scaled
    return np.asarray(np.clip(alpha, 0, 1), np.float32)


def linear_in_colour(small: Bytes, alpha: Floats, rgb: Bytes, radius_px: int, variance: float) -> Floats:
    """`alpha` (h×w) of the picture `small` (h×w×3) at the size of `rgb` (H×W×3), drawn onto its colours.

    The functions of colour that explain `alpha` in windows of `small` are enlarged, not `alpha` itself: after
    He and Sun, "Fast Guided Filter", 2015.
    """
    laplacian = _Laplacian(small, radius_px, variance)
    slopes, level = laplacian.lines(alpha)
    height, width = rgb.shape[:2]
    means = np.dstack([laplacian.mean(plane) for plane in (*slopes, level)])
    means = np.asarray(cv2.resize(means, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    drawn = np.asarray(means[..., 3] - np.float32(MIDDLE) * means[..., :3].sum(axis=2), np.float32)
    for channel, slope in zip(cv2.split(rgb), cv2.split(means), strict=False):
        drawn += cv2.multiply(slope, channel, scale=1 / 255, dtype=cv2.CV_32F)
    return np.asarray(np.clip(drawn, 0, 1), np.float32)


def _dot(one: Floats, other: Floats) -> float:
    return float(np.vdot(one, other))


class _Laplacian:
    """The matting Laplacian of a picture, divided by the pixels of a window."""

    def __init__(self, rgb: Bytes, radius_px: int, variance: float) -> None:
        self._side = (2 * radius_px + 1, 2 * radius_px + 1)
        self._colours = [
            np.asarray(channel, np.float32)
            for channel in cv2.split(rgb.astype(np.float32) / 255 - np.float32(MIDDLE))
        ]
        self._centre = [self.mean(channel) for channel in self._colours]
        # Differences of nearly equal numbers: once, in doubles.
        red, green, blue = wide = [channel.astype(np.float64) for channel in self._colours]
        centre = [self._wide_mean(channel) for channel in wide]
        rr, gg, bb = (
            self._wide_mean(channel * channel) - middle * middle + variance
            for channel, middle in zip(wide, centre, strict=True)
        )
        rg = self._wide_mean(red * green) - centre[0] * centre[1]
        rb = self._wide_mean(red * blue) - centre[0] * centre[2]
        gb = self._wide_mean(green * blue) - centre[1] * centre[2]
        # The inverse of a symmetric 3×3 matrix by its cofactors.
        c_rr, c_rg, c_rb = gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb
        c_gg, c_gb, c_bb = rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg
        scale = 1 / (rr * c_rr + rg * c_rg + rb * c_rb)
        self._inverse = [
            np.asarray(entry * scale, np.float32) for entry in (c_rr, c_rg, c_rb, c_gg, c_gb, c_bb)
        ]

    def times(self, alpha: Floats) -> Floats:
        """The product with `alpha` (h×w): what of it is no linear function of colour around each pixel."""
        slopes, level = self.lines(alpha)
        rest = alpha - self.mean(level)
        for slope, channel in zip(slopes, self._colours, strict=True):
            rest -= self.mean(slope) * channel
        return rest

    def lines(self, alpha: Floats) -> tuple[tuple[Floats, Floats, Floats], Floats]:
        """The linear function of colour nearest to `alpha` in each window: three slopes and what is added.

        Colours count from the middle of their range.
        """
        level = self.mean(alpha)
        x, y, z = (
            self.mean(channel * alpha) - middle * level
            for channel, middle in zip(self._colours, self._centre, strict=True)
        )
        rr, rg, rb, gg, gb, bb = self._inverse
        slopes = (rr * x + rg * y + rb * z, rg * x + gg * y + gb * z, rb * x + gb * y + bb * z)
        for slope, middle in zip(slopes, self._centre, strict=True):
            level -= slope * middle
        return slopes, level

    def mean(self, values: Floats) -> Floats:
        """Of every window, mirrored at the frame, so that the product stays symmetric there."""
        blurred = cv2.boxFilter(values, cv2.CV_32F, self._side, borderType=cv2.BORDER_REFLECT)
        return np.asarray(blurred, np.float32)

    def _wide_mean(self, values: Wide) -> Wide:
        blurred = cv2.boxFilter(values, cv2.CV_64F, self._side, borderType=cv2.BORDER_REFLECT)
        return np.asarray(blurred, np.float64)
