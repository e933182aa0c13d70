"""Matting in the band: fur is drawn from the picture's colours, and nothing else is touched."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from tools.drawn_edges import SUBJECTS, photographic

from matteworks_imaging.filters.closed_form import linear_in_colour, solve_alpha
from matteworks_imaging.filters.colour_evidence import colour_evidence
from matteworks_inference.tasks.segmentation.ensemble import GENERAL, PORTRAIT
from matteworks_inference.tasks.segmentation.matting import matted
from tests.unit.inference.test_soft_edges import disc, error, fur, hardened, picture

Bytes = NDArray[np.uint8]


def blurred(alpha: Bytes, sigma: float = 2.0) -> Bytes:
    """A network's answer: right about where fur is, blind for single hairs."""
    return np.asarray(cv2.GaussianBlur(alpha, (0, 0), sigma), np.uint8)


def before(alpha: Bytes, colours: Bytes, ground: Bytes) -> Bytes:
    share = (alpha / 255)[..., None]
    return np.asarray(np.rint(share * colours + (1 - share) * ground), np.uint8)


def best(rgb: Bytes, truth: Bytes, subject: str | None = "animal", is_close: bool = False) -> Bytes:
    answer = blurred(truth)
    mattes = {GENERAL: answer, PORTRAIT: answer}
    return matted(rgb, hardened(answer), mattes, subject, is_close=is_close)


def test_fur_is_drawn_from_the_colours() -> None:
    truth = fur()
    assert error(best(picture(truth), truth), truth) < 0.6 * error(hardened(blurred(truth)), truth)


def test_drawn_hair_before_a_photograph_comes_nearer_to_the_truth() -> None:
    colours, truth = SUBJECTS["hair"](600, 450)
    made = best(before(truth, colours, photographic(600, 450)), truth)
    assert error(made, truth) < 0.8 * error(hardened(blurred(truth)), truth)


def test_no_veil_comes_into_the_solid_subject_nor_far_from_it() -> None:
    truth = fur()
    made = best(picture(truth), truth)
    inside = cv2.erode(truth, np.ones((25, 25), np.uint8)) == 255
    outside = cv2.dilate(truth, np.ones((25, 25), np.uint8)) == 0
    assert int(made[inside].min()) == 255
    assert int(made[outside].max()) == 0


def test_a_sharp_contour_comes_back_as_the_same_array() -> None:
    truth = disc()
    mattes = {GENERAL: truth, PORTRAIT: truth}
    assert matted(picture(truth), truth, mattes, "product", is_close=False) is truth


@pytest.mark.parametrize(
    ("subject", "is_close", "roles"),
    [
        ("car", False, (GENERAL, PORTRAIT)),
        ("animal", False, (GENERAL,)),
        ("person", True, (GENERAL, PORTRAIT)),
        (None, True, (GENERAL, PORTRAIT)),
    ],
)
def test_the_matte_stays_where_nobody_sees_fur_better(
    subject: str | None, is_close: bool, roles: tuple[str, ...]
) -> None:
    truth = fur()
    answer = blurred(truth)
    matte = hardened(answer)
    made = matted(picture(truth), matte, dict.fromkeys(roles, answer), subject, is_close=is_close)
    assert made is matte


@pytest.mark.parametrize("has_portrait", [True, False])
def test_gaps_that_only_the_general_network_sees_open_where_the_ground_shows_through(
    has_portrait: bool,
) -> None:
    truth = fur()
    for column in range(140, 261, 20):
        cv2.rectangle(truth, (column, 150), (column + 5, 250), 0, -1)
    rgb = picture(truth)
    closed = np.asarray(cv2.morphologyEx(truth, cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8)), np.uint8)
    mattes = {GENERAL: truth} | ({PORTRAIT: closed} if has_portrait else {})
    made = matted(rgb, hardened(blurred(closed)), mattes, "product", is_close=False)
    gaps = cv2.erode(cv2.subtract(closed, truth)[150:250, 140:266], np.ones((3, 3), np.uint8)) > 0
    assert gaps.any()
    assert float(made[150:250, 140:266][gaps].mean()) < 40
    painted = rgb.copy()
    painted[150:251, 135:270] = (220, 190, 150)
    kept = matted(painted, hardened(blurred(closed)), mattes, "product", is_close=False)
    assert float(kept[150:250, 140:266][gaps].mean()) > 215


def test_the_same_picture_gives_the_same_bytes() -> None:
    truth = fur()
    rgb = picture(truth)
    assert np.array_equal(best(rgb, truth), best(rgb, truth))


def test_what_is_known_spreads_along_the_colours() -> None:
    truth = fur()
    rgb = picture(truth)
    share = truth.astype(np.float32) / 255
    known = (cv2.erode(truth, np.ones((9, 9))) == 255) | (cv2.dilate(truth, np.ones((9, 9))) == 0)
    wish = np.where(known, share, np.float32(0.5))
    weight = np.where(known, np.float32(1), np.float32(1e-4))
    alpha = solve_alpha(rgb, wish, weight, wish, 3, 1e-5, 60)
    assert float(np.abs(alpha - share)[~known].mean()) < 0.03


def test_even_surfaces_do_not_make_the_steps_run_away() -> None:
    """One colour everywhere says nothing: what is wished for is only smoothed."""
    rgb = np.full((80, 120, 3), 37, np.uint8)
    wish = np.tile(np.linspace(0, 1, 120, dtype=np.float32), (80, 1))
    weight = np.full((80, 120), 0.002, np.float32)
    alpha = solve_alpha(rgb, wish, weight, wish, 3, 1e-5, 200)
    assert float(np.diff(alpha, axis=1).min()) > -1e-3
    assert float(np.ptp(alpha, axis=0).max()) < 1e-3


def test_an_alpha_that_is_linear_in_colour_is_enlarged_exactly() -> None:
    truth = fur()
    rgb = picture(truth)
    half = np.asarray(cv2.resize(rgb, (200, 200), interpolation=cv2.INTER_AREA), np.uint8)
    share = cv2.resize(truth, (200, 200), interpolation=cv2.INTER_AREA).astype(np.float32) * np.float32(
        1 / 255
    )
    drawn = linear_in_colour(half, share, rgb, 2, 1e-6)
    plain = cv2.resize(share, (400, 400), interpolation=cv2.INTER_LINEAR)
    assert np.abs(drawn - truth / 255).mean() < 0.3 * np.abs(plain - truth / 255).mean()


def test_colours_are_evidence_only_where_they_differ() -> None:
    rgb = np.full((100, 100, 3), 200, np.uint8)
    rgb[:, :50] = (180, 40, 40)
    subject, ground, asked = (np.zeros((100, 100), np.bool_) for _ in range(3))
    subject[:, :40], ground[:, 60:], asked[:, 40:60] = True, True, True
    likeness, sure = colour_evidence(rgb, subject, ground, asked)
    assert float(likeness[:, 40:48].min()) > 0.9
    assert float(likeness[:, 52:60].max()) < 0.1
    rgb[:] = 200
    _, sure = colour_evidence(rgb, subject, ground, asked)
    assert float(sure.max()) < 0.05


def test_the_largest_input_costs_no_more_than_its_pixels() -> None:
    """The equations live on a small grid: four times the pixels may not cost four times the time."""
    drawn = fur()
    grain = np.random.default_rng(5).normal(0, 2, (1024, 1024, 3))

    def seconds(side: int) -> float:
        truth = np.asarray(cv2.resize(drawn, (side, side), interpolation=cv2.INTER_CUBIC), np.uint8)
        rgb = np.clip(picture(truth) + grain[:side, :side], 0, 255).astype(np.uint8)
        began = time.process_time()
        best(rgb, truth)
        return time.process_time() - began

    small = min(seconds(512) for _ in range(2))
    assert min(seconds(1024) for _ in range(2)) < 3 * small
