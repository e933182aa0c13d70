"""The matte at full size: its contour follows the picture, its certainty stays."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from matteworks_compositor.kernels.matte_upsampling import upsample_matte

SUBJECT = np.array((200, 40, 30), np.float32)
BACKGROUND = np.array((20, 90, 160), np.float32)


def drawn_disc(side_px: int, radius: float = 0.3) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A picture of a disc with an edge one pixel soft, and its exact alpha."""
    y, x = np.mgrid[0:side_px, 0:side_px] + 0.5
    distance = radius * side_px - np.hypot(x - side_px / 2, y - side_px / 2)
    alpha = np.clip(distance + 0.5, 0, 1)
    picture = SUBJECT * alpha[..., None] + BACKGROUND * (1 - alpha[..., None])
    return np.rint(picture).astype(np.uint8), np.rint(alpha * 255).astype(np.uint8)


def shrunk(alpha: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    height, width = alpha.shape
    return np.asarray(cv2.resize(alpha, (width // factor, height // factor), interpolation=cv2.INTER_AREA))


def error(alpha: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    return float(np.abs(alpha.astype(float) - truth).mean())


def test_the_contour_follows_the_picture_and_not_the_small_grid() -> None:
    picture, truth = drawn_disc(512)
    matte = shrunk(truth, 8)
    enlarged = np.asarray(cv2.resize(matte, (512, 512), interpolation=cv2.INTER_CUBIC), np.uint8)
    assert error(upsample_matte(picture, matte), truth) < 0.35 * error(enlarged, truth)


def test_what_the_network_saw_serves_as_guide_as_well_as_a_second_look() -> None:
    picture, truth = drawn_disc(512)
    matte = shrunk(truth, 8)
    seen = np.asarray(cv2.resize(picture, (64, 64), interpolation=cv2.INTER_AREA), np.uint8)
    guided = upsample_matte(picture, matte, seen)
    assert np.abs(guided.astype(int) - upsample_matte(picture, matte)).mean() < 0.2
    assert error(guided, truth) < 1.1 * error(upsample_matte(picture, matte), truth)


def test_a_guide_of_another_size_than_the_matte_is_made_to_fit() -> None:
    picture, truth = drawn_disc(512)
    guide = np.asarray(cv2.resize(picture, (200, 100), interpolation=cv2.INTER_AREA), np.uint8)
    matte = shrunk(truth, 8)
    assert error(upsample_matte(picture, matte, guide), truth) < 2 * error(
        upsample_matte(picture, matte), truth
    )


def test_a_view_of_a_larger_picture_gives_what_a_copy_gives() -> None:
    picture, truth = drawn_disc(512)
    larger = np.zeros((600, 700, 3), np.uint8)
    larger[40:552, 70:582] = picture
    matte = shrunk(truth, 8)
    assert (upsample_matte(larger[40:552, 70:582], matte) == upsample_matte(picture, matte)).all()


def test_pixels_far_from_the_contour_are_exactly_in_or_out() -> None:
    picture, truth = drawn_disc(512)
    alpha = upsample_matte(picture, shrunk(truth, 8))
    y, x = np.mgrid[0:512, 0:512] + 0.5
    distance = np.abs(np.hypot(x - 256, y - 256) - 0.3 * 512)
    assert set(np.unique(alpha[distance > 40])) == {0, 255}


def test_texture_away_from_the_contour_leaves_no_mark() -> None:
    picture, truth = drawn_disc(256)
    noise = np.random.default_rng(0).integers(0, 120, picture.shape, np.uint8)
    inside = truth[..., None] == 255
    textured = np.where(inside, picture // 2 + noise, picture)
    alpha = upsample_matte(textured, shrunk(truth, 4))
    deep = cv2.erode(truth, np.ones((41, 41), np.uint8)) == 255
    assert (alpha[deep] == 255).all()


def test_a_picture_without_detail_gives_the_plain_enlargement() -> None:
    _, truth = drawn_disc(256)
    matte = shrunk(truth, 4)
    even = np.full((256, 256, 3), 128, np.uint8)
    enlarged = np.asarray(cv2.resize(matte, (256, 256), interpolation=cv2.INTER_CUBIC)).astype(int)
    assert np.abs(upsample_matte(even, matte).astype(int) - enlarged).max() <= 4


def test_noise_at_the_ends_of_the_matte_becomes_certainty() -> None:
    matte = np.full((40, 40), 2, np.uint8)
    matte[:20] = 253
    alpha = upsample_matte(np.zeros((40, 40, 3), np.uint8), matte)
    assert set(np.unique(alpha)) == {0, 255}


def test_a_matte_of_the_pictures_size_keeps_its_soft_values() -> None:
    matte = np.tile(np.linspace(4, 251, 64).astype(np.uint8), (32, 1))
    assert (upsample_matte(np.zeros((32, 64, 3), np.uint8), matte) == matte).all()


def test_a_stretched_matte_covers_the_whole_picture() -> None:
    matte = np.zeros((64, 64), np.uint8)
    matte[:, 32:] = 255
    picture = np.zeros((50, 300, 3), np.uint8)
    picture[:, 150:] = 220
    alpha = upsample_matte(picture, matte)
    assert alpha.shape == (50, 300)
    assert (alpha[:, :145] == 0).all()
    assert (alpha[:, 155:] == 255).all()


def test_a_matte_larger_than_the_picture_is_averaged() -> None:
    picture, truth = drawn_disc(64)
    larger = np.repeat(np.repeat(truth, 4, axis=0), 4, axis=1)
    assert error(upsample_matte(picture, larger), truth) < 0.5


def test_an_empty_matte_stays_empty() -> None:
    picture, _ = drawn_disc(128)
    assert not upsample_matte(picture, np.zeros((32, 32), np.uint8)).any()
