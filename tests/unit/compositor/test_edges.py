"""Edges at full resolution, on exact composites of drawn art; `docs/quality.md` has the same at 10 and 25 MP.

The pipeline's own steps run, with the true matte at 1024 px a side in place of a network's answer.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from tools.evaluate_edges import (
    Case,
    colour_error,
    contour_error,
    cut_out,
    draw_case,
    plain_enlargement,
    spill,
)

from matteworks_compositor.kernels.foreground_colours import estimate_foreground

MEGAPIXELS = 4.0
MOST_LEVELS = 3.0
# Distance of our contour over that of the plain enlargement, at most.
MOST_OF_CUBIC = {"hair": 0.2, "fur": 0.35, "text": 0.35, "leaf": 0.9}


@cache
def drawn(subject: str, background: str) -> Case:
    return draw_case(subject, background, MEGAPIXELS)


def disc(radius_px: float, side_px: int = 200) -> NDArray[np.uint8]:
    y, x = np.mgrid[0:side_px, 0:side_px]
    distance = radius_px - np.hypot(x - side_px / 2, y - side_px / 2)
    return np.rint(np.clip(distance + 0.5, 0, 1) * 255).astype(np.uint8)


@pytest.mark.parametrize(("grown_px", "least", "most"), [(0.0, 0.0, 0.0), (0.4, 0.35, 0.6), (5.0, 4.8, 5.3)])
def test_the_measure_tells_by_how_many_pixels_a_contour_is_off(
    grown_px: float, least: float, most: float
) -> None:
    assert least <= contour_error(disc(60 + grown_px), disc(60)) <= most


@pytest.mark.parametrize("subject", MOST_OF_CUBIC)
def test_the_contour_follows_the_picture_and_not_the_networks_grid(subject: str) -> None:
    case = drawn(subject, "photographic")
    plain_px = contour_error(plain_enlargement(case.alpha), case.alpha)
    ours_px = contour_error(cut_out(case)[..., 3], case.alpha)
    assert ours_px < MOST_OF_CUBIC[subject] * plain_px


@pytest.mark.parametrize("background", ["photographic", "studio"])
@pytest.mark.parametrize("subject", [*MOST_OF_CUBIC, "smoke"])
def test_colours_in_the_soft_band_are_the_subjects_own(subject: str, background: str) -> None:
    case = drawn(subject, background)
    errors = colour_error(estimate_foreground(case.picture, case.alpha), case.alpha, case)
    assert float(np.mean(list(errors.values()))) <= MOST_LEVELS
    before = colour_error(case.picture, case.alpha, case)
    assert sum(errors.values()) < 0.6 * sum(before.values()), "pasting the picture's colours is no rival"


@pytest.mark.parametrize("subject", ["smoke", "text", "leaf"])
def test_the_whole_pipelines_edge_looks_right_on_any_colour(subject: str) -> None:
    case = drawn(subject, "photographic")
    canvas = cut_out(case)
    errors = colour_error(cv2.cvtColor(canvas, cv2.COLOR_RGBA2RGB), canvas[..., 3].copy(), case)
    assert max(errors.values()) <= MOST_LEVELS


def test_despill_takes_the_green_light_away_and_keeps_luminance() -> None:
    before, after, change = spill(draw_case("hair", "green", MEGAPIXELS, has_spill=True))
    assert before > 2
    assert after < 0.1
    assert change < 1
