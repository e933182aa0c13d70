"""Softness comes back where it was seen along the same contour, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from matteworks_inference.tasks.segmentation.soft_edges import has_soft_contour, with_soft_edges

Bytes = NDArray[np.uint8]
SIDE = 400
CENTRE = SIDE // 2
RADIUS = 110


def disc(radius: int = RADIUS) -> Bytes:
    """A solid subject with a sharp contour."""
    large = np.zeros((SIDE * 4, SIDE * 4), np.uint8)
    cv2.circle(large, (CENTRE * 4, CENTRE * 4), radius * 4, 255, -1)
    return np.asarray(cv2.resize(large, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def fur() -> Bytes:
    """The same with hairs all around, each a quarter of a pixel thin."""
    random = np.random.default_rng(7)
    large = np.zeros((SIDE * 4, SIDE * 4), np.uint8)
    cv2.circle(large, (CENTRE * 4, CENTRE * 4), (RADIUS - 14) * 4, 255, -1)
    for angle in random.uniform(0, 2 * np.pi, 6000):
        reach = 4 * random.uniform(RADIUS - 12, RADIUS + 16)
        bend = angle + random.uniform(-0.06, 0.06)
        start = (4 * CENTRE + 4 * (RADIUS - 20) * np.array((np.cos(angle), np.sin(angle)))).astype(int)
        end = (4 * CENTRE + reach * np.array((np.cos(bend), np.sin(bend)))).astype(int)
        cv2.line(large, start.tolist(), end.tolist(), 255, 1)
    return np.asarray(cv2.resize(large, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def mesh() -> Bytes:
    """A solid subject that ends in a net of one thread a pixel, half a pixel thick."""
    alpha = disc(80)
    large = np.zeros((SIDE * 4, SIDE * 4), np.uint8)
    for offset in range(2):
        large[:, offset::4] = large[offset::4] = 255
    net = np.asarray(cv2.resize(large, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)
    ring = cv2.subtract(disc(104), disc(78))
    return np.asarray(cv2.max(alpha, cv2.multiply(net, ring, scale=1 / 255)), np.uint8)


def picture(alpha: Bytes) -> Bytes:
    """Light fur before a dark wall."""
    share = (alpha / 255)[..., None]
    mixed = share * np.array((220, 190, 150)) + (1 - share) * np.array((40, 60, 90))
    return np.asarray(np.rint(mixed), np.uint8)


def seen(alpha: Bytes) -> Bytes:
    """What a network at half the resolution answers."""
    return np.asarray(cv2.GaussianBlur(alpha, (0, 0), 0.8), np.uint8)


def hardened(answer: Bytes) -> Bytes:
    """What the blend makes of it."""
    t = np.clip((answer / 255 - 0.25) / 0.3, 0, 1)
    return np.asarray(np.rint(255 * t * t * (3 - 2 * t)), np.uint8)


def error(alpha: Bytes, truth: Bytes) -> float:
    return float(np.abs(alpha.astype(np.float64) - truth).mean())


@pytest.mark.parametrize("draw", [fur, mesh])
def test_what_hardening_took_from_fur_and_mesh_comes_back(draw: Callable[[], Bytes]) -> None:
    truth = draw()
    answer = seen(truth)
    hard = hardened(answer)
    soft = with_soft_edges(picture(truth), hard, answer, answer)
    assert error(soft, truth) < 0.7 * error(hard, truth)


def test_a_sharp_contour_comes_back_as_the_same_bytes() -> None:
    answer = seen(disc())
    hard = hardened(answer)
    assert with_soft_edges(picture(disc()), hard, answer, answer) is hard


def test_no_veil_appears_inside_a_subject_or_far_from_it() -> None:
    truth = fur()
    doubtful = np.where(disc(60) > 0, np.uint8(180), seen(truth))
    hard = hardened(seen(truth))
    soft = with_soft_edges(picture(truth), hard, seen(truth), doubtful)
    assert (soft[disc(60) > 0] == 255).all()
    assert not soft[disc(180) == 0].any()


def test_a_portrait_network_that_means_something_else_is_not_heard() -> None:
    truth = fur()
    hard = hardened(seen(truth))
    elsewhere = np.roll(seen(truth), 150, axis=1)
    assert with_soft_edges(picture(truth), hard, seen(truth), elsewhere) is hard


def test_a_bag_that_the_portrait_network_does_not_know_stays() -> None:
    truth = fur()
    bag = (slice(270, 330), slice(CENTRE + 50, CENTRE + 80))
    carried = truth.copy()
    carried[bag] = 255
    hard = hardened(seen(carried))
    soft = with_soft_edges(picture(carried), hard, seen(carried), seen(truth))
    core = (slice(310, 326), slice(CENTRE + 56, CENTRE + 74))
    assert (soft[core] > 250).all()


def test_one_small_picture_alone_is_enough_to_tell_fur_from_a_clean_edge() -> None:
    assert has_soft_contour(seen(fur()))
    assert not has_soft_contour(disc())
    assert not has_soft_contour(np.zeros((SIDE, SIDE), np.uint8))
