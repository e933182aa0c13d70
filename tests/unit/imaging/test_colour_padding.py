"""Colours beyond the edge come from the subject alone, and the subject itself is not touched."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matteworks_imaging.filters.colour_padding import blank_where_empty, pad_colours


@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 2**32 - 1))
def test_the_visible_part_is_never_changed(width: int, height: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    alpha = (random.random((height, width)) < 0.4).astype(np.uint8) * 200
    colours = random.integers(0, 256, (height, width, 3), np.uint8)
    colours[alpha == 0] = 0
    before = colours.copy()
    padded = pad_colours(colours, alpha)
    assert np.array_equal(padded[alpha > 0], before[alpha > 0])


@pytest.mark.parametrize("size", [(64, 64), (65, 63), (300, 40)])
def test_one_colour_is_carried_on_everywhere(size: tuple[int, int]) -> None:
    alpha = np.zeros(size, np.uint8)
    alpha[size[0] // 4 : size[0] // 2, size[1] // 4 : size[1] // 2] = 255
    colours = np.zeros((*size, 3), np.uint8)
    colours[alpha > 0] = (200, 100, 50)
    padded = pad_colours(colours, alpha)
    assert np.abs(padded.astype(int) - (200, 100, 50)).max() <= 3


def test_without_a_subject_the_picture_stays_black() -> None:
    assert not pad_colours(np.zeros((40, 40, 3), np.uint8), np.zeros((40, 40), np.uint8)).any()


def test_blanking_clears_exactly_what_is_empty() -> None:
    random = np.random.default_rng(3)
    alpha = random.integers(0, 3, (600, 50), np.uint8)
    colours = random.integers(1, 256, (600, 50, 3), np.uint8)
    expected = np.where(alpha[..., None] > 0, colours, 0)
    blank_where_empty(colours, alpha)
    assert np.array_equal(colours, expected)
