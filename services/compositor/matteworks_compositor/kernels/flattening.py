"""Laying a cut-out over what is behind it, in strips that keep the memory small.

Mixing is done on sRGB values, as image programs do by default, so that a cut-out pasted by hand and one
composed here look the same. Only the soft pixels are computed; the others are copied.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from matteworks_compositor.options.model import Color

__all__ = ["flatten_onto", "lay_over", "put_color_under"]

Bytes8 = NDArray[np.uint8]

STRIP_ROWS = 256


def flatten_onto(backdrop: Bytes8, rgba: Bytes8) -> Bytes8:
    """Lay `rgba` (H×W×4, straight) over the opaque `backdrop` (H×W×3), in place; returns `backdrop`.

    Both are contiguous.
    """
    for rows in _strips(rgba.shape[0]):
        below, above = backdrop[rows], rgba[rows]
        alpha = np.asarray(cv2.extractChannel(above, 3), np.uint8)
        cv2.copyTo(cv2.cvtColor(above, cv2.COLOR_RGBA2RGB), cv2.inRange(alpha, 255, 255), below)
        soft = _soft_pixels(alpha)
        if len(soft):
            upper, lower = above.reshape(-1, 4)[soft].astype(np.float32), below.reshape(-1, 3)
            share = upper[:, 3:] / 255
            lower[soft] = (upper[:, :3] * share + lower[soft] * (1 - share) + 0.5).astype(np.uint8)
    return backdrop


def lay_over(backdrop: Bytes8, rgba: Bytes8) -> None:
    """Lay `rgba` over `backdrop`, both H×W×4, straight and contiguous, in place: Porter and Duff's "over".

    Where `rgba` is empty, the backdrop keeps its colours, seen or not.
    """
    for rows in _strips(rgba.shape[0]):
        below, above = backdrop[rows], rgba[rows]
        alpha = np.asarray(cv2.extractChannel(above, 3), np.uint8)
        cv2.copyTo(above, cv2.inRange(alpha, 255, 255), below)
        soft = _soft_pixels(alpha)
        if len(soft):
            pixels = below.reshape(-1, 4)
            upper, lower = above.reshape(-1, 4)[soft].astype(np.float32), pixels[soft].astype(np.float32)
            share = upper[:, 3:] / 255
            rest = lower[:, 3:] / 255 * (1 - share)
            upper[:, :3] = (upper[:, :3] * share + lower[:, :3] * rest) / (share + rest)
            upper[:, 3:] = (share + rest) * 255
            pixels[soft] = (upper + 0.5).astype(np.uint8)


def put_color_under(rgba: Bytes8, color: Color) -> None:
    """Put one, partly transparent, `color` under `rgba` (H×W×4, straight, contiguous), in place."""
    flat = np.array((color.red, color.green, color.blue, color.alpha), np.uint8)
    filled = np.tile(flat, (min(STRIP_ROWS, rgba.shape[0]), rgba.shape[1], 1))
    for rows in _strips(rgba.shape[0]):
        above = rgba[rows]
        alpha = np.asarray(cv2.extractChannel(above, 3), np.uint8)
        cv2.copyTo(filled[: above.shape[0]], cv2.inRange(alpha, 0, 0), above)
        soft = _soft_pixels(alpha)
        if len(soft):
            pixels = above.reshape(-1, 4)
            upper = pixels[soft].astype(np.float32)
            share = upper[:, 3:] / 255
            rest = np.float32(color.alpha / 255) * (1 - share)
            united = share + rest
            upper[:, :3] = (upper[:, :3] * share + flat[:3] * rest) / united
            upper[:, 3:] = united * 255
            pixels[soft] = (upper + 0.5).astype(np.uint8)


def _soft_pixels(alpha: Bytes8) -> NDArray[np.intp]:
    """Flat indices of the pixels that are neither empty nor opaque."""
    return np.flatnonzero(np.asarray(cv2.inRange(alpha, 1, 254), np.uint8).view(np.bool_))


def _strips(height: int) -> list[slice]:
    return [slice(start, min(start + STRIP_ROWS, height)) for start in range(0, height, STRIP_ROWS)]
