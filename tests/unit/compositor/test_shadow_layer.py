"""Shadows as pixels: opacity, clipping, and what lies under what."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from tools.drawn_subjects import bottle

from matteworks_compositor.kernels.shadows.drop import drop_shadow
from matteworks_compositor.kernels.shadows.layer import EMPTY_FIELD, ShadowField, ShadowLayer, lay_under


@pytest.fixture
def field() -> ShadowField:
    return drop_shadow(np.ascontiguousarray(bottle(240)[..., 3]))


def raster(field: ShadowField, opacity_percent: float, side_px: int = 400) -> ShadowLayer:
    return field.rasterise(
        opacity_percent, canvas_width_px=side_px, canvas_height_px=side_px, origin_left=60, origin_top=60
    )


def test_alpha_is_proportional_to_opacity(field: ShadowField) -> None:
    full = raster(field, 100).alpha.astype(float)
    for opacity_percent in (10, 25, 50, 90):
        part = raster(field, opacity_percent).alpha.astype(float)
        assert np.abs(part - full * opacity_percent / 100).max() <= 1.0


def test_opacity_0_draws_nothing(field: ShadowField) -> None:
    assert raster(field, 0).is_empty
    assert field.visible_box(0) == (0, 0, 0, 0)


def test_no_shadow_is_drawn_outside_the_canvas(field: ShadowField) -> None:
    layer = field.rasterise(100, canvas_width_px=150, canvas_height_px=210)
    height, width = layer.alpha.shape
    assert layer.left_px >= 0
    assert layer.top_px >= 0
    assert layer.left_px + width <= 150
    assert layer.top_px + height <= 210
    assert layer.alpha.max() > 0


def test_a_shadow_that_lies_wholly_outside_is_empty(field: ShadowField) -> None:
    assert field.rasterise(100, canvas_width_px=50, canvas_height_px=50, origin_left=500).is_empty


def test_clipping_does_not_move_the_shadow(field: ShadowField) -> None:
    whole, clipped = raster(field, 100), raster(field, 100, side_px=265)
    width = clipped.alpha.shape[1]
    height = clipped.alpha.shape[0]
    assert (whole.left_px, whole.top_px) == (clipped.left_px, clipped.top_px)
    np.testing.assert_array_equal(clipped.alpha, whole.alpha[:height, :width])


@pytest.mark.parametrize("opacity_percent", [5, 50, 100])
def test_the_visible_box_holds_all_that_is_drawn(field: ShadowField, opacity_percent: float) -> None:
    left, top, right, bottom = field.visible_box(opacity_percent)
    layer = raster(field, opacity_percent)
    rows, columns = np.nonzero(layer.alpha > 1)
    assert columns.min() + layer.left_px >= left + 60
    assert columns.max() + layer.left_px < right + 60
    assert rows.min() + layer.top_px >= top + 60
    assert rows.max() + layer.top_px < bottom + 60


def test_a_lighter_shadow_needs_no_more_room(field: ShadowField) -> None:
    faint, strong = field.visible_box(10), field.visible_box(100)
    assert faint[0] >= strong[0]
    assert faint[1] >= strong[1]
    assert faint[2] <= strong[2]
    assert faint[3] <= strong[3]


def test_width_and_height_may_be_scaled_differently(field: ShadowField) -> None:
    plain = field.rasterise(100, canvas_width_px=900, canvas_height_px=900, origin_left=200, origin_top=200)
    wide = field.rasterise(
        100, canvas_width_px=900, canvas_height_px=900, origin_left=200, origin_top=200, scale_x=2.0
    )
    assert abs(wide.alpha.shape[1] - 2 * plain.alpha.shape[1]) <= 2
    assert abs(wide.alpha.shape[0] - plain.alpha.shape[0]) <= 1


def test_an_empty_field_stays_empty_everywhere() -> None:
    assert EMPTY_FIELD.is_empty
    assert EMPTY_FIELD.visible_box(100) == (0, 0, 0, 0)
    assert EMPTY_FIELD.rasterise(100, canvas_width_px=10, canvas_height_px=10).is_empty


def small_pictures() -> st.SearchStrategy[NDArray[np.uint8]]:
    return arrays(np.uint8, (5, 7, 4))


@given(rgba=small_pictures(), shadow=arrays(np.uint8, (5, 7)))
def test_laying_under_is_over_compositing_in_straight_alpha(
    rgba: NDArray[np.uint8], shadow: NDArray[np.uint8]
) -> None:
    result = rgba.copy()
    lay_under(result, ShadowLayer(shadow, 0, 0))

    subject, below = rgba[..., 3] / 255, shadow / 255
    united = subject + below * (1 - subject)
    np.testing.assert_allclose(result[..., 3] / 255, united, atol=1.01 / 255)
    # What is seen on white: both sides premultiplied, so that invisible colours do not count.
    expected = rgba[..., :3] / 255 * subject[..., None]
    actual = result[..., :3] / 255 * result[..., 3:] / 255
    np.testing.assert_allclose(actual, expected, atol=2.6 / 255)


@given(rgba=small_pictures(), shadow=arrays(np.uint8, (5, 7)))
def test_opaque_pixels_of_the_subject_never_change(
    rgba: NDArray[np.uint8], shadow: NDArray[np.uint8]
) -> None:
    rgba[2:] |= np.array([0, 0, 0, 255], np.uint8)
    result = rgba.copy()
    lay_under(result, ShadowLayer(shadow, 0, 0))
    np.testing.assert_array_equal(result[2:], rgba[2:])


@given(rgba=small_pictures(), shadow=arrays(np.uint8, (5, 7)))
def test_a_shadow_never_lightens_what_is_seen_on_white(
    rgba: NDArray[np.uint8], shadow: NDArray[np.uint8]
) -> None:
    result = rgba.copy()
    lay_under(result, ShadowLayer(shadow, 0, 0))
    assert (on_white(result) <= on_white(rgba) + 2.6).all()
    assert (result[..., 3] >= rgba[..., 3]).all()


def test_an_empty_pixel_becomes_black_with_the_alpha_of_the_shadow() -> None:
    rgba = np.zeros((1, 1, 4), np.uint8)
    rgba[0, 0, :3] = 200
    lay_under(rgba, ShadowLayer(np.full((1, 1), 90, np.uint8), 0, 0))
    assert rgba[0, 0].tolist() == [0, 0, 0, 90]


def test_pixels_beside_the_layer_are_not_touched() -> None:
    rgba = np.full((6, 6, 4), 77, np.uint8)
    before = rgba.copy()
    lay_under(rgba, ShadowLayer(np.full((2, 2), 255, np.uint8), 2, 3))
    touched = (rgba != before).any(axis=2)
    assert touched[3:5, 2:4].all()
    assert touched.sum() == 4


def on_white(rgba: NDArray[np.uint8]) -> NDArray[np.float64]:
    alpha = rgba[..., 3:] / 255
    return np.asarray(rgba[..., :3] * alpha + 255 * (1 - alpha))
