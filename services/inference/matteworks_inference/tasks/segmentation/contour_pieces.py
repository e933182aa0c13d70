"""A contour measured piece by piece: how soft it is there, and how far apart two contours run.

Sums are taken on a small grid and blurred over about one piece, so a figure is the mean of a piece of contour
and costs little.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["PIECE", "contour_of", "near_contour", "nearby_mean", "per_contour", "rise", "soft_width"]

Floats: TypeAlias = NDArray[np.float32]

# Near the contour is within this part of the diagonal, a doll's loose hair for example.
REACH: Final = 0.05
# Softness is judged over pieces of contour of about this part of the diagonal.
PIECE: Final = 0.015


def near_contour(solid: NDArray[np.bool_], cells: tuple[int, int]) -> Floats:
    """1 within reach of the contour, 0 elsewhere, on the grid."""
    share = np.asarray(cv2.resize(solid.astype(np.float32), cells, interpolation=cv2.INTER_AREA))
    edge = ((share > 0.01) & (share < 0.99)) | (contour_of(share > 0.5) > 0)
    if not edge.any():
        return np.zeros(share.shape, np.float32)
    distance = cv2.distanceTransform((~edge).astype(np.uint8), cv2.DIST_L2, 5)
    return (distance <= max(1.0, REACH * float(np.hypot(*cells)))).astype(np.float32)


def contour_of(solid: NDArray[np.bool_]) -> Floats:
    """1 on both sides of the contour."""
    around = np.ones((3, 3), np.uint8)
    edges = cv2.morphologyEx(solid.astype(np.uint8), cv2.MORPH_GRADIENT, around)
    return np.asarray(edges, np.float32)


def soft_width(soft: Floats, contour: Floats, cells: tuple[int, int], sigma: float) -> Floats:
    """Pixels of softness for each pixel of contour, around every cell."""
    return per_contour(4 * soft * (1 - soft), contour, cells, sigma)


def per_contour(area: Floats, contour: Floats, cells: tuple[int, int], sigma: float) -> Floats:
    """Pixels of `area` for each pixel of contour, around every cell. `contour` is two pixels wide."""

    def sums(values: Floats) -> Floats:
        small = cv2.resize(values, cells, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.GaussianBlur(small, (0, 0), sigma), np.float32)

    return np.asarray(sums(area) / (sums(contour) / 2 + np.float32(1e-3)), np.float32)


def nearby_mean(values: Floats, where: Floats, sigma: float) -> Floats:
    """The mean of `values` where `where` is 1, close by; the mean of all of them where none is near."""
    everywhere = float((values * where).sum() / max(float(where.sum()), 1.0))
    sums = np.asarray(cv2.GaussianBlur(values * where, (0, 0), sigma), np.float32)
    weights = np.asarray(cv2.GaussianBlur(where, (0, 0), sigma), np.float32)
    trust = np.float32(1e-3)
    return np.asarray((sums + trust * np.float32(everywhere)) / (weights + trust), np.float32)


def rise(values: Floats, low: float, high: float) -> Floats:
    """The way of each value from `low` (0) to `high` (1)."""
    return np.asarray(np.clip((values - np.float32(low)) * np.float32(1 / (high - low)), 0, 1), np.float32)
