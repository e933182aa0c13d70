"""The soft pixels of a large alpha, a strip of rows at a time, and what small grids say at them.

A soft edge is a few percent of a picture. Whatever is computed there is computed on flat lists of these
pixels, so its price is that of the edge, and the strips bound the memory of a large picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["SoftStrip", "sample_field", "soft_strips"]

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

# Pixels of a strip, soft or not.
STRIP_PIXELS = 1 << 19
# Points of a sampled grid that are looked up in one row: only the total matters.
LOOKUP_COLUMNS = 1024


@dataclass(frozen=True, slots=True)
class SoftStrip:
    """The soft pixels of some rows. `flat` counts them within these rows; `x` and `y` are their centres
    in the pixels of the whole picture, so the first pixel's centre is 0.5.
    """

    rows: slice
    flat: NDArray[np.intp]
    x: Floats
    y: Floats

    def read(self, pixels: Bytes) -> Bytes:
        """What the picture `pixels` (H×W or H×W×c) holds at these pixels: n or n×c."""
        strip = np.ascontiguousarray(pixels[self.rows])
        return strip.reshape(-1, *strip.shape[2:]).take(self.flat, axis=0)

    def write(self, pixels: Bytes, values: Bytes) -> None:
        """Put n or n×c `values` into `pixels`, which is contiguous, at these pixels."""
        strip = pixels[self.rows].reshape(-1)
        if pixels.ndim == 2:
            strip[self.flat] = values
            return
        # One item a pixel: four times as fast as writing rows of three.
        whole = np.dtype((np.void, pixels.shape[2]))
        np.put(strip.view(whole), self.flat, np.ascontiguousarray(values).reshape(-1).view(whole))


def soft_strips(
    alpha: Bytes, first: int = 0, last: int | None = None, settled: Bytes | None = None
) -> Iterator[SoftStrip]:
    """The soft pixels of `alpha` (H×W) in the rows `first` up to `last`; strips without any are left out.

    Where `settled` (H×W) is neither 0 nor 255 there is nothing left to compute; None: nowhere.
    """
    height, width = alpha.shape
    last = height if last is None else min(last, height)
    row_count = max(1, STRIP_PIXELS // width)
    for start in range(first, last, row_count):
        rows = slice(start, min(start + row_count, last))
        soft = np.asarray(cv2.inRange(alpha[rows], 1, 254), np.uint8)
        if settled is not None:
            soft[cv2.inRange(settled[rows], 1, 254).view(np.bool_)] = 0
        # Many times faster than looking for them as pairs of coordinates.
        flat = np.flatnonzero(soft.view(np.bool_))
        if not len(flat):
            continue
        y, x = np.divmod(flat, width)
        yield SoftStrip(
            rows, flat, x.astype(np.float32) + np.float32(0.5), y.astype(np.float32) + np.float32(start + 0.5)
        )


def sample_field(field: Floats, x: Floats, y: Floats) -> Floats:
    """Bilinear samples of `field` (h×w×c, at most four channels) at n points: n×c.

    `x` and `y` are in the field's pixels, the first one's centre at 0.5; beyond the ends it goes on evenly.
    """
    count = len(x)
    where = np.zeros((2, -(-count // LOOKUP_COLUMNS) * LOOKUP_COLUMNS), np.float32)
    np.subtract(x, np.float32(0.5), out=where[0, :count])
    np.subtract(y, np.float32(0.5), out=where[1, :count])
    grid = where.reshape(2, -1, LOOKUP_COLUMNS)
    sampled = cv2.remap(field, grid[0], grid[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(sampled, np.float32).reshape(-1, field.shape[2])[:count]
