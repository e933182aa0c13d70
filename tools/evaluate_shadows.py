#!/usr/bin/env python3
"""Measure what becomes of a subject's old shadow, removed and kept.

    python -m tools.evaluate_shadows --data DIR --models DIR [--set people150] [--limit 20] [--sheet FILE]

Subjects of a set with known masks are laid before plain backdrops of six colours, unevenly lit and with a
little noise, and get a shadow of known darkness, cast or below them. Prints, over all of them: `left`, the
mean alpha that a removal leaves where there is shadow and no subject (0 to 1); `plain`, the same where there
is neither; `kept`, the mean error of the darkness that `original` keeps where there is shadow, beside `dark`,
the mean darkness there; `found`, how many have any. `--data` and `--models` as for
`tools/evaluate_mattes.py`. `--sheet` draws picture, removal, and the kept shadow on white and on blue.
"""

import argparse
from itertools import cycle
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from matteworks_compositor.kernels.foreground_colours import estimate_foreground
from matteworks_compositor.kernels.shadows.cast import cast_shadow
from matteworks_compositor.kernels.shadows.drop import drop_shadow
from matteworks_compositor.kernels.shadows.layer import ShadowField, lay_under
from matteworks_compositor.kernels.shadows.photographed import photographed_shadow
from tools.evaluate_mattes import Case, Networks, our_matte, read_cases

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
BACKDROPS = (
    (245, 245, 243),
    (205, 200, 190),
    (232, 112, 48),
    (90, 130, 190),
    (150, 170, 120),
    (225, 200, 205),
)
OPACITY_PERCENT = 65
NOISE_LEVELS = 1.5
# What counts as shadow.
SEEN_DARKNESS = 0.08
TILE_PX = 260


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--set", default="people150")
    parser.add_argument("--limit", type=int, default=20, help="pictures, evenly taken")
    parser.add_argument("--sheet", type=Path)
    arguments = parser.parse_args()
    networks = Networks(arguments.models, None, 2)
    rows, tiles = [], []
    kinds = cycle((cast_shadow, drop_shadow))
    for case, colour in zip(
        read_cases(arguments.data / arguments.set, arguments.limit, None), cycle(BACKDROPS), strict=False
    ):
        field = next(kinds)(case.truth)
        staged, darkness = stage(case, field, colour)
        matte, _ = our_matte(networks, staged, "balanced")
        found = photographed_shadow(staged.picture, matte)
        is_beside = cv2.dilate(case.truth, np.ones((9, 9), np.uint8)) == 0
        is_shaded = is_beside & (darkness > SEEN_DARKNESS)
        kept = pixels_of(found, darkness.shape, 100)
        rows.append(
            (
                matte[is_shaded].mean() / 255,
                matte[is_beside & (darkness < 0.004)].mean() / 255,
                np.abs(kept - darkness)[is_shaded].mean(),
                darkness[is_shaded].mean(),
                float(not found.is_empty),
            )
        )
        tiles.append(tile(staged.picture, matte, found))
    print(f"{'pictures':>9}" + "".join(f"{name:>8}" for name in ("left", "plain", "kept", "dark", "found")))
    print(f"{len(rows):>9}" + "".join(f"{mean:>8.3f}" for mean in np.mean(rows, axis=0)))
    if arguments.sheet:
        Image.fromarray(np.vstack(tiles)).save(arguments.sheet)


def stage(case: Case, field: ShadowField, colour: tuple[int, int, int]) -> tuple[Case, Floats]:
    """The subject of `case` before a backdrop with that shadow, and the shadow's darkness (H×W, 0 to 1)."""
    height, width = case.truth.shape
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    light = (1 - 0.1 * np.abs(x - 0.35) - 0.12 * y * y)[..., None]
    darkness = pixels_of(field, case.truth.shape, OPACITY_PERCENT)
    behind = np.array(colour) * light * (1 - darkness[..., None])
    share = case.truth[..., None] / 255
    picture = estimate_foreground(case.picture, case.truth) * share + behind * (1 - share)
    noise = np.random.default_rng(len(case.name)).normal(0, NOISE_LEVELS, picture.shape)
    staged = np.clip(np.rint(picture + noise), 0, 255).astype(np.uint8)
    return Case(case.set_name, f"{case.name}-staged", staged, case.truth), darkness


def pixels_of(field: ShadowField, shape: tuple[int, ...], opacity_percent: float) -> Floats:
    """The darkness of a field (H×W, 0 to 1)."""
    darkness = np.zeros(shape[:2], np.float32)
    layer = field.rasterise(opacity_percent, canvas_width_px=shape[1], canvas_height_px=shape[0])
    height, width = layer.alpha.shape
    darkness[layer.top_px : layer.top_px + height, layer.left_px : layer.left_px + width] = layer.alpha / 255
    return darkness


def tile(picture: Bytes, matte: Bytes, field: ShadowField) -> Bytes:
    """The picture, its plain cut-out on white, and with its shadow on white and on blue."""
    height, width = matte.shape
    cut_out = np.dstack([estimate_foreground(picture, matte), matte])
    shaded = cut_out.copy()
    lay_under(shaded, field.rasterise(100, canvas_width_px=width, canvas_height_px=height))
    results = [picture]
    for rgba, ground in ((cut_out, (255, 255, 255)), (shaded, (255, 255, 255)), (shaded, (120, 180, 220))):
        share = rgba[..., 3:] / 255
        results.append(np.rint(rgba[..., :3] * share + np.array(ground) * (1 - share)).astype(np.uint8))
    size = (round(0.75 * TILE_PX), TILE_PX)
    return np.hstack([np.asarray(cv2.resize(one, size, interpolation=cv2.INTER_AREA)) for one in results])


if __name__ == "__main__":
    main()
