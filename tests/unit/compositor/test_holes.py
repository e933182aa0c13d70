"""Holes are opened where the ground shows through, and filled when they are to be kept."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from matteworks_compositor.kernels.holes import clear_holes, fill_holes
from matteworks_compositor.options.model import Holes, RenderOptions
from matteworks_compositor.pipeline.job import Job, State
from matteworks_compositor.pipeline.steps import holes as step

Bytes = NDArray[np.uint8]
SIDE = 400
MIDDLE = (SIDE // 2, SIDE // 2)


def ground() -> Bytes:
    """A wall with some light and grain."""
    random = np.random.default_rng(3)
    slope = np.linspace(150, 190, SIDE)[None, :, None] + np.array((0, -10, -25))
    return np.asarray(np.clip(slope + random.normal(0, 3, (SIDE, SIDE, 3)), 0, 255), np.uint8)


def ring(thickness: int = 50) -> Bytes:
    alpha = np.zeros((SIDE, SIDE), np.uint8)
    cv2.circle(alpha, MIDDLE, 110, 255, thickness, cv2.LINE_AA)
    return alpha


def letters() -> Bytes:
    alpha = np.zeros((SIDE, SIDE), np.uint8)
    cv2.putText(alpha, "BO", (20, 290), cv2.FONT_HERSHEY_DUPLEX, 8, 255, 34, cv2.LINE_AA)
    return alpha


def picture(alpha: Bytes, colour: tuple[int, int, int] = (30, 60, 120)) -> Bytes:
    share = (alpha / 255)[..., None]
    return np.asarray(np.rint(share * np.array(colour) + (1 - share) * ground()), np.uint8)


@pytest.mark.parametrize("truth", [ring(), letters()], ids=["ring", "letters"])
def test_what_the_network_filled_is_opened(truth: Bytes) -> None:
    taken = fill_holes(truth)
    opened = clear_holes(picture(truth), taken)
    before, after = (np.abs(matte.astype(int) - truth).mean() for matte in (taken, opened))
    assert before > 5
    assert after < 0.08 * before


def test_the_rim_is_soft_and_has_no_halo() -> None:
    truth = ring()
    opened = clear_holes(picture(truth), fill_holes(truth))
    assert np.abs(opened.astype(int) - truth)[cv2.dilate(truth, np.ones((9, 9))) > 0].mean() < 2


def test_a_solid_subject_comes_back_as_the_same_array() -> None:
    alpha = fill_holes(ring())
    assert clear_holes(picture(alpha), alpha) is alpha


def test_a_patch_of_another_colour_is_part_of_the_subject() -> None:
    alpha = fill_holes(ring())
    pixels = picture(alpha)
    cv2.circle(pixels, MIDDLE, 60, (200, 40, 40), -1)
    assert clear_holes(pixels, alpha) is alpha


def test_kept_holes_are_opaque_and_the_outline_stays() -> None:
    truth = ring()
    filled = fill_holes(truth)
    assert filled[MIDDLE] == 255
    y, x = np.mgrid[:SIDE, :SIDE]
    outside = np.hypot(x - MIDDLE[0], y - MIDDLE[1]) > 134
    assert np.array_equal(filled[outside], truth[outside])


def test_an_open_bay_is_no_hole() -> None:
    bay = ring()
    bay[180:220, 200:] = 0
    assert np.array_equal(fill_holes(bay)[190:210, 190:260], bay[190:210, 190:260])


def applied(choice: Holes, alpha: Bytes, file_alpha: Bytes | None = None) -> Bytes:
    job = cast(Job, SimpleNamespace(options=RenderOptions(holes=choice)))
    state = State(picture=picture(ring()), alpha=alpha, file_alpha=file_alpha)
    step.apply(job, state)
    assert state.alpha is not None
    return state.alpha


def test_the_step_does_what_was_asked_and_nothing_else() -> None:
    truth = ring()
    assert applied(Holes.AS_FOUND, truth) is truth
    assert applied(Holes.KEEP, truth)[MIDDLE] == 255
    assert applied(Holes.CLEAR, fill_holes(truth))[MIDDLE] == 0


def test_where_the_file_is_transparent_nothing_is_filled() -> None:
    assert applied(Holes.KEEP, ring(), file_alpha=ring())[MIDDLE] == 0
