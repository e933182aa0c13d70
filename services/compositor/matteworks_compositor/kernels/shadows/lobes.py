"""What shadows are made of: the dark line of contact and the wide dimming around it.

Each function returns darkness 0..1 (float32) on a `Plot`, the working copy with room around it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from matteworks_compositor.kernels.shadows.ground import Stance
from matteworks_compositor.kernels.shadows.layer import EMPTY_FIELD, VISIBLE_DARKNESS, ShadowField

__all__ = ["Plot", "ambient_lobe", "bands", "blur", "contact_lobe", "unite"]

# Blurs wider than this run on a copy that is smaller by the ratio: the eye cannot tell.
WIDEST_DIRECT_SIGMA_PX = 4.0


@dataclass(frozen=True)
class Plot:
    """The working copy of `stance` with room around it, in working pixels."""

    stance: Stance
    room_left_px: int
    room_right_px: int
    room_above_px: int
    room_below_px: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = self.stance.cover.shape
        return (
            rows + self.room_above_px + self.room_below_px,
            columns + self.room_left_px + self.room_right_px,
        )

    def blank(self) -> NDArray[np.float32]:
        """No darkness anywhere."""
        return np.zeros(self.shape, np.float32)

    def field(self, darkness: NDArray[np.float32]) -> ShadowField:
        """`darkness` of the plot as a field around the subject, without its empty margins."""
        faded = np.clip(darkness * np.float32(self.stance.strength), 0, 1)
        columns = np.flatnonzero(faded.max(axis=0) >= VISIBLE_DARKNESS)
        rows = np.flatnonzero(faded.max(axis=1) >= VISIBLE_DARKNESS)
        if columns.size == 0:
            return EMPTY_FIELD
        # One more pixel on each side lets the stretched edge run out instead of breaking off.
        first_x, last_x = max(0, int(columns[0]) - 1), min(faded.shape[1], int(columns[-1]) + 2)
        first_y, last_y = max(0, int(rows[0]) - 1), min(faded.shape[0], int(rows[-1]) + 2)
        size = self.stance.pixel_size
        return ShadowField(
            darkness=np.ascontiguousarray(faded[first_y:last_y, first_x:last_x]),
            left=self.stance.left + (first_x - self.room_left_px) * size,
            top=self.stance.top + (first_y - self.room_above_px) * size,
            width=(last_x - first_x) * size,
            height=(last_y - first_y) * size,
        )


def contact_lobe(plot: Plot, *, spread_x: float, spread_y: float, thickness: float) -> NDArray[np.float32]:
    """A dark seam where the subject touches the ground, 1 at its densest.

    The sizes are shares of the subject's extent: blur along and across the floor, and the height of
    the seam, which reaches from the contour upwards, hidden by the subject, and a little below.
    """
    stance = plot.stance
    extent = stance.extent_px
    seam = bands(
        plot,
        upper=stance.bottom - thickness * extent,
        lower=stance.bottom + 0.5 * thickness * extent,
        weight=stance.contact,
    )
    return blur(seam, spread_x * extent, spread_y * extent)


def ambient_lobe(
    plot: Plot, *, reach: float, depth: float, forward: float, spread_x: float, spread_y: float
) -> NDArray[np.float32]:
    """The floor's loss of light around the subject's footprint, at most 1.

    Each column darkens the floor by the matter above it, less the higher it hangs (`reach`). The
    footprint runs `depth` back from the ground line, foreshortened, and `forward` towards the viewer.
    All sizes are shares of the subject's extent.
    """
    stance = plot.stance
    extent = stance.extent_px
    rows = np.arange(stance.cover.shape[0], dtype=np.float32)[:, None]
    height = np.maximum(stance.ground[None, :] - rows, 0) / (reach * extent)
    matter = (stance.cover * np.exp(-height)).sum(axis=0) / (reach * extent)
    weight = np.clip(matter * 1.15, 0, 1) * stance.is_present
    # The footprint of a standing thing is rounder than its silhouette: thin columns are shallow ones.
    back = depth * extent * np.sqrt(weight)
    footprint = bands(
        plot,
        upper=stance.ground - back,
        lower=stance.ground + forward * extent * np.sqrt(weight),
        weight=weight.astype(np.float32),
    )
    return blur(footprint, spread_x * extent, spread_y * extent)


def bands(
    plot: Plot, *, upper: NDArray[np.float32], lower: NDArray[np.float32], weight: NDArray[np.float32]
) -> NDArray[np.float32]:
    """One vertical band a column, `upper` to `lower` row, fractions of rows included."""
    canvas = plot.blank()
    row = np.arange(canvas.shape[0], dtype=np.float32)[:, None] - plot.room_above_px
    covered = np.minimum(row + 1, lower[None, :]) - np.maximum(row, upper[None, :])
    columns = slice(plot.room_left_px, plot.room_left_px + plot.stance.cover.shape[1])
    canvas[:, columns] = np.clip(covered, 0, 1) * weight[None, :]
    return canvas


def blur(darkness: NDArray[np.float32], sigma_x_px: float, sigma_y_px: float) -> NDArray[np.float32]:
    """Gaussian blur with zero outside the plot; wide ones on a reduced copy."""
    rows, columns = darkness.shape
    shrink_x = max(1.0, sigma_x_px / WIDEST_DIRECT_SIGMA_PX)
    shrink_y = max(1.0, sigma_y_px / WIDEST_DIRECT_SIGMA_PX)
    small_columns = max(1, round(columns / shrink_x))
    small_rows = max(1, round(rows / shrink_y))
    small = darkness
    if (small_columns, small_rows) != (columns, rows):
        small = np.asarray(
            cv2.resize(darkness, (small_columns, small_rows), interpolation=cv2.INTER_AREA), np.float32
        )
    blurred = cv2.GaussianBlur(
        small,
        (0, 0),
        sigmaX=max(1e-3, sigma_x_px * small_columns / columns),
        sigmaY=max(1e-3, sigma_y_px * small_rows / rows),
        borderType=cv2.BORDER_CONSTANT,
    )
    if blurred.shape != darkness.shape:
        blurred = cv2.resize(blurred, (columns, rows), interpolation=cv2.INTER_CUBIC)
        blurred = np.maximum(blurred, 0)
    return np.asarray(blurred, np.float32)


def unite(*layers: NDArray[np.float32]) -> NDArray[np.float32]:
    """Shadows over shadows: what light is left is the product of what each lets through."""
    light = np.ones_like(layers[0])
    for layer in layers:
        light *= 1 - np.clip(layer, 0, 1)
    return np.asarray(1 - light, np.float32)
