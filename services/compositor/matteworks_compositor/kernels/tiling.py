"""A picture in tiles for a network that sees one at a time, and its answers in one picture again.

Convolutions guess beyond a tile's rim. Measured on a busy photo, ESRGAN's answer to a tile is off by 4 levels
(root mean square) at its rim, by 0.3 four pixels from it, and by nothing from nine on. So a tile has a rim
that is thrown away, and neighbours fade into each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from matteworks_imaging.box import Box, Size

__all__ = ["FADE_PX", "RIM_PX", "TILE_PX", "Place", "Tiling", "detail_of", "lay_tiles", "with_rim"]

Bytes8: TypeAlias = NDArray[np.uint8]
# Row and column of a tile.
Place: TypeAlias = tuple[int, int]

TILE_PX: Final = 96
RIM_PX: Final = 4
FADE_PX: Final = 2
_CORE_PX: Final = TILE_PX - 2 * RIM_PX
# A pixel that is no further from the mean of its neighbours has nothing that a network could sharpen.
FLAT_LEVELS: Final = 3


@dataclass(frozen=True)
class Tiling:
    """The tiles of a picture of `size` without their rims: they overlap, and cover it."""

    size: Size

    @property
    def areas(self) -> dict[Place, Box]:
        """Every tile, row by row."""
        lefts, tops = _starts(self.size.width_px), _starts(self.size.height_px)
        across, down = min(_CORE_PX, self.size.width_px), min(_CORE_PX, self.size.height_px)
        return {
            (row, column): Box(left, top, across, down)
            for row, top in enumerate(tops)
            for column, left in enumerate(lefts)
        }

    def with_detail(self, detail: Bytes8) -> dict[Place, Box]:
        """The tiles in which `detail` (H×W) is set somewhere."""
        return {place: area for place, area in self.areas.items() if detail[area.slices].any()}


def detail_of(pixels: Bytes8) -> Bytes8:
    """H×W, 255 where a pixel of `pixels` (H×W×C) differs from what is around it."""
    difference = cv2.absdiff(pixels, cv2.blur(pixels, (3, 3)).reshape(pixels.shape)).reshape(pixels.shape)
    detail: Bytes8 = (difference.max(axis=2) > FLAT_LEVELS).astype(np.uint8) * np.uint8(255)
    return detail


def with_rim(pixels: Bytes8, area: Box) -> Bytes8:
    """`area` of `pixels` (H×W×3, or H×W×1, which becomes grey) and its rim, h×w×3; beyond the picture's edge
    it is mirrored.
    """
    height_px, width_px = pixels.shape[:2]
    left, top = max(0, area.left_px - RIM_PX), max(0, area.top_px - RIM_PX)
    right, bottom = min(width_px, area.right_px + RIM_PX), min(height_px, area.bottom_px + RIM_PX)
    missing = (
        RIM_PX - (area.top_px - top),
        RIM_PX - (bottom - area.bottom_px),
        RIM_PX - (area.left_px - left),
        RIM_PX - (right - area.right_px),
    )
    tile = cv2.copyMakeBorder(pixels[top:bottom, left:right], *missing, cv2.BORDER_REFLECT)
    return np.asarray(tile if tile.ndim == 3 else cv2.merge((tile, tile, tile)), np.uint8)


def lay_tiles(canvas: Bytes8, tiling: Tiling, tiles: Mapping[Place, Bytes8], factor: int) -> None:
    """Draw `tiles`, each `factor` times as large as its area with rim, into `canvas`, in place.

    `canvas` has the whole picture in that size: where there is no tile it stays, and tiles fade into it.
    """
    for (row, column), area in tiling.areas.items():
        tile = tiles.get((row, column))
        if tile is None:
            continue
        rim, fade = factor * RIM_PX, factor * FADE_PX
        inner = tile[rim : tile.shape[0] - rim, rim : tile.shape[1] - rim]
        # What came before is faded over; what comes after fades over this.
        down = _fading(
            inner.shape[0], fade, area.top_px > 0,
            area.bottom_px < tiling.size.height_px and (row + 1, column) not in tiles,
        )  # fmt: skip
        across = _fading(
            inner.shape[1], fade, area.left_px > 0,
            area.right_px < tiling.size.width_px and (row, column + 1) not in tiles,
        )  # fmt: skip
        share = (down[:, None] * across[None, :])[..., None]
        place = canvas[
            factor * area.top_px : factor * area.bottom_px, factor * area.left_px : factor * area.right_px
        ]
        place[:] = np.rint(place + (inner.astype(np.float32) - place) * share)


def _starts(side_px: int) -> list[int]:
    """Where the tiles along a side begin; the last one ends with the picture."""
    last = max(0, side_px - _CORE_PX)
    return [*range(0, last, _CORE_PX - FADE_PX), last]


def _fading(length: int, fade: int, at_start: bool, at_end: bool) -> NDArray[np.float32]:
    share = np.ones(length, np.float32)
    fade = min(fade, length)
    ramp = (np.arange(fade, dtype=np.float32) + 0.5) / fade
    if at_start:
        share[:fade] = ramp
    if at_end:
        share[length - fade :] *= ramp[::-1]
    return share
