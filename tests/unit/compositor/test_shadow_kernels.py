"""The three shadows as pure functions: what a photographer would check with a ruler."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from tools.drawn_subjects import DRAWN_SUBJECTS

from matteworks_compositor.kernels.shadows.car import car_shadow
from matteworks_compositor.kernels.shadows.cast import cast_shadow
from matteworks_compositor.kernels.shadows.drop import drop_shadow
from matteworks_compositor.kernels.shadows.layer import ShadowField

Kernel = Callable[..., ShadowField]
KERNELS: dict[str, Kernel] = {"drop": drop_shadow, "cast": cast_shadow, "car": car_shadow}

every_kernel = pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS.keys())
every_subject = pytest.mark.parametrize("subject", DRAWN_SUBJECTS)


def alpha_of(subject: str, side_px: int = 320) -> NDArray[np.uint8]:
    return np.ascontiguousarray(DRAWN_SUBJECTS[subject](side_px)[..., 3])


def render(field: ShadowField, side_px: int, room_px: int, scale: float = 1.0) -> NDArray[np.float64]:
    """The shadow at full opacity on a canvas with room around the subject's picture, 0..1."""
    canvas_px = round((side_px + 2 * room_px) * scale)
    layer = field.rasterise(
        100,
        canvas_width_px=canvas_px,
        canvas_height_px=canvas_px,
        origin_left=room_px * scale,
        origin_top=room_px * scale,
        scale_x=scale,
        scale_y=scale,
    )
    canvas = np.zeros((canvas_px, canvas_px))
    height, width = layer.alpha.shape
    canvas[layer.top_px : layer.top_px + height, layer.left_px : layer.left_px + width] = layer.alpha / 255
    return canvas


@every_kernel
@every_subject
def test_every_subject_gets_a_visible_shadow(kernel: Kernel, subject: str) -> None:
    shadow = kernel(alpha_of(subject))
    assert shadow.darkness.max() > 0.6
    assert shadow.darkness.min() >= 0.0
    assert shadow.darkness.max() <= 1.0


@every_kernel
@every_subject
def test_twice_the_resolution_gives_the_same_shadow_twice_as_large(kernel: Kernel, subject: str) -> None:
    small = render(kernel(alpha_of(subject, 320)), 320, 160, scale=2.0)
    large = render(kernel(alpha_of(subject, 640)), 640, 320)
    difference = np.abs(small - large)
    assert difference.mean() < 0.004
    assert np.percentile(difference, 99) < 0.06


@every_kernel
def test_the_same_matte_gives_the_same_bytes(kernel: Kernel) -> None:
    first, second = kernel(alpha_of("dog")), kernel(alpha_of("dog"))
    np.testing.assert_array_equal(first.darkness, second.darkness)


@every_kernel
def test_an_empty_matte_has_no_shadow(kernel: Kernel) -> None:
    assert kernel(np.zeros((40, 60), np.uint8)).is_empty


@every_kernel
@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (2, 3)])
def test_tiny_subjects_are_safe(kernel: Kernel, shape: tuple[int, int]) -> None:
    shadow = kernel(np.full(shape, 255, np.uint8))
    assert np.isfinite(shadow.darkness).all()


@every_kernel
def test_a_subject_that_fills_the_frame_has_no_ground_and_no_shadow(kernel: Kernel) -> None:
    assert kernel(np.full((120, 90), 255, np.uint8), is_cut_below=True).is_empty


@every_kernel
def test_a_bust_that_the_frame_cuts_off_has_no_shadow(kernel: Kernel) -> None:
    alpha = np.zeros((300, 300), np.uint8)
    cv2.ellipse(alpha, (150, 90), (50, 60), 0, 0, 360, 255, cv2.FILLED)
    cv2.rectangle(alpha, (70, 150), (230, 299), 255, cv2.FILLED)
    assert kernel(alpha, is_cut_below=True).is_empty
    assert not kernel(alpha, is_cut_below=False).is_empty


@every_kernel
def test_a_round_subject_that_only_touches_the_frame_keeps_its_shadow(kernel: Kernel) -> None:
    alpha = np.zeros((300, 300), np.uint8)
    cv2.circle(alpha, (150, 150), 149, 255, cv2.FILLED, cv2.LINE_AA)
    assert kernel(alpha, is_cut_below=True).darkness.max() > 0.3


@every_kernel
def test_dust_in_the_matte_does_not_move_the_ground(kernel: Kernel) -> None:
    clean = alpha_of("bottle")
    dusty = clean.copy()
    dusty[312:315, 20:23] = 255
    difference = np.abs(render(kernel(clean), 320, 160) - render(kernel(dusty), 320, 160))
    assert difference.max() < 0.15


@every_kernel
def test_the_shadow_is_darkest_at_the_contact(kernel: Kernel) -> None:
    """The first rows below the tyre are darker than the ones a fifth of the subject's height away."""
    alpha = alpha_of("car")
    shadow = render(kernel(alpha), 320, 160)
    bottom = 160 + int(np.flatnonzero(alpha.max(axis=1) >= 128)[-1]) + 1
    tyre = slice(160 + round(0.72 * 320), 160 + round(0.80 * 320))
    contact = shadow[bottom + 1, tyre].mean()
    far = shadow[bottom + 24, tyre].mean()
    assert contact > 0.2
    assert far < 0.4 * contact


def test_drop_falls_off_monotonically_below_the_contact() -> None:
    alpha = alpha_of("bottle")
    shadow = render(drop_shadow(alpha), 320, 160)
    bottom = 160 + int(np.flatnonzero(alpha.max(axis=1) >= 128)[-1]) + 1
    below = shadow[bottom:, 320]
    assert (np.diff(below) <= 1e-6).all()


def test_drop_is_symmetric_for_a_symmetric_subject() -> None:
    shadow = drop_shadow(alpha_of("ball"))
    np.testing.assert_allclose(shadow.darkness, shadow.darkness[:, ::-1], atol=0.06)


def test_every_foot_of_four_gets_its_own_contact() -> None:
    """The far pair stands higher in the picture; it touches the floor all the same."""
    shadow = render(drop_shadow(alpha_of("dog")), 320, 160)
    feet = {0.27: 0.86, 0.63: 0.86, 0.35: 0.795, 0.71: 0.795}
    for x, y in feet.items():
        column = 160 + round(x * 320)
        row = 160 + round(y * 320)
        assert shadow[row : row + 10, column - 6 : column + 7].max() > 0.5, (x, y)


def test_a_raised_arm_is_no_contact() -> None:
    alpha = np.zeros((300, 300), np.uint8)
    cv2.rectangle(alpha, (130, 60), (170, 280), 255, cv2.FILLED)
    cv2.rectangle(alpha, (170, 100), (270, 120), 255, cv2.FILLED)
    shadow = render(drop_shadow(alpha), 300, 100)
    assert shadow[100 + 125, 100 + 240] < 0.05


def test_cast_goes_back_and_to_the_right() -> None:
    alpha = alpha_of("person")
    shadow = render(cast_shadow(alpha), 320, 160)
    columns = np.arange(shadow.shape[1])[None, :]
    outside = shadow.copy()
    outside[160:480, 160:480][alpha > 0] = 0
    middle = 160 + 160
    assert (outside * (columns > middle)).sum() > 3 * (outside * (columns < middle)).sum()
    right_top = np.flatnonzero((outside[:, middle + 100 :] > 0.05).any(axis=1)).min()
    assert right_top < 160 + round(0.85 * 320)


def test_cast_is_lighter_and_softer_with_distance() -> None:
    alpha = np.zeros((400, 400), np.uint8)
    alpha[100:380, 180:220] = 255
    shadow = render(cast_shadow(alpha), 400, 300)
    base, height = 300 + 380, 280

    def across(share: float) -> NDArray[np.float64]:
        """The shadow's profile where it is cast by the height `share` of the post."""
        return np.asarray(shadow[base - round(0.30 * share * height)])

    near, far = across(0.35), across(0.9)
    assert far.max() < 0.75 * near.max()
    near_slope = np.abs(np.diff(near)).max() / near.max()
    far_slope = np.abs(np.diff(far)).max() / far.max()
    assert far_slope < 0.75 * near_slope


def test_car_darkens_the_floor_between_the_wheels() -> None:
    alpha = alpha_of("car")
    shadow = render(car_shadow(alpha), 320, 160)
    row = 160 + round(0.71 * 320)
    assert shadow[row, 160 + round(0.5 * 320)] > 0.6
    assert shadow[row, 160 + round(0.5 * 320)] > 3 * render(drop_shadow(alpha), 320, 160)[row + 30].max()


def test_car_shadow_fades_under_the_overhangs() -> None:
    """Seen from the side it ends with the car, and is lighter at the bumper than between the wheels."""
    shadow = render(car_shadow(alpha_of("car")), 320, 160)
    row = 160 + round(0.735 * 320)
    middle = shadow[row, 160 + round(0.5 * 320)]
    bumper = shadow[row, 160 + round(0.06 * 320)]
    assert bumper < 0.6 * middle
    assert shadow[row, 160 - 60] < 0.05
