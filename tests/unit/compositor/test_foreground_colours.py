"""The subject's own colours: exact composites give back the art they were made from."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from matteworks_compositor.kernels.foreground_colours import estimate_foreground

# The public promise is 3 levels; drawn art is easier than photographs.
MEAN_ERROR_LEVELS = 3.0


def drawn_art(side_px: int = 200, softness_px: float = 12.0) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Art with slowly changing colours and a soft edge, and its alpha."""
    y, x = np.mgrid[0:side_px, 0:side_px] / side_px
    art = np.stack((150 + 60 * x, 90 + 40 * y, 60 + 50 * x * y), axis=2)
    distance = (0.32 - np.hypot(x - 0.5, y - 0.5)) * side_px
    return art, np.rint(np.clip(distance / softness_px + 0.5, 0, 1) * 255).astype(np.uint8)


def composite(
    art: NDArray[np.float64], alpha: NDArray[np.uint8], colour: tuple[int, int, int]
) -> NDArray[np.uint8]:
    share = alpha[..., None] / 255
    return np.rint(art * share + np.array(colour) * (1 - share)).astype(np.uint8)


@pytest.mark.parametrize("old", [(0, 0, 0), (255, 255, 255), (0, 210, 40)])
@pytest.mark.parametrize("new", [(0, 0, 0), (255, 255, 255), (230, 0, 200)])
def test_the_recomposed_subject_shows_nothing_of_the_old_background(
    old: tuple[int, int, int], new: tuple[int, int, int]
) -> None:
    art, alpha = drawn_art()
    estimate = estimate_foreground(composite(art, alpha, old), alpha)
    soft = (alpha > 0) & (alpha < 255)
    recomposed = composite(estimate.astype(np.float64), alpha, new)[soft].astype(float)
    wanted = composite(art, alpha, new)[soft]
    assert np.abs(recomposed - wanted).mean() <= MEAN_ERROR_LEVELS


def test_a_sharp_edge_has_no_rim() -> None:
    art, alpha = drawn_art(softness_px=2.0)
    estimate = estimate_foreground(composite(art, alpha, (255, 255, 255)), alpha)
    soft = (alpha > 30) & (alpha < 255)
    assert np.abs(estimate[soft] - art[soft]).max() < 30


def test_certain_subject_pixels_keep_their_colour() -> None:
    art, alpha = drawn_art()
    picture = composite(art, alpha, (0, 210, 40))
    assert (estimate_foreground(picture, alpha)[alpha == 255] == picture[alpha == 255]).all()


def test_nothing_of_the_removed_background_stays() -> None:
    art, alpha = drawn_art()
    assert not estimate_foreground(composite(art, alpha, (0, 210, 40)), alpha)[alpha == 0].any()


def test_the_callers_picture_is_not_changed() -> None:
    art, alpha = drawn_art()
    picture = composite(art, alpha, (0, 210, 40))
    before = picture.copy()
    estimate_foreground(picture, alpha)
    assert (picture == before).all()


def test_pixels_that_the_file_itself_has_partly_transparent_keep_their_colour() -> None:
    art, alpha = drawn_art()
    picture = composite(art, alpha, (0, 210, 40))
    settled = np.full(alpha.shape, 255, np.uint8)
    settled[:100] = 128
    estimate = estimate_foreground(picture, alpha, settled)
    soft = (alpha > 0) & (alpha < 255)
    assert (estimate[:100][soft[:100]] == picture[:100][soft[:100]]).all()
    assert (estimate[100:] == estimate_foreground(picture, alpha)[100:]).all()


@pytest.mark.parametrize(("height", "width"), [(1, 700), (700, 1), (3, 611), (517, 1031)])
def test_sides_that_are_no_multiple_of_a_cell_are_survived(height: int, width: int) -> None:
    alpha = np.tile(np.clip(np.linspace(-2000, 2255, width), 0, 255).astype(np.uint8), (height, 1))
    art = np.full((height, width, 3), (200.0, 90.0, 30.0))
    estimate = estimate_foreground(composite(art, alpha, (0, 40, 210)), alpha)
    assert width == 1 or np.abs(estimate[alpha > 128] - art[alpha > 128]).mean() < MEAN_ERROR_LEVELS


@pytest.mark.parametrize("level", [0, 128, 255])
def test_an_even_alpha_is_survived(level: int) -> None:
    picture = np.full((9, 7, 3), 77, np.uint8)
    estimate = estimate_foreground(picture, np.full((9, 7), level, np.uint8))
    assert np.abs(estimate.astype(int) - (77 if level else 0)).max() <= 1
