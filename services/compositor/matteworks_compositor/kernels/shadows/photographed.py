"""The shadow that the picture itself shows, where its backdrop is plain.

A plain backdrop is a smooth surface of colour: a second-order polynomial of the place in each channel, fitted
to what is around the subject by weights that leave out what does not belong to it (iteratively reweighted
least squares: Holland and Welsch, "Robust regression using iteratively reweighted least-squares", 1977).
Where the picture has the surface's colour, only darker, and that goes on up to the subject, it is the
subject's shadow. Black with that darkness over the surface gives the picture again, and over another
background the same shadow. Where the backdrop is not plain nothing is known, and there is no shadow.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from matteworks_compositor.kernels.shadows.layer import EMPTY_FIELD, ShadowField
from matteworks_imaging.box import fit_within
from matteworks_imaging.resampling import array_size

__all__ = ["photographed_shadow"]

Bytes8 = NDArray[np.uint8]
Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]

WORKING_SIDE_PX: Final = 512
# Alpha from which a pixel shows the subject, and how far beyond it a soft edge still does.
SUBJECT_ALPHA: Final = 8
EDGE_PX: Final = 2
# The least that must be seen of a backdrop, and how much of that must lie this near the fitted surface.
LEAST_SEEN: Final = 0.15
LEAST_PLAIN, PLAIN_LEVELS = 0.7, 8.0
# On a backdrop darker than this a shadow cannot be told.
LEAST_LEVEL: Final = 48.0
ROUNDS: Final = 12
# How far a shadow's colour may be from the darker surface's, in levels: on grey, and more the darker it is.
TINT_LEVELS, TINT_PER_DARKNESS = 6.0, 22.0
# Darkness that the backdrop's own noise and grain reach, and the most that a shadow has.
LEAST_DARKNESS, MOST_DARKNESS = 0.012, 0.9
# How far the shadow goes on under the subject's soft edge.
UNDER_PX: Final = 3.0
_SMOOTHING_PX: Final = 0.8


def photographed_shadow(rgb: Bytes8, alpha: Bytes8) -> ShadowField:
    """The shadow around the subject of `alpha` (H×W) in `rgb` (H×W×3), in their pixels.

    Empty where the backdrop is not plain, and where it shows no shadow that touches the subject.
    """
    size = array_size(alpha)
    worked = fit_within(size, WORKING_SIDE_PX**2, WORKING_SIDE_PX)
    shape = (worked.width_px, worked.height_px)
    small_rgb = cv2.resize(rgb, shape, interpolation=cv2.INTER_AREA).astype(np.float32)
    small_alpha = cv2.resize(alpha, shape, interpolation=cv2.INTER_AREA)
    side = 2 * EDGE_PX + 1
    is_near = cv2.dilate((small_alpha >= SUBJECT_ALPHA).astype(np.uint8), np.ones((side, side), np.uint8)) > 0
    fitted = _backdrop(small_rgb, ~is_near)
    if fitted is None or not is_near.any():
        return EMPTY_FIELD
    darkness = _darkness(small_rgb, *fitted)
    darkness[is_near] = 0
    darkness *= _touches(darkness, is_near)
    darkness = _under_the_edge(darkness, is_near)
    if darkness.max() < LEAST_DARKNESS:
        return EMPTY_FIELD
    return ShadowField(darkness, 0.0, 0.0, float(size.width_px), float(size.height_px))


def _backdrop(rgb: Floats, is_seen: Flags) -> tuple[Floats, float] | None:
    """The surface of colour (h×w×3) behind everything, and its noise in levels; None: it is not plain."""
    if is_seen.mean() < LEAST_SEEN:
        return None
    height, width = is_seen.shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    basis = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)
    known, seen = basis[is_seen], rgb[is_seen]
    lightness = seen.mean(axis=1)
    # Shadows darken: the surface is looked for among what is light.
    weights = np.where(lightness < np.median(lightness) - PLAIN_LEVELS, 0.2, 1.0).astype(np.float32)
    for _ in range(ROUNDS):
        weighted = known * weights[:, None]
        normal = known.T @ weighted + 1e-3 * np.eye(basis.shape[-1], dtype=np.float32)
        surface = np.linalg.solve(normal, weighted.T @ seen)
        misses = np.abs(seen - known @ surface).max(axis=1)
        noise = max(2.0, 1.48 * float(np.median(misses[misses <= np.quantile(misses, LEAST_PLAIN)])))
        weights = ((1 + (misses / (2 * noise)) ** 2) ** -2).astype(np.float32)
    backdrop = np.clip(basis @ surface, 1, 255).astype(np.float32)
    if (misses < PLAIN_LEVELS).mean() < LEAST_PLAIN or backdrop.mean() < LEAST_LEVEL:
        return None
    return backdrop, noise


def _darkness(rgb: Floats, backdrop: Floats, noise: float) -> Floats:
    """How much darker than the backdrop each place is (h×w, 0 to 1); 0 where it has another colour."""
    light = rgb.sum(axis=-1) / backdrop.sum(axis=-1)
    darkness = np.clip(1 - light, 0, MOST_DARKNESS)
    tint = np.abs(rgb - light[..., None] * backdrop).max(axis=-1)
    same_colour = np.clip(2 - 1.5 * tint / (TINT_LEVELS + TINT_PER_DARKNESS * darkness), 0, 1)
    least = max(LEAST_DARKNESS, 2 * noise / float(backdrop.mean()))
    return np.asarray(darkness * np.clip(darkness / least - 1, 0, 1) * same_colour, np.float32)


def _touches(darkness: Floats, is_near: Flags) -> Flags:
    """What of the darkness hangs together with the subject (h×w)."""
    dark = cv2.morphologyEx((darkness > 0.02).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    _, parts = cv2.connectedComponents(cv2.max(dark, is_near.astype(np.uint8)))
    return np.asarray(np.isin(parts, np.unique(parts[is_near])), np.bool_)


def _under_the_edge(darkness: Floats, is_near: Flags) -> Floats:
    """`darkness` (h×w) continued a little under the subject, where the picture does not show it."""
    outside = (~is_near).astype(np.float32)
    spread = cv2.GaussianBlur(darkness, (0, 0), UNDER_PX)
    share = cv2.GaussianBlur(outside, (0, 0), UNDER_PX)
    continued = np.where(is_near, spread / np.maximum(share, 1e-3), darkness).astype(np.float32)
    continued[share < 1e-3] = 0
    return np.asarray(cv2.GaussianBlur(continued, (0, 0), _SMOOTHING_PX), np.float32)
