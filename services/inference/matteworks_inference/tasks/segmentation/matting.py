"""Matting in the band along a soft contour, for `best`: what networks leave undecided, the colours decide.

A trimap is read off the networks: where they agree a pixel is known; near the contour, where they do not, it
is not. There the networks' mean and the colours' own evidence are weak wishes, and the closed form spreads
what is known along the picture's colours. It is solved on a small grid with wide windows; its linear
functions of colour are then applied to the picture as the networks saw it. What comes out takes the matte's
place where the contour is fur, hair or leaves and the networks speak of one edge, as in `soft_edges`, and in
narrow gaps where the ground shows through. Invariant: a matte whose contour is sharp everywhere, or that the
portrait network contradicts, comes back as the same array.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from matteworks_imaging.filters.closed_form import linear_in_colour, solve_alpha
from matteworks_imaging.filters.colour_evidence import colour_evidence
from matteworks_imaging.resampling import grid_size
from matteworks_inference.tasks.segmentation.contour_pieces import (
    PIECE,
    contour_of,
    near_contour,
    per_contour,
    rise,
    soft_width,
)
from matteworks_inference.tasks.segmentation.ensemble import (
    GENERAL,
    HARD_SUBJECTS,
    PERSON,
    PORTRAIT,
    PORTRAYED,
    fitted,
)
from matteworks_inference.tasks.segmentation.soft_edges import soft_places

__all__ = ["matted", "with_matted_edges"]

Bytes: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float32]
Mask: TypeAlias = NDArray[np.bool_]

# Trimap and equations are made on a copy of this longer side.
GRID_PX: Final = 448
# On it, windows are twice this and one pixels wide while alpha is spread, and while it is drawn.
SPREADING_RADIUS_PX, DRAWING_RADIUS_PX = 5, 2
# Variance of colour (0..1, squared) that is noise.
NOISE_VARIANCE: Final = 1e-5
STEPS: Final = 30
# Weights of the wishes for an unknown pixel, beside 1 for a known one: the networks' mean, and the
# colours' evidence where it is sure.
NETWORKS_WEIGHT, COLOUR_WEIGHT = 0.002, 0.005
# Farther from every contour than this part of the diagonal two of three answers decide.
UNDECIDED_REACH: Final = 0.03
# Answers beyond these are known, this many pixels away from others.
KNOWN: Final = (0.05, 0.95)
MARGIN_PX: Final = 1
# Of people the portrait network knows more: the general network's word counts where its contour runs along
# the matte's up to the first of these parts of its softness, and for nothing from the second on.
CONTOUR_DISTANCES: Final = (0.4, 0.8)
# The general network's own strong answers are this percentile of what it sees at all.
STRONG_PERCENTILE, NOISE_LEVEL = 90.0, 0.1
# A gap between twigs or wires: narrower than this part of the diagonal, the general network answers less than
# the first of these in it and more than the second around it, and its colour is the ground's up to this
# likeness.
GAP_WIDTH: Final = 0.03
GAP_LEVELS: Final = (0.1, 0.9)
GAP_LIKENESS: Final = 0.2
# The tails of what comes out are rounding and doubt.
TAIL: Final = 0.05
# Evidence is summed on a grid of this longer side.
EVIDENCE_GRID_PX: Final = 256


@dataclass(slots=True)
class _Trimap:
    """What the networks expect (0..1) and where that is known, on the grid."""

    expected: Floats
    subject: Mask
    ground: Mask

    @property
    def unknown(self) -> Mask:
        return np.asarray(~(self.subject | self.ground))


def matted(
    rgb: Bytes, matte: Bytes, mattes: Mapping[str, Bytes | Floats], subject: str | None, *, is_close: bool
) -> Bytes:
    """The blended `matte` (h×w) of the networks' `mattes` by role, matted by colour where that helps.

    `rgb` is the picture, h×w×3, `subject` its level-2 type (None: unsure). `is_close`: the portrait network
    looked at its finer size, where it draws a person's hair better than colours can.
    """
    if GENERAL not in mattes or subject in HARD_SUBJECTS or (subject in PORTRAYED and is_close):
        return matte
    height, width = matte.shape
    general = fitted(mattes[GENERAL], width, height)
    portrait = fitted(mattes[PORTRAIT], width, height) if PORTRAIT in mattes else None
    return with_matted_edges(rgb, matte, general, portrait, is_person=subject == PERSON)


def with_matted_edges(
    rgb: Bytes, matte: Bytes, general: Bytes, portrait: Bytes | None, *, is_person: bool
) -> Bytes:
    """`matte` (h×w) matted by colour where its contour is soft.

    `rgb` is the picture, h×w×3; `general` and `portrait` are the networks' own answers, h×w. Without the
    second only gaps are opened. `is_person`: the portrait network's word counts for more than the other's.
    """
    places = None if portrait is None else soft_places(matte, general, portrait)
    if places is None and is_person:
        return matte
    height, width = matte.shape
    cells = grid_size(width, height, GRID_PX)
    own, said = _on_grid(matte, cells), _stretched(_on_grid(general, cells))
    seen = own if places is None or portrait is None else _on_grid(portrait, cells)
    trimap = _trimap(own, said, seen, _trust(said, own, seen) if is_person else np.ones_like(said))
    gaps = np.zeros_like(trimap.subject) if is_person else _gaps(trimap, said)
    is_vain = places is None and not gaps.any()
    if is_vain or not trimap.subject.any() or not trimap.ground.any() or not trimap.unknown.any():
        return matte
    small = np.asarray(cv2.resize(rgb, cells, interpolation=cv2.INTER_AREA), np.uint8)
    likeness, sure = colour_evidence(small, trimap.subject & ~gaps, trimap.ground, trimap.unknown | gaps)
    gaps &= (likeness < GAP_LIKENESS) & (sure > 1 - 2 * GAP_LIKENESS)
    weight = np.zeros((height, width), np.float32) if places is None else places[1]
    if is_person:
        # A person's outline is more often clothes than hair; only where it is all hair colours decide.
        weight = weight * weight
    if gaps.any():
        around = cv2.dilate(gaps.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        trimap.subject &= ~around
        trimap.expected = np.where(around, said, trimap.expected).astype(np.float32)
        opened = cv2.resize(around.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
        weight = np.maximum(weight, np.asarray(opened, np.float32))
    elif places is None:
        return matte
    drawn = rise(_drawn(rgb, small, trimap, likeness, sure), TAIL, 1 - TAIL)
    own = matte.astype(np.float32)
    mixed = own + weight * (drawn * np.float32(255) - own)
    return np.where(weight > 0, np.rint(np.clip(mixed, 0, 255)), own).astype(np.uint8)


def _on_grid(image: Bytes, cells: tuple[int, int]) -> Floats:
    """`image` averaged to the grid, 0..1."""
    small = cv2.resize(image, cells, interpolation=cv2.INTER_AREA)
    return np.asarray(small.astype(np.float32) * np.float32(1 / 255), np.float32)


def _stretched(said: Floats) -> Floats:
    """The general network's answer as if it had recognised what it saw."""
    strong = said[said > NOISE_LEVEL]
    if not len(strong):
        return said
    return np.asarray(np.minimum(said / np.float32(np.percentile(strong, STRONG_PERCENTILE)), 1), np.float32)


def _trimap(own: Floats, said: Floats, seen: Floats, trust: Floats) -> _Trimap:
    """From the matte `own` and from what the general network `said` and the portrait network has `seen`."""
    voted = np.maximum(np.minimum(said, seen), np.minimum(np.maximum(said, seen), own))
    said = seen + trust * (said - seen)
    low, high = KNOWN
    edge = (contour_of(voted > 0.5) > 0) | ((voted > 2 * low) & (voted < 2 * high - 1))
    distance = cv2.distanceTransform((~edge).astype(np.uint8), cv2.DIST_L2, 5)
    near = distance < np.float32(UNDECIDED_REACH * float(np.hypot(*own.shape)))
    least, most = (np.where(near, choose(said, seen), voted) for choose in (np.minimum, np.maximum))
    subject, ground = _shrunk(least > high), _shrunk(most < low)
    expected = np.where(near, (said + seen) / 2, voted)
    expected = np.where(subject, 1, np.where(ground, 0, expected)).astype(np.float32)
    return _Trimap(expected, subject, ground)


def _trust(said: Floats, own: Floats, seen: Floats) -> Floats:
    """How far the general network's contour is the matte's, 0..1."""
    height, width = own.shape
    cells = grid_size(width, height, EVIDENCE_GRID_PX)
    sigma = PIECE * float(np.hypot(*cells))
    solid = own > np.float32(0.5)
    band = cv2.resize(near_contour(solid, cells), (width, height), interpolation=cv2.INTER_LINEAR) > 0.5
    contour = contour_of(solid)
    softness = soft_width(np.where(band, seen, 0).astype(np.float32), contour, cells, sigma)
    apart = (((said > 0.5) != solid) & band).astype(np.float32)
    distance = per_contour(apart, contour, cells, sigma) / (softness + np.float32(0.1))
    trust = 1 - rise(distance, *CONTOUR_DISTANCES)
    return np.asarray(cv2.resize(trust, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def _gaps(trimap: _Trimap, said: Floats) -> Mask:
    """Where the general network sees through narrow gaps of what the others take for solid."""
    side = 2 * max(1, round(GAP_WIDTH * float(np.hypot(*said.shape)) / 2)) + 1
    low, high = GAP_LEVELS
    closed = cv2.morphologyEx(said, cv2.MORPH_CLOSE, np.ones((side, side), np.uint8))
    return np.asarray((said < low) & (closed > high) & (trimap.expected > 0.5))


def _shrunk(mask: Mask) -> Mask:
    around = np.ones((2 * MARGIN_PX + 1,) * 2, np.uint8)
    return np.asarray(cv2.erode(mask.astype(np.uint8), around) > 0)


def _drawn(rgb: Bytes, small: Bytes, trimap: _Trimap, likeness: Floats, sure: Floats) -> Floats:
    """Alpha by the picture's colours, 0..1, at the size of `rgb`; as expected where it is known."""
    unknown, expected = trimap.unknown, trimap.expected
    by_colour = np.float32(COLOUR_WEIGHT) * sure
    weight = np.where(unknown, by_colour + np.float32(NETWORKS_WEIGHT), np.float32(1)).astype(np.float32)
    wish = np.where(unknown, np.float32(NETWORKS_WEIGHT) * expected + by_colour * likeness, expected)
    wish = np.asarray(wish / weight, np.float32)
    alpha = solve_alpha(small, wish, weight, wish, SPREADING_RADIUS_PX, NOISE_VARIANCE, STEPS)
    return linear_in_colour(small, alpha, rgb, DRAWING_RADIUS_PX, NOISE_VARIANCE)
