"""Windows of cars: found where a car has them, and nothing else made transparent."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from tools.drawn_subjects import DRAWN_SUBJECTS

from matteworks_compositor.kernels.car_glass import find_car_glass, let_light_through

Bytes8 = NDArray[np.uint8]
SIDE_PX = 400
EVALUATION_CARS = Path(__file__).resolve().parents[4] / "shared" / "data" / "cars100"


def picture_and_alpha(subject: str, side_px: int = SIDE_PX) -> tuple[Bytes8, Bytes8]:
    """The subject in front of a lawn."""
    rgba = DRAWN_SUBJECTS[subject](side_px)
    share = rgba[..., 3:] / 255
    picture = rgba[..., :3] * share + np.array([96, 140, 70]) * (1 - share)
    return np.rint(picture).astype(np.uint8), np.ascontiguousarray(rgba[..., 3])


def at(plane: Bytes8, x: float, y: float) -> int:
    """The value at shares of width and height."""
    return int(plane[round(y * plane.shape[0]), round(x * plane.shape[1])])


def test_both_side_windows_are_found_and_the_body_is_not() -> None:
    glass = find_car_glass(*picture_and_alpha("car"))
    assert glass.is_found
    assert glass.confidence > 0.6
    for x, y in ((0.42, 0.45), (0.60, 0.45)):
        assert at(glass.glass, x, y) == 255
    for x, y in ((0.505, 0.45), (0.5, 0.6), (0.24, 0.66), (0.76, 0.66), (0.9, 0.55), (0.5, 0.38)):
        assert at(glass.glass, x, y) == 0


def test_windows_are_found_at_the_same_place_at_any_size() -> None:
    small = find_car_glass(*picture_and_alpha("car", 300)).glass
    large = find_car_glass(*picture_and_alpha("car", 900)).glass
    shrunk = cv2.resize(large, (300, 300), interpolation=cv2.INTER_AREA)
    assert ((small > 127) != (shrunk > 127)).mean() < 0.005


@pytest.mark.parametrize("subject", ["bottle", "parcel", "ball", "dog", "person"])
def test_things_without_windows_stay_as_they_are(subject: str) -> None:
    assert not find_car_glass(*picture_and_alpha(subject)).is_found


def test_a_van_without_windows_stays_as_it_is() -> None:
    rgba = DRAWN_SUBJECTS["car"](SIDE_PX)
    is_glass = (rgba[..., :3] < 80).all(axis=2) & (np.indices((SIDE_PX, SIDE_PX))[0] < 0.52 * SIDE_PX)
    rgba[is_glass, :3] = (206, 208, 212)
    assert not find_car_glass(
        np.ascontiguousarray(rgba[..., :3]), np.ascontiguousarray(rgba[..., 3])
    ).is_found


def test_dark_paint_with_dark_glass_is_left_alone() -> None:
    picture, alpha = picture_and_alpha("car")
    dark = (picture * 0.16).astype(np.uint8)
    assert not find_car_glass(dark, alpha).is_found


@pytest.mark.parametrize("shape", [(1, 1), (20, 300), (90, 90)])
def test_tiny_cars_are_safe(shape: tuple[int, int]) -> None:
    assert not find_car_glass(np.zeros((*shape, 3), np.uint8), np.full(shape, 255, np.uint8)).is_found


def test_an_empty_matte_is_safe() -> None:
    glass = find_car_glass(np.zeros((200, 200, 3), np.uint8), np.zeros((200, 200), np.uint8))
    assert not glass.is_found
    assert glass.confidence == 0.0


def test_the_same_picture_gives_the_same_glass() -> None:
    first, second = (find_car_glass(*picture_and_alpha("car")) for _ in range(2))
    np.testing.assert_array_equal(first.glass, second.glass)


def test_glass_becomes_partly_transparent_and_the_rest_does_not_change() -> None:
    picture, alpha = picture_and_alpha("car")
    glass = find_car_glass(picture, alpha).glass
    colours, result = let_light_through(picture, alpha, glass)
    inside = glass == 255
    assert result[inside].min() >= 0.45 * 255
    assert result[inside].max() <= 0.67 * 255
    outside = glass == 0
    np.testing.assert_array_equal(result[outside], alpha[outside])
    np.testing.assert_array_equal(colours[outside], picture[outside])


def test_the_inputs_are_not_changed() -> None:
    picture, alpha = picture_and_alpha("car")
    before = picture.copy(), alpha.copy()
    let_light_through(picture, alpha, find_car_glass(picture, alpha).glass)
    np.testing.assert_array_equal(picture, before[0])
    np.testing.assert_array_equal(alpha, before[1])


def test_the_colour_of_what_lay_behind_fades_from_the_glass() -> None:
    picture = np.full((40, 40, 3), (60, 150, 70), np.uint8)
    full = np.full((40, 40), 255, np.uint8)
    colours, _ = let_light_through(picture, full, full)
    seen, left = np.ptp(picture[20, 20].astype(int)), np.ptp(colours[20, 20].astype(int))
    assert left < 0.6 * seen


def test_dark_glass_is_more_opaque_than_bright_glass() -> None:
    full = np.full((40, 40), 255, np.uint8)
    _, dark = let_light_through(np.full((40, 40, 3), 20, np.uint8), full, full)
    _, bright = let_light_through(np.full((40, 40, 3), 200, np.uint8), full, full)
    assert dark[20, 20] > bright[20, 20]


def test_without_glass_the_very_same_arrays_come_back() -> None:
    picture, alpha = picture_and_alpha("ball")
    colours, result = let_light_through(picture, alpha, np.zeros_like(alpha))
    assert colours is picture
    assert result is alpha


@pytest.mark.shared
@pytest.mark.skipif(
    not EVALUATION_CARS.is_dir(), reason="the evaluation pictures are not beside the repository"
)
def test_photographed_cars_show_glass_only_in_their_upper_half() -> None:
    """The annotated part of a car is a lower bound of its matte, good enough to say where its windows lie."""
    found = 0
    names = sorted(path.stem for path in (EVALUATION_CARS / "masks").glob("*.png"))[::4]
    for name in names:
        picture = cv2.imread(str(EVALUATION_CARS / "images" / f"{name}.jpg"))
        mask = cv2.imread(str(EVALUATION_CARS / "masks" / f"{name}.png"), cv2.IMREAD_GRAYSCALE)
        assert picture is not None
        assert mask is not None
        alpha = np.where(mask > 0, 255, 0).astype(np.uint8)
        glass = find_car_glass(np.ascontiguousarray(picture[..., ::-1]), alpha).glass
        if not glass.any():
            continue
        found += 1
        _, top, _, height = cv2.boundingRect(alpha)
        rows = np.flatnonzero((glass > 127).any(axis=1))
        assert rows.mean() < top + 0.5 * height, name
        assert (glass > 127).sum() < 0.45 * np.count_nonzero(alpha), name
    assert found >= len(names) // 5
