"""Laying a cut-out over a background: exact where it is plain, rounded where it is mixed."""

from __future__ import annotations

import numpy as np
import pytest

from matteworks_compositor.kernels.flattening import flatten_onto, put_color_under
from matteworks_compositor.options.model import Color


def random_rgba(seed: int = 1) -> np.ndarray:
    random = np.random.default_rng(seed)
    rgba = random.integers(0, 256, (300, 40, 4), np.uint8)
    rgba[:100, :, 3], rgba[100:200, :, 3] = 0, 255
    return rgba


def test_flattening_equals_the_formula_to_half_a_level() -> None:
    rgba = random_rgba()
    backdrop = np.random.default_rng(2).integers(0, 256, (300, 40, 3), np.uint8)
    share = rgba[..., 3:] / 255
    expected = rgba[..., :3] * share + backdrop * (1 - share)
    result = flatten_onto(backdrop, rgba)
    assert np.abs(result - expected).max() <= 0.51


@pytest.mark.parametrize("alpha", [1, 128, 254])
def test_a_colour_put_under_equals_the_formula(alpha: int) -> None:
    rgba = random_rgba()
    upper, lower = rgba[..., 3:] / 255, alpha / 255
    united = upper + lower * (1 - upper)
    colours = (rgba[..., :3] * upper + np.array((10, 200, 90)) * lower * (1 - upper)) / united
    put_color_under(rgba, Color(10, 200, 90, alpha))
    assert np.abs(rgba[..., 3:] - united * 255).max() <= 0.51
    assert np.abs(rgba[..., :3] - colours).max() <= 0.51
