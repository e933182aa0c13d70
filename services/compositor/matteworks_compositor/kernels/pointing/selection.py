"""The matte of what somebody points at or names by its number.

Where the points fit the network's own matte, whole subjects of that matte are the answer, with their
edges as they are. Where they do not, colours decide: GrabCut (Rother, Kolmogorov and Blake, "GrabCut", 2004)
starts from the chosen parts and from the flat areas around the points, and its line is softened as far as
the colours mix there (guided filter). That is worked out on a small copy; near the old contour the old matte
stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from matteworks_compositor.kernels.matte_upsampling import upsample_matte
from matteworks_compositor.kernels.pointing.subjects import (
    SOLID_ALPHA,
    FoundSubject,
    Sighting,
    Subjects,
    find_subjects,
)
from matteworks_imaging.box import Box, Size, fit_within
from matteworks_imaging.filters.guided_filter import guided_filter

__all__ = ["Selection", "Shown", "SubjectMattes"]

Bytes8 = NDArray[np.uint8]
Flags = NDArray[np.bool_]
Labels = NDArray[np.int32]
Place = tuple[int, int]

WORK_PIXELS: Final = 150_000
# Shares of the longer side: what is sure around a point, and how far a point may miss a part of the matte.
SURE_RADIUS: Final = 0.012
MISS: Final = 0.01
# How far from a point that the matte does not agree with its line may move.
REACH: Final = 0.2
# A part of the matte belongs to a box when that much of it is inside, and not when less than the other is.
WITHIN, BESIDE = 0.95, 0.05
# How far a neighbour's colour may differ in the flat area around a point, in levels.
FLAT_LEVELS: Final = 7
ROUNDS: Final = 4
_EDGE_VARIANCE: Final = 1e-4


@dataclass(frozen=True, slots=True)
class Selection:
    """What is meant: places on it, places beside it (x, y in pixels of the picture), a box around it, and
    subjects by their numbers.
    """

    inside: Sequence[tuple[float, float]] = ()
    outside: Sequence[tuple[float, float]] = ()
    box: Box | None = None
    subjects: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class SubjectMattes:
    """A matte (H×W) and whose it is where: (h×w), the number of the nearest subject."""

    matte: Bytes8
    nearest: Labels
    numbers: list[int]

    def of(self, numbers: Sequence[int]) -> Bytes8:
        """The matte of these subjects together (H×W). All of them have the whole matte."""
        return _times(self.matte, np.isin(self.nearest, list(numbers)).astype(np.float32))


class Shown:
    """A picture (`rgb`, H×W×3), the network's matte of it (H×W) and what the detector saw in it.

    Equal pictures and selections give equal mattes.
    """

    def __init__(self, rgb: Bytes8, matte: Bytes8, sightings: Sequence[Sighting] = ()) -> None:
        height, width = matte.shape
        self._rgb, self._size = rgb, Size(width, height)
        self._worked = fit_within(self._size, WORK_PIXELS, max(width, height))
        self._small_rgb = _resized(rgb, self._worked)
        small_matte = _resized(matte, self._worked)
        self._subjects = find_subjects(self._small_rgb, small_matte, sightings, self._size)
        numbers = [found.number for found in self._subjects.found]
        self.mattes = SubjectMattes(matte, self._subjects.nearest, numbers)

    @property
    def subjects(self) -> tuple[FoundSubject, ...]:
        """All of them, in the order of their numbers, from 1 on."""
        return self._subjects.found

    def select(self, selection: Selection, prompted: Bytes8 | None = None) -> Bytes8:
        """The matte (H×W, 0 to 255) of what is selected.

        With neither a point inside nor a box nor a number, what is not pointed out stays. `prompted` (h×w, 0
        to 255, stretched over the picture) is what a promptable network makes of the same points and box:
        then it decides, and the network's matte has the edges where both agree.
        """
        meant = _Meant.scaled(selection, self._size, self._worked)
        refused = np.zeros(self._small_rgb.shape[:2], np.bool_)
        if prompted is None:
            chosen, is_plain = _chosen(self._subjects, meant)
            refused = _refused_parts(chosen, meant)
            chosen &= ~refused
            # Pointed at from both sides, or nothing else would be left: it must be divided.
            is_plain = is_plain and not any(chosen[y, x] for x, y in meant.outside)
        else:
            solid = _enlarged_mask(prompted, self._worked)
            chosen, is_plain = _covered(self._subjects.solid, solid), False
        old = self.mattes.of(np.unique(self._subjects.solid[chosen]).tolist())
        if refused.any():
            old = _times(old, _nearer(chosen, refused))
        if is_plain:
            return old
        if prompted is None:
            solid = _grabcut(self._small_rgb, chosen, meant)
        radius_px = max(2, max(solid.shape) // 150)
        drawn = _softened(self._small_rgb, solid, radius_px)
        full = upsample_matte(self._rgb, drawn, self._small_rgb)
        same = _enlarged(_agreement(solid, chosen, radius_px), old.shape)
        # In bytes throughout: pictures have up to 50 megapixels.
        new_share = cv2.multiply(full, cv2.bitwise_not(same), scale=1 / 255)
        old_share = cv2.multiply(old, same, scale=1 / 255)
        blended = np.asarray(cv2.add(new_share, old_share), np.uint8)
        return blended if selection.box is None else _within(blended, selection.box)


@dataclass(frozen=True, slots=True)
class _Meant:
    """A selection in pixels of the small copy."""

    inside: list[Place]
    outside: list[Place]
    box: tuple[slice, slice] | None
    subjects: list[int]
    sure_px: int
    miss_px: int
    reach_px: int

    @classmethod
    def scaled(cls, selection: Selection, size: Size, worked: Size) -> _Meant:
        across, down = worked.width_px / size.width_px, worked.height_px / size.height_px

        def place(point: tuple[float, float]) -> Place:
            x, y = int(point[0] * across), int(point[1] * down)
            return min(max(x, 0), worked.width_px - 1), min(max(y, 0), worked.height_px - 1)

        box = None
        if selection.box is not None:
            left_px, top_px = place((selection.box.left_px, selection.box.top_px))
            right_px = round((selection.box.left_px + selection.box.width_px) * across)
            bottom_px = round((selection.box.top_px + selection.box.height_px) * down)
            box = (slice(top_px, max(bottom_px, top_px + 1)), slice(left_px, max(right_px, left_px + 1)))
        longer = max(worked.width_px, worked.height_px)
        return cls(
            [place(point) for point in selection.inside],
            [place(point) for point in selection.outside],
            box,
            list(selection.subjects),
            max(2, round(longer * SURE_RADIUS)),
            max(1, round(longer * MISS)),
            max(4, round(longer * REACH)),
        )


def _chosen(subjects: Subjects, meant: _Meant) -> tuple[Flags, bool]:
    """Where the subjects are that are meant (h×w), and whether they may be the answer as they stand."""
    labels = subjects.solid
    named = set(meant.subjects)
    is_plain = True
    if meant.box is not None:
        in_box, is_plain = _in_box(labels, meant.box)
        named |= in_box
    elif not meant.inside and not named:
        named = set(range(1, len(subjects.found) + 1))
    hit = [_number_near(labels, place, meant.miss_px) for place in meant.inside]
    is_plain = is_plain and 0 not in hit
    pointed_at = {label for label in hit if label} | set(meant.subjects)
    named |= pointed_at
    refused = {int(labels[y, x]) for x, y in meant.outside} - {0}
    if named - refused:
        named -= refused - pointed_at
    return np.asarray(np.isin(labels, sorted(named)), np.bool_), is_plain


def _refused_parts(chosen: Flags, meant: _Meant) -> Flags:
    """The parts of what is chosen that stand alone and are pointed out (h×w), when the rest is more, or is
    pointed at.
    """
    _, parts = cv2.connectedComponents(chosen.astype(np.uint8))
    wanted = {int(parts[y, x]) for x, y in meant.inside} - {0}
    refused = {int(parts[y, x]) for x, y in meant.outside} - {0} - wanted
    where = np.asarray(np.isin(parts, sorted(refused)), np.bool_)
    is_left = wanted or 2 * np.count_nonzero(where) < np.count_nonzero(chosen)
    return where if is_left else np.zeros_like(where)


def _nearer(a: Flags, b: Flags) -> NDArray[np.float32]:
    """1 where `a` is nearer than `b`, else 0 (h×w)."""
    far_from_a, far_from_b = (
        cv2.distanceTransform((~flags).astype(np.uint8), cv2.DIST_L2, 5) for flags in (a, b)
    )
    return np.asarray(far_from_a < far_from_b, np.float32)


def _covered(labels: Labels, solid: Flags) -> Flags:
    """Where the subjects are of which `solid` has the larger part (h×w)."""
    sizes = np.bincount(labels.ravel())
    shares = np.bincount(labels[solid], minlength=len(sizes)) / np.maximum(sizes, 1)
    return np.asarray((shares > 0.5)[labels] & (labels > 0), np.bool_)


def _enlarged_mask(likely: Bytes8, size: Size) -> Flags:
    enlarged = cv2.resize(likely, (size.width_px, size.height_px), interpolation=cv2.INTER_CUBIC)
    return np.asarray(enlarged >= SOLID_ALPHA, np.bool_)


def _in_box(labels: Labels, box: tuple[slice, slice]) -> tuple[set[int], bool]:
    sizes = np.bincount(labels.ravel())
    inside = np.bincount(labels[box].ravel(), minlength=len(sizes))
    shares = inside / np.maximum(sizes, 1)
    named = {label for label in range(1, len(sizes)) if shares[label] > BESIDE}
    whole = all(shares[label] >= WITHIN for label in named)
    return named, whole and bool(named)


def _number_near(labels: Labels, place: Place, miss_px: int) -> int:
    """The subject at `place`, or the one most seen near it; 0 for none."""
    x, y = place
    if labels[y, x]:
        return int(labels[y, x])
    around = labels[max(0, y - miss_px) : y + miss_px + 1, max(0, x - miss_px) : x + miss_px + 1]
    seen = np.bincount(around[around > 0], minlength=1)
    return int(seen.argmax()) if seen.any() else 0


def _grabcut(rgb: Bytes8, chosen: Flags, meant: _Meant) -> Flags:
    """What has the colours of what is meant, connected with it (h×w)."""
    marks = np.where(chosen, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    if meant.box is not None:
        if not chosen[meant.box].any():
            marks[meant.box] = cv2.GC_PR_FGD
        beside = np.ones(chosen.shape, np.bool_)
        beside[meant.box] = False
        marks[beside] = cv2.GC_BGD
    else:
        # Without a box a point speaks for its surroundings alone: colours of a whole picture are too alike.
        # And a point inside takes nothing away, nor does one outside add anything.
        marks[chosen & ~_near(meant.outside, chosen, meant.reach_px)] = cv2.GC_FGD
        marks[~chosen & ~_near(meant.inside, ~chosen, meant.reach_px)] = cv2.GC_BGD
    for place in meant.inside:
        if not chosen[place[1], place[0]]:
            flat = _flat_area(rgb, place)
            marks[flat & (marks == cv2.GC_PR_BGD)] = cv2.GC_PR_FGD
    for place in meant.outside:
        flat = _flat_area(rgb, place)
        marks[flat & (marks == cv2.GC_PR_FGD)] = cv2.GC_PR_BGD
    for places, mark in ((meant.inside, cv2.GC_FGD), (meant.outside, cv2.GC_BGD)):
        for place in places:
            cv2.circle(marks, place, meant.sure_px, (int(mark),), -1)
    is_subject = (marks == cv2.GC_FGD) | (marks == cv2.GC_PR_FGD)
    if is_subject.all() or not is_subject.any():
        return np.asarray(is_subject, np.bool_)
    # Its first mixture of colours is drawn by lot.
    cv2.setRNGSeed(0)
    models = (np.zeros((1, 65)), np.zeros((1, 65)))
    cv2.grabCut(rgb, marks, (0, 0, 0, 0), *models, ROUNDS, cv2.GC_INIT_WITH_MASK)
    found = ((marks == cv2.GC_FGD) | (marks == cv2.GC_PR_FGD)).astype(np.uint8)
    return _connected(found, chosen, meant)


def _near(places: Sequence[Place], where: Flags, reach_px: int) -> Flags:
    """What is within reach of those `places` that lie in `where` (h×w)."""
    near = np.zeros(where.shape, np.uint8)
    for place in places:
        if where[place[1], place[0]]:
            cv2.circle(near, place, reach_px, (1,), -1)
    return np.asarray(near > 0, np.bool_)


def _connected(found: Bytes8, chosen: Flags, meant: _Meant) -> Flags:
    """The parts of `found` with a point in them, and those that the chosen parts share."""
    _, labels = cv2.connectedComponents(found)
    wanted = {int(labels[y, x]) for x, y in meant.inside}
    if chosen.any() or not meant.inside:
        sizes = np.bincount(labels[chosen] if chosen.any() else labels.ravel())
        sizes[0] = 0
        wanted |= {int(label) for label in np.flatnonzero(sizes > sizes.max() * BESIDE)}
    return np.asarray(np.isin(labels, sorted(wanted - {0})), np.bool_)


def _flat_area(rgb: Bytes8, place: Place) -> Flags:
    """The pixels around `place` that no edge parts from it (h×w)."""
    height, width = rgb.shape[:2]
    flooded = np.zeros((height + 2, width + 2), np.uint8)
    smooth = np.array(cv2.GaussianBlur(rgb, (5, 5), 0), np.uint8)
    levels = (FLAT_LEVELS,) * 3
    cv2.floodFill(smooth, flooded, place, (0, 0, 0), levels, levels, 4 | cv2.FLOODFILL_MASK_ONLY | (1 << 8))
    return np.asarray(flooded[1:-1, 1:-1] > 0, np.bool_)


def _softened(rgb: Bytes8, solid: Flags, radius_px: int) -> Bytes8:
    """The line of `solid` as soft as the colours at it (h×w, 0 to 255)."""
    soft = guided_filter(rgb, solid.astype(np.float32), radius_px, _EDGE_VARIANCE)
    return np.rint(np.clip(soft, 0, 1) * 255).astype(np.uint8)


def _agreement(solid: Flags, chosen: Flags, radius_px: int) -> NDArray[np.float32]:
    """1 where both say the same all around, 0 where they differ (h×w)."""
    differ = (solid != chosen).astype(np.uint8)
    # A line that moved by a pixel is the same line.
    differ = np.asarray(cv2.erode(differ, np.ones((3, 3), np.uint8)), np.uint8)
    side = 4 * radius_px + 1
    wide = np.asarray(cv2.dilate(differ, np.ones((side, side), np.uint8)), np.float32)
    return np.asarray(1 - cv2.blur(wide, (radius_px, radius_px)), np.float32)


def _within(matte: Bytes8, box: Box) -> Bytes8:
    kept = np.zeros_like(matte)
    kept[box.slices] = matte[box.slices]
    return kept


def _times(matte: Bytes8, share: NDArray[np.float32]) -> Bytes8:
    """`matte` (H×W) by `share` (h×w, 0 to 1), enlarged."""
    if share.min() >= 1:
        return matte.copy()
    return np.asarray(cv2.multiply(matte, _enlarged(share, matte.shape), scale=1 / 255), np.uint8)


def _enlarged(share: NDArray[np.float32], shape: tuple[int, ...]) -> Bytes8:
    """A share (h×w, 0 to 1) at another size, 0 to 255."""
    levels = np.rint(share * 255).astype(np.uint8)
    return np.asarray(cv2.resize(levels, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR), np.uint8)


def _resized(image: Bytes8, size: Size) -> Bytes8:
    if image.shape[:2] == (size.height_px, size.width_px):
        return np.ascontiguousarray(image)
    return np.asarray(
        cv2.resize(image, (size.width_px, size.height_px), interpolation=cv2.INTER_AREA), np.uint8
    )
