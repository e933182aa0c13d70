"""Lists of soft pixels: complete, in place, and whatever the strips are."""

from __future__ import annotations

import numpy as np
import pytest

from matteworks_compositor.kernels import soft_pixels
from matteworks_compositor.kernels.soft_pixels import sample_field, soft_strips

RANDOM = np.random.default_rng(3)
ALPHA = RANDOM.choice(np.array((0, 0, 90, 255), np.uint8), (37, 53))


@pytest.mark.parametrize("strip_pixels", [1, 53 * 5, 1 << 19])
def test_every_soft_pixel_is_listed_once_whatever_the_strips(
    monkeypatch: pytest.MonkeyPatch, strip_pixels: int
) -> None:
    monkeypatch.setattr(soft_pixels, "STRIP_PIXELS", strip_pixels)
    found = np.zeros(ALPHA.shape, int)
    for strip in soft_strips(ALPHA):
        np.add.at(found, (strip.y.astype(int), strip.x.astype(int)), 1)
    assert (found == (ALPHA == 90)).all()


def test_rows_and_settled_pixels_that_are_not_asked_for_are_left_out() -> None:
    settled = np.full(ALPHA.shape, 255, np.uint8)
    settled[:, :20] = 7
    rows = {int(y) for strip in soft_strips(ALPHA, 10, 20, settled) for y in strip.y}
    columns = {int(x) for strip in soft_strips(ALPHA, 10, 20, settled) for x in strip.x}
    assert (min(rows), max(rows)) == (10, 19)
    assert min(columns) >= 20


def test_a_view_is_read_and_an_array_is_written_at_the_listed_pixels() -> None:
    larger = RANDOM.integers(0, 256, (60, 80, 3), np.uint8)
    view, copy = larger[5:42, 9:62], np.zeros((37, 53, 3), np.uint8)
    for strip in soft_strips(ALPHA):
        strip.write(copy, strip.read(view))
    soft = ALPHA == 90
    assert (copy[soft] == view[soft]).all()
    assert not copy[~soft].any()


def test_a_field_is_sampled_between_the_centres_of_its_pixels() -> None:
    field = np.array([[[0.0, 10.0], [4.0, 30.0]]], np.float32)
    x = np.array([0.0, 0.5, 1.0, 1.5, 9.0], np.float32)
    sampled = sample_field(field, x, np.full(5, 0.5, np.float32))
    assert np.allclose(sampled, [[0, 10], [0, 10], [2, 20], [4, 30], [4, 30]])
