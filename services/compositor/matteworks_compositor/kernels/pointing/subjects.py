"""The subjects of a picture: what its matte holds, taken apart.

Connected parts of the matte are subjects, with two corrections by what a detector saw. A part in which it saw
several people, animals or cars side by side is divided between them along the picture's edges (watershed,
Meyer, "Topographic distance and watershed lines", 1994). Small parts go to the thing in whose box they lie,
or else to the nearest one, so a hand beyond a sleeve is no subject of its own.

Invariant: every place in the picture belongs to exactly one subject, so the subjects' mattes add up to the
matte that they were taken from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from matteworks_compositor.options.model import SubjectType
from matteworks_imaging.box import Box, Size, scale_box_outwards

__all__ = ["MAX_SUBJECTS", "SOLID_ALPHA", "FoundSubject", "Sighting", "Subjects", "find_subjects"]

Bytes8 = NDArray[np.uint8]
Labels = NDArray[np.int32]
Flags = NDArray[np.bool_]

MAX_SUBJECTS: Final = 20
SOLID_ALPHA: Final = 128
# A part of the matte that is smaller than this share of all of it is no subject of its own.
LEAST_SHARE: Final = 0.02
# How sure the detector must be of a thing that divides a part or gathers parts.
SURE_SCORE: Final = 0.3
# What may stand beside others of its kind in one part. What people wear and hold is theirs.
LIVING_OR_DRIVING: Final = frozenset({"person", "dog", "cat", "cattle", "car", "vehicle"})
# Two boxes that share more of the smaller one are not side by side.
SIDE_BY_SIDE: Final = 0.5
# A thing is in a part when its box is filled by it this much.
LEAST_FILLED: Final = 0.25
# The middle of a box, as a share of each side, is the thing itself.
CORE: Final = 0.5
# A part goes with a larger one when this much of it lies in the same box, and it is smaller than that share.
WITHIN, ASIDE = 0.8, 0.3
# How much a box and a subject overlap that are the same thing.
SAME_OVERLAP: Final = 0.4


@dataclass(frozen=True, slots=True)
class Sighting:
    """A thing that the detector saw: its label and type, a score of 0 to 1, its box as parts of the sides."""

    label: str
    type: SubjectType
    score: float
    left: float
    top: float
    right: float
    bottom: float

    def box_in(self, size: Size) -> Box:
        """Its box in pixels of a picture of `size`, at least one."""
        left_px = min(int(self.left * size.width_px), size.width_px - 1)
        top_px = min(int(self.top * size.height_px), size.height_px - 1)
        return Box(
            left_px,
            top_px,
            max(1, round(self.right * size.width_px) - left_px),
            max(1, round(self.bottom * size.height_px) - top_px),
        )


@dataclass(frozen=True, slots=True)
class FoundSubject:
    """One subject. `box` in pixels of the picture; `coverage` is its share of the picture, 0 to 1; `seen` is
    the thing that the detector saw there.
    """

    number: int
    box: Box
    coverage: float
    seen: Sighting | None


@dataclass(frozen=True, slots=True)
class Subjects:
    """`solid` (h×w) has the number of the subject that is there, 0 beside them; `nearest` (h×w) that of the
    nearest one, 0 only when there is none. `found` in the order of the numbers, from 1 on.
    """

    solid: Labels
    nearest: Labels
    found: tuple[FoundSubject, ...]


def find_subjects(rgb: Bytes8, matte: Bytes8, sightings: Sequence[Sighting], size: Size) -> Subjects:
    """The subjects of a small copy (`rgb` h×w×3, `matte` h×w) of a picture of `size`, largest first."""
    count, parts = cv2.connectedComponents((matte >= SOLID_ALPHA).astype(np.uint8))
    labels = np.asarray(parts, np.int32)
    sure = [sighting for sighting in sightings if sighting.score >= SURE_SCORE]
    for part in range(1, count):
        labels = _divided(rgb, labels, part, sure)
    _gather(labels, sure)
    labels = _renumbered(_without_crumbs(labels))
    return Subjects(labels, _nearest(labels), _facts(labels, sightings, size))


def _divided(rgb: Bytes8, labels: Labels, part: int, sightings: Sequence[Sighting]) -> Labels:
    """`labels` with `part` divided between the things that were seen in it; new ones get new numbers."""
    where = labels == part
    cores = _cores(where, sightings)
    if len(cores) < 2:
        return labels
    markers = np.where(where, 0, 1).astype(np.int32)
    for number, core in enumerate(cores, 2):
        markers[core] = number
    flooded = np.asarray(cv2.watershed(np.ascontiguousarray(rgb), markers), np.int32)
    # The lines between two basins are of the nearest of them.
    flooded[flooded < 2] = 0
    flooded = _nearest(flooded)
    first = int(labels.max())
    divided = labels.copy()
    divided[where] = np.where(flooded[where] == 2, part, first + flooded[where])
    return divided


def _cores(where: Flags, sightings: Sequence[Sighting]) -> list[Flags]:
    """What surely is each of the things that stand side by side in a part (h×w each)."""
    size = Size(where.shape[1], where.shape[0])
    boxes: list[Box] = []
    for sighting in sorted(sightings, key=lambda one: -one.score):
        box = sighting.box_in(size)
        if sighting.label not in LIVING_OR_DRIVING or where[box.slices].mean() < LEAST_FILLED:
            continue
        if all(_shared(box, other) <= SIDE_BY_SIDE for other in boxes):
            boxes.append(box)
    cores = []
    for box in boxes:
        core = np.zeros_like(where)
        core[_middle(box).slices] = True
        for other in boxes:
            if other is not box:
                core[other.slices] = False
        core &= where
        if core.any():
            cores.append(core)
    return cores


def _shared(a: Box, b: Box) -> float:
    """How much of the smaller box lies in the other one."""
    width = min(a.right_px, b.right_px) - max(a.left_px, b.left_px)
    height = min(a.bottom_px, b.bottom_px) - max(a.top_px, b.top_px)
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / min(a.size.pixel_count, b.size.pixel_count)


def _middle(box: Box) -> Box:
    across, down = round(box.width_px * (1 - CORE) / 2), round(box.height_px * (1 - CORE) / 2)
    return Box(
        box.left_px + across,
        box.top_px + down,
        max(1, box.width_px - 2 * across),
        max(1, box.height_px - 2 * down),
    )


def _gather(labels: Labels, sightings: Sequence[Sighting]) -> None:
    """Give small parts to the large one that lies in the same thing's box."""
    size = Size(labels.shape[1], labels.shape[0])
    for sighting in sightings:
        areas = np.bincount(labels.ravel())
        inside = np.bincount(labels[sighting.box_in(size).slices].ravel(), minlength=len(areas))
        areas[0], inside[0] = 0, 0
        main = int(inside.argmax())
        if not inside[main]:
            continue
        small = (inside > WITHIN * areas) & (areas < ASIDE * areas[main]) & (areas > 0)
        labels[small[labels]] = main


def _without_crumbs(labels: Labels) -> Labels:
    """`labels` with what is too small, or one too many, given to the nearest that is not."""
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    ordered = np.argsort(-areas, kind="stable")[:MAX_SUBJECTS]
    kept = [label for label in ordered if areas[label] and areas[label] >= LEAST_SHARE * areas.sum()]
    is_kept = np.zeros(len(areas), np.bool_)
    is_kept[kept] = True
    if not kept or is_kept[areas > 0].all():
        return labels
    nearest = _nearest(np.where(is_kept[labels], labels, 0).astype(np.int32))
    return np.where(labels > 0, nearest, 0).astype(np.int32)


def _renumbered(labels: Labels) -> Labels:
    """The largest is 1; of two that are equally large the one that begins higher up comes first."""
    numbers, first_seen, areas = np.unique(labels, return_index=True, return_counts=True)
    ordered = sorted(
        (-area, at, old) for old, at, area in zip(numbers, first_seen, areas, strict=True) if old
    )
    table = np.zeros(int(numbers.max()) + 1, np.int32)
    for number, (_, _, old) in enumerate(ordered, 1):
        table[old] = number
    return np.asarray(table[labels], np.int32)


def _nearest(labels: Labels) -> Labels:
    """For every place the label nearest to it; all 0 when there is none."""
    if not labels.any():
        return labels
    empty = (labels == 0).astype(np.uint8)
    _, sources = cv2.distanceTransformWithLabels(empty, cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL)
    sources = np.asarray(sources)
    table = np.zeros(int(sources.max()) + 1, np.int32)
    table[sources[labels > 0]] = labels[labels > 0]
    return np.asarray(table[sources], np.int32)


def _facts(labels: Labels, sightings: Sequence[Sighting], size: Size) -> tuple[FoundSubject, ...]:
    small = Size(labels.shape[1], labels.shape[0])
    found = []
    for number in range(1, int(labels.max()) + 1):
        area = (labels == number).astype(np.uint8)
        box = Box(*cv2.boundingRect(area))
        seen = max(
            (one for one in sightings if _overlap(one.box_in(small), box) >= SAME_OVERLAP),
            key=lambda one: one.score * _overlap(one.box_in(small), box),
            default=None,
        )
        found.append(FoundSubject(number, scale_box_outwards(box, small, size), float(area.mean()), seen))
    return tuple(found)


def _overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    shared = _shared(a, b) * min(a.size.pixel_count, b.size.pixel_count)
    return shared / (a.size.pixel_count + b.size.pixel_count - shared)
