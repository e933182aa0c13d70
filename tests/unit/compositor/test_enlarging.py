"""Larger pictures that average to what they came from."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from matteworks_common.errors import InvalidField
from matteworks_compositor.editing.enlarger import Bounds, enlarged_size
from matteworks_compositor.kernels.enlarging import OVERSHOOT_LEVELS, enlarge, first_guess
from matteworks_imaging.box import Size


def photo_like(width_px: int, height_px: int) -> NDArray[np.uint8]:
    noise = np.random.default_rng(3).normal(128, 90, (height_px, width_px, 3))
    return np.clip(cv2.GaussianBlur(noise, (0, 0), 1.5), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("size", [(120, 80), (240, 160), (90, 60), (301, 203)], ids=str)
def test_shrunk_again_it_is_the_picture(size: tuple[int, int]) -> None:
    picture = photo_like(60, 40)
    larger = enlarge(picture, Size(*size))
    assert larger.shape == (size[1], size[0], 3)
    again = cv2.resize(larger, (60, 40), interpolation=cv2.INTER_AREA)
    plain = cv2.resize(first_guess(picture, Size(*size)), (60, 40), interpolation=cv2.INTER_AREA)
    error = np.abs(again.astype(float) - picture).mean()
    assert error < 0.6
    assert error < np.abs(plain.astype(float) - picture).mean()


def test_what_was_drawn_wrongly_is_set_right() -> None:
    picture = photo_like(60, 40)
    drawn = np.clip(first_guess(picture, Size(240, 160)).astype(int) + 9, 0, 255).astype(np.uint8)
    again = cv2.resize(enlarge(picture, Size(120, 80), drawn), (60, 40), interpolation=cv2.INTER_AREA)
    assert np.abs(again.astype(float) - picture).mean() < 0.7


def test_an_edge_gets_no_rim() -> None:
    picture = np.full((20, 20, 3), 60, np.uint8)
    picture[:, 10:] = 190
    larger = enlarge(picture, Size(80, 80))
    assert larger.min() >= 60 - OVERSHOOT_LEVELS
    assert larger.max() <= 190 + OVERSHOOT_LEVELS
    alpha = enlarge(picture[..., :1], Size(80, 80), None, 0)
    assert (alpha.min(), alpha.max(), alpha.shape) == (60, 190, (80, 80, 1))


@pytest.mark.parametrize("level", [0, 77, 255])
def test_what_is_flat_stays_flat(level: int) -> None:
    assert (enlarge(np.full((7, 1, 3), level, np.uint8), Size(2, 14)) == level).all()


@pytest.mark.parametrize(
    ("wanted", "size"),
    [
        (2, (200, 100)),
        (4, (400, 200)),
        (Bounds(150, 0), (150, 75)),
        (Bounds(0, 75), (150, 75)),
        (Bounds(800, 90), (180, 90)),
        (Bounds(101, 500), (101, 51)),
        (Bounds(800, 0), (800, 400)),
    ],
    ids=str,
)
def test_the_ratio_stays(wanted: int | Bounds, size: tuple[int, int]) -> None:
    assert enlarged_size(Size(100, 50), wanted) == Size(*size)


@pytest.mark.parametrize(
    ("picture", "wanted", "field", "words"),
    [
        ((100, 50), 16, "factor", "2 or 4"),
        ((100, 50), 0, "factor", "2 or 4"),
        ((100, 50), Bounds(0, 0), "bounds", "width, a height or both"),
        ((100, 50), Bounds(-5, 0), "bounds", "1 to 16384"),
        ((100, 50), Bounds(16_385, 0), "bounds", "1 to 16384"),
        ((100, 50), Bounds(80, 0), "bounds", "more than the picture has, 100 × 50"),
        ((100, 50), Bounds(100, 50), "bounds", "more than the picture has"),
        ((100, 50), Bounds(500, 50), "bounds", "more than the picture has"),
        ((100, 50), Bounds(801, 0), "bounds", "8 times the picture, 800 × 400"),
        ((6000, 4200), 2, "factor", "50 megapixels"),
        ((5000, 100), 4, "factor", "16384 pixels a side"),
        ((8000, 6000), Bounds(16_000, 0), "bounds", "50 megapixels"),
    ],
    ids=str,
)
def test_what_cannot_be_made_says_what_can(
    picture: tuple[int, int], wanted: int | Bounds, field: str, words: str
) -> None:
    with pytest.raises(InvalidField, match=words) as raised:
        enlarged_size(Size(*picture), wanted)
    assert raised.value.field == field
