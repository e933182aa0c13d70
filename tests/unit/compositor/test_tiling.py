"""Tiles for the network that enlarges, and their seams."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from matteworks_compositor.kernels.tiling import RIM_PX, TILE_PX, Tiling, detail_of, lay_tiles, with_rim
from matteworks_imaging.box import Size

FACTOR = 4


def noise(width_px: int, height_px: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height_px, width_px, 3), dtype=np.uint8)


def repeated(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Each pixel sixteen times: an enlargement that needs no neighbours."""
    return pixels.repeat(FACTOR, 0).repeat(FACTOR, 1)


@given(st.integers(1, 300), st.integers(1, 300))
@settings(max_examples=40, deadline=None)
def test_tiles_of_any_picture_give_the_whole_again(width_px: int, height_px: int) -> None:
    picture = noise(width_px, height_px)
    tiling = Tiling(Size(width_px, height_px))
    tiles = {}
    for place, area in tiling.areas.items():
        tile = with_rim(picture, area)
        assert tile.shape == (area.height_px + 2 * RIM_PX, area.width_px + 2 * RIM_PX, 3)
        assert max(tile.shape) <= TILE_PX
        tiles[place] = repeated(tile)
    canvas = np.zeros((height_px * FACTOR, width_px * FACTOR, 3), np.uint8)
    lay_tiles(canvas, tiling, tiles, FACTOR)
    assert np.array_equal(canvas, repeated(picture))


def test_a_rim_beyond_the_picture_mirrors_it() -> None:
    picture = noise(10, 6)
    (area,) = Tiling(Size(10, 6)).areas.values()
    tile = with_rim(picture, area)
    assert np.array_equal(tile[RIM_PX : RIM_PX + 6, RIM_PX : RIM_PX + 10], picture)
    assert np.array_equal(tile[RIM_PX - 1, RIM_PX:-RIM_PX], picture[0])
    assert np.array_equal(tile[RIM_PX:-RIM_PX, -RIM_PX], picture[:, -1])


def test_neighbours_fade_into_each_other_and_into_what_was_not_drawn() -> None:
    tiling = Tiling(Size(250, 80))
    places = sorted(tiling.areas)
    assert len(places) == 3
    tiles = {
        place: np.full((area.height_px * FACTOR + 32, area.width_px * FACTOR + 32, 3), level, np.uint8)
        for (place, area), level in zip(tiling.areas.items(), (100, 200), strict=False)
    }
    canvas = np.zeros((320, 1000, 3), np.uint8)
    lay_tiles(canvas, tiling, tiles, FACTOR)
    row = canvas[160, :, 0].astype(int)
    assert (row[0], row[500], row[-1]) == (100, 200, 0)
    assert np.abs(np.diff(row)).max() <= 200 / 8 + 1, "no step is larger than a fade's"
    assert (canvas == canvas[:1]).all(), "nothing fades at the picture's own edges"


def test_only_what_differs_from_its_neighbours_is_detail() -> None:
    flat = np.tile(np.linspace(50, 200, 300).astype(np.uint8)[None, :, None], (200, 1, 3))
    assert not detail_of(flat).any()
    flat[30, 20] = 255
    detail = detail_of(flat)
    assert detail[30, 20]
    assert not detail[100:].any()
    assert list(Tiling(Size(300, 200)).with_detail(detail)) == [(0, 0)]
