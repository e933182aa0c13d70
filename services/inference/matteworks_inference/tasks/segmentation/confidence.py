"""How likely a matte is right: what the networks themselves betray of it.

Two things rank mattes by their overlap with the truth: how strongly the first network answers inside the
matte (a half-recognised subject gets half-hearted answers), and how well every network's own outline agrees
with the matte. A detector's score and the share of undecided pixels add nothing to them. A logistic curve
turns both into the probability that matte and truth overlap by `GOOD_OVERLAP` at least. Its numbers were
fitted on every second picture of `tools/evaluate_confidence.py`, which reports on the others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["GOOD_OVERLAP", "evidence_of", "probability"]

Bytes: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float32]

# Intersection over union from which on a matte counts as right.
GOOD_OVERLAP: Final = 0.8
# Evidence is compared at this size.
GRID_PX: Final = 256
OFFSET: Final = -5.21
STRENGTH_WEIGHT: Final = 2.40
AGREEMENT_WEIGHT: Final = 4.86


def evidence_of(matte: Bytes, answers: Mapping[str, Bytes | Floats]) -> tuple[float, float]:
    """Strength and agreement, 0 to 1 each.

    `matte` (h×w) is what is given out; `answers` are the networks' own, the leading one first, in any
    size, 0..255 as uint8 or 0..1 as float. Both are 0 when the matte is empty.
    """
    solid = _grid(matte) > 127
    if not solid.any() or not answers:
        return 0.0, 0.0
    grids = [_grid(answer) for answer in answers.values()]
    strength = float(grids[0][solid].mean()) / 255
    overlaps = []
    for grid in grids:
        seen = grid > 127
        either = int(np.count_nonzero(solid | seen))
        overlaps.append(int(np.count_nonzero(solid & seen)) / either)
    return strength, sum(overlaps) / len(overlaps)


def probability(strength: float, agreement: float) -> float:
    """That a matte with this evidence overlaps with the truth by `GOOD_OVERLAP`, 0 to 1."""
    return 1 / (1 + math.exp(-(OFFSET + STRENGTH_WEIGHT * strength + AGREEMENT_WEIGHT * agreement)))


def _grid(answer: Bytes | Floats) -> Bytes:
    if answer.dtype == np.uint8:
        levels = np.asarray(answer, np.uint8)
    else:
        levels = np.asarray(np.rint(np.clip(answer, 0, 1) * 255), np.uint8)
    return np.asarray(cv2.resize(levels, (GRID_PX, GRID_PX), interpolation=cv2.INTER_AREA), np.uint8)
