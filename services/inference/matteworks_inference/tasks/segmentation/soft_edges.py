"""The true softness of fur, hair, feathers and fringes, given back to a matte that was hardened.

The blend is hardened because veils are worse than clean lines almost everywhere. Along fur the portrait
network, which was trained to matte, answers with the right softness whatever the subject is, if it means
the same subject. So the contour is measured, piece by piece: where the soft answers are several pixels wide
for each pixel of contour there is texture, and where their contour runs along the matte's, less than
their own softness away, they speak of the same edge. There, and only there, the soft answer
takes the matte's place, drawn onto the picture's colours by a guided filter. Invariant: a matte whose
contour is sharp everywhere, or that the portrait network contradicts, comes back as the same array.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from matteworks_imaging.filters.guided_filter import guided_filter
from matteworks_imaging.resampling import grid_size
from matteworks_inference.tasks.segmentation.contour_pieces import (
    PIECE,
    contour_of,
    near_contour,
    nearby_mean,
    per_contour,
    rise,
    soft_width,
)

__all__ = ["has_soft_contour", "soft_places", "with_soft_edges"]

Bytes: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float32]

# Overlap (intersection over union) from which on the portrait network means the same subject.
SAME_SUBJECT_OVERLAP: Final = 0.8
# Pixels of softness for each pixel of contour: an edge that is only blurred has less than the first of
# these, fur has more than the second.
SOFT_WIDTHS_PX: Final = (2.2, 3.6)
# Distance of the two contours as a part of that width: up to the first they are one edge, from the second
# on the answers are about different things (a bag, a tail) and the matte stays.
CONTOUR_DISTANCES: Final = (0.4, 0.8)
# Share of the portrait network in the soft answer, where the general network recognised the subject.
PORTRAIT_SHARE: Final = 0.85
# The general network's answer is read between what it says deep inside and far outside, close by: it
# counts nothing where these are less than the first apart, fully from the second on.
RECOGNISED: Final = (0.5, 0.8)
DEEP: Final = 0.015
NEARBY: Final = 0.03
# The soft answer's tails are rounding and doubt.
TAIL: Final = 0.05
# Below the first the portrait network is sure of background, whatever the general one says.
PORTRAIT_VETO: Final = (0.02, 0.10)
# Evidence is summed on a grid of this longer side.
GRID_PX: Final = 256
# The filter's window, and the variance of colour (0..1) that counts as an edge.
FILTER_RADIUS_PX: Final = 3
EDGE_VARIANCE: Final = 1e-4

# A general network's contour is worth a second opinion when this share of it is softer than this, in pixels
# of a grid of this side.
SOFT_SHARE: Final = 0.3
SOFT_CONTOUR_PX: Final = 2.0
CONTOUR_GRID_PX: Final = 512


def has_soft_contour(general: Bytes) -> bool:
    """Whether the general network's own answer (any size) shows an edge that may be fur or hair."""
    # An enlarged answer would be soft by its enlargement.
    side = min(CONTOUR_GRID_PX, *general.shape)
    answer = np.asarray(cv2.resize(general, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
    soft = answer.astype(np.float32) * np.float32(1 / 255)
    contour = contour_of(answer > 127)
    cells = (max(1, side // 2), max(1, side // 2))
    width = soft_width(soft, contour, cells, PIECE * float(np.hypot(*cells)))
    on = cv2.resize(contour, cells, interpolation=cv2.INTER_AREA) > 0
    return bool(on.any()) and float(np.mean(width[on] > SOFT_CONTOUR_PX)) > SOFT_SHARE


def with_soft_edges(rgb: Bytes, matte: Bytes, general: Bytes, portrait: Bytes) -> Bytes:
    """`matte` (h×w) with the softness that the networks saw where the contour is fur or hair.

    `rgb` is the picture, h×w×3; `general` and `portrait` are the networks' own answers, h×w.
    """
    found = soft_places(matte, general, portrait)
    if found is None:
        return matte
    soft, weight = found
    left, top, box_width, box_height = cv2.boundingRect((weight > 0).astype(np.uint8))
    box = slice(top, top + box_height), slice(left, left + box_width)
    hard = matte[box].astype(np.float32) * np.float32(1 / 255)
    answer = rise(soft[box], TAIL, 1 - TAIL)
    drawn = guided_filter(rgb[box], answer, FILTER_RADIUS_PX, EDGE_VARIANCE)
    mixed = hard + weight[box] * (drawn - hard)
    result = matte.copy()
    result[box] = np.where(weight[box] > 0, np.rint(np.clip(mixed, 0, 1) * 255), matte[box])
    return result


def soft_places(matte: Bytes, general: Bytes, portrait: Bytes) -> tuple[Floats, Floats] | None:
    """The networks' soft answer, 0..1, and how much it may replace the matte, 0..1, both h×w; None: nowhere.

    All three are h×w.
    """
    solid, seen = matte > 127, portrait > 127
    either = int(np.count_nonzero(solid | seen))
    if not either or np.count_nonzero(solid & seen) < SAME_SUBJECT_OVERLAP * either:
        return None
    height, width = matte.shape
    cells = grid_size(width, height, GRID_PX)
    soft = _soft_answer(matte, general, portrait, cells)
    weight = _weight(soft, solid, near_contour(solid, cells), cells)
    if float(weight.max()) <= 0:
        return None
    enlarged = cv2.resize(weight, (width, height), interpolation=cv2.INTER_LINEAR)
    return soft, np.asarray(enlarged, np.float32)


def _soft_answer(matte: Bytes, general: Bytes, portrait: Bytes, cells: tuple[int, int]) -> Floats:
    """What the networks say together, 0..1, not hardened."""
    height, width = matte.shape
    scale = np.float32(1 / 255)
    soft = portrait.astype(np.float32) * scale
    own = general.astype(np.float32) * scale
    inside = np.asarray(cv2.resize(matte, cells, interpolation=cv2.INTER_AREA), np.uint8)
    said = np.asarray(cv2.resize(own, cells, interpolation=cv2.INTER_AREA), np.float32)
    diagonal = float(np.hypot(*cells))
    around = np.ones((2 * max(1, round(DEEP * diagonal)) + 1,) * 2, np.uint8)
    deep = (cv2.erode(inside, around) > 250).astype(np.float32)
    outside = (cv2.dilate(inside, around) < 5).astype(np.float32)
    high = nearby_mean(said, deep, NEARBY * diagonal)
    low = nearby_mean(said, outside, NEARBY * diagonal)
    known = rise(high - low, *RECOGNISED) * np.float32(1 - PORTRAIT_SHARE)
    span = np.maximum(high - low, np.float32(0.15))

    def enlarged(field: Floats) -> Floats:
        return np.asarray(cv2.resize(field, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)

    soft += enlarged(known) * (np.clip((own - enlarged(low)) / enlarged(span), 0, 1) - soft)
    return np.asarray(np.minimum(soft, rise(portrait.astype(np.float32) * scale, *PORTRAIT_VETO)), np.float32)


def _weight(soft: Floats, solid: NDArray[np.bool_], near: Floats, cells: tuple[int, int]) -> Floats:
    """How much the soft answer replaces the matte: 0..1 on the grid, 0 away from the contour."""
    height, width = soft.shape
    sigma = PIECE * float(np.hypot(*cells))
    band = cv2.resize(near, (width, height), interpolation=cv2.INTER_LINEAR) > 0.5
    own = soft > np.float32(0.5)
    contour = contour_of(own)
    softness = soft_width(np.where(band, soft, 0).astype(np.float32), contour, cells, sigma)
    apart = ((own != solid) & band).astype(np.float32)
    distance = per_contour(apart, contour, cells, sigma) / (softness + np.float32(0.1))
    same = 1 - rise(distance, *CONTOUR_DISTANCES)
    return np.asarray(near * same * rise(softness, *SOFT_WIDTHS_PX), np.float32)
