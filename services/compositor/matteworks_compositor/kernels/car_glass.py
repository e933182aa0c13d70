"""Where a car's windows are, and what they look like when light passes through them again.

There is no network for this: windows are found as what the body paint is not. In the upper part of
a car, a large, convex, evenly toned patch that the body encloses, whose colour is neither the paint's
nor a lamp's, and whose outline is a strong edge, is a window. A hole in a door is worse than a window
that stays opaque, so every test must pass, and a car on which they disagree is left alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["CarGlass", "find_car_glass", "let_light_through"]

# Longest side of the copy on which windows are searched.
SEARCH_SIDE_PX = 384
# A car with fewer pixels a side than this shows no windows that could be told from other dark patches.
SMALLEST_SIDE_PX = 96
# Shares of the car's height above which a window's top, its centre and all of it lie; sideways it keeps
# away from the ends, where wheels and lamps are.
LOWEST_TOP, LOWEST_CENTRE, LOWEST_EDGE, NEAREST_END = 0.27, 0.30, 0.60, 0.06
# Only the roof is above a window: this much of the car's height at most.
THICKEST_ROOF = 0.17
# Rows, as shares of the car's height, where its paint is sampled, and the least distance from it in
# CIE Lab. A colour is paint from this share of the samples on, black only if it rules: tyres are there too.
PAINT_TOP, PAINT_BOTTOM = 0.42, 0.80
LEAST_PAINT_DISTANCE = 14.0
LEAST_PAINT_SHARE, LEAST_BLACK_SHARE = 0.16, 0.42
# Lightness (CIE L) below which the dark patches are collected, one after the other.
LIGHTNESS_STEPS = tuple(range(12, 80, 4))
# A window as a share of the car's area.
SMALLEST_AREA, LARGEST_AREA = 0.012, 0.32
# Its shape: area over that of its convex hull, and outline pixels that lie on the car's own outline.
LEAST_SOLIDITY, GOOD_SOLIDITY = 0.82, 0.93
MOST_OPEN_OUTLINE = 0.22
# Its proportions: the narrow side as a share of the car's height, and long side over narrow side.
LEAST_NARROW_SIDE, MOST_ELONGATION = 0.085, 6.5
# Its edge: the share of outline pixels with a lightness step of at least `STRONG_STEP` across them.
STRONG_STEP = 9.0
LEAST_EDGE_SHARE, GOOD_EDGE_SHARE = 0.72, 0.95
# Its look: darker than the body around it by this much, and hardly coloured.
LEAST_CONTRAST, GOOD_CONTRAST = 14.0, 32.0
MOST_CHROMA = 24.0
# A grille is dark and small too, but full of edges: the share of the inside that may be, when small.
SMALL_AREA, MOST_TEXTURE = 0.045, 0.75
# A gap in the dark patch stays opaque when it takes this share of it and is lighter by this much.
BODYWORK_AREA, BODYWORK_CONTRAST = 0.02, 26.0
# All windows together: fewer are chance, more is a car whose paint was taken for glass.
LEAST_TOTAL, MOST_TOTAL = 0.03, 0.42
# Confidence from which windows are made transparent.
LEAST_CONFIDENCE = 0.6
# Opacity of the darkest and of the brightest glass.
DARK_GLASS_OPACITY, BRIGHT_GLASS_OPACITY = 0.66, 0.46
# Share of its colourfulness that glass keeps: most of it was the old surroundings.
KEPT_CHROMA = np.float32(0.45)
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
# Rows that are coloured at once: bounds the memory of a large picture.
STRIP_ROWS = 128


@dataclass(frozen=True)
class CarGlass:
    """Windows of one car: `glass`, H×W uint8, 0 body to 255 glass, soft at the edge, and how sure that is.

    `glass` is all zero when `confidence` (0..1) was too low to act on.
    """

    glass: NDArray[np.uint8]
    confidence: float

    @property
    def is_found(self) -> bool:
        """Whether there is any glass to make transparent."""
        return bool(self.glass.any())


@dataclass(frozen=True)
class _Patch:
    """A candidate on the small copy: its pixels and how well it passes, 0..1."""

    mask: NDArray[np.uint8]
    score: float
    area_share: float


@dataclass(frozen=True)
class _View:
    """What the tests look at, on the small copy: CIE Lab, lightness steps, the body and depths in it."""

    body: NDArray[np.uint8]
    area: float
    depth: NDArray[np.float32]
    lightness: NDArray[np.float32]
    a: NDArray[np.float32]
    b: NDArray[np.float32]
    step: NDArray[np.float32]
    roof: NDArray[np.intp]
    paints: tuple[NDArray[np.float32], ...]

    @classmethod
    def of(cls, picture: NDArray[np.uint8], body: NDArray[np.uint8]) -> _View:
        smooth = cv2.bilateralFilter(picture, 7, 24, 4).astype(np.float32) / 255
        lab = np.asarray(cv2.cvtColor(smooth, cv2.COLOR_RGB2Lab), np.float32)
        lightness, a, b = cv2.split(lab)
        framed = cv2.copyMakeBorder(body, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
        depth = cv2.distanceTransform(framed, cv2.DIST_L2, 3)[1:-1, 1:-1]
        step = cv2.morphologyEx(lightness, cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8))
        return cls(
            body=body,
            area=float(np.count_nonzero(body)),
            depth=np.asarray(depth, np.float32),
            lightness=np.asarray(lightness, np.float32),
            a=np.asarray(a, np.float32),
            b=np.asarray(b, np.float32),
            step=np.asarray(step, np.float32),
            roof=np.argmax(body != 0, axis=0),
            paints=_paints(lab, np.asarray(depth, np.float32)),
        )


def find_car_glass(picture: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> CarGlass:
    """The windows of the car that `alpha` (H×W) cuts out of `picture` (H×W×3 sRGB)."""
    nothing = CarGlass(np.zeros(alpha.shape, np.uint8), 0.0)
    left, top, width, height = cv2.boundingRect(cv2.inRange(alpha, 128, 255))
    if min(width, height) < SMALLEST_SIDE_PX:
        return nothing
    box = (slice(top, top + height), slice(left, left + width))
    scale = min(1.0, SEARCH_SIDE_PX / max(width, height))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(picture[box], size, interpolation=cv2.INTER_AREA)
    small_alpha = cv2.resize(alpha[box], size, interpolation=cv2.INTER_AREA)
    patches = _find_patches(np.asarray(small, np.uint8), np.asarray(small_alpha, np.uint8))
    confidence = _confidence(patches)
    if confidence < LEAST_CONFIDENCE:
        return CarGlass(nothing.glass, confidence)
    union = np.zeros(small.shape[:2], np.uint8)
    for patch in patches:
        union |= patch.mask
    # Half a working pixel inside the frame, then soft: the rubber around a window stays opaque.
    soft = cv2.GaussianBlur(cv2.erode(union, np.ones((3, 3), np.uint8)), (0, 0), 0.9)
    result = np.zeros(alpha.shape, np.uint8)
    _stretch_into(result[box], np.asarray(soft, np.uint8))
    return CarGlass(result, confidence)


def let_light_through(
    colours: NDArray[np.uint8], alpha: NDArray[np.uint8], glass: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Colours (H×W×3) and alpha (H×W) with the glass partly transparent; pixels without glass unchanged.

    Dark glass stays more opaque than bright glass, of which more is the old surroundings seen through.
    What is left of the colour is the glass itself: greyer, since the tint of what lay behind goes away.
    """
    x, y, width, height = cv2.boundingRect(glass)
    if width == 0:
        return colours, alpha
    box = (slice(y, y + height), slice(x, x + width))
    new_alpha, new_colours = alpha.copy(), colours.copy()
    opacity = _opacity(colours[box])
    for first in range(0, height, STRIP_ROWS):
        rows = slice(y + first, min(y + first + STRIP_ROWS, y + height))
        strip = (rows, box[1])
        share = glass[strip].astype(np.float32) / np.float32(255)
        kept = 1 - share * (1 - opacity[first : first + STRIP_ROWS])
        new_alpha[strip] = np.rint(alpha[strip] * kept).astype(np.uint8)
        seen = colours[strip].astype(np.float32)
        luma = (seen @ LUMA)[..., None]
        tint = luma + (seen - luma) * KEPT_CHROMA
        # Glass is as dark as it looked or darker: the light that came through it is not its own.
        tint *= 0.72 + 0.28 * np.minimum(luma / 255, 1)
        mixed = seen + (tint - seen) * share[..., None]
        new_colours[strip] = np.rint(np.clip(mixed, 0, 255)).astype(np.uint8)
    return new_colours, new_alpha


def _stretch_into(target: NDArray[np.uint8], small: NDArray[np.uint8]) -> None:
    """Enlarge `small` over all of `target`, working only where there is something."""
    height, width = target.shape
    x, y, columns, rows = cv2.boundingRect(small)
    step_x, step_y = small.shape[1] / width, small.shape[0] / height
    left, top = max(0, int((x - 1) / step_x)), max(0, int((y - 1) / step_y))
    right = min(width, int((x + columns + 1) / step_x) + 1)
    bottom = min(height, int((y + rows + 1) / step_y) + 1)
    inverse = np.array(
        [
            [step_x, 0, (left + 0.5) * step_x - 0.5],
            [0, step_y, (top + 0.5) * step_y - 0.5],
        ]
    )
    target[top:bottom, left:right] = cv2.warpAffine(
        small, inverse, (right - left, bottom - top), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )


def _opacity(seen: NDArray[np.uint8]) -> NDArray[np.float32]:
    """How opaque the glass is by how bright it looks, h×w.

    Only the even part of the brightness decides, or every reflection would get its own opacity; it is
    therefore taken from a thumbnail.
    """
    height, width = seen.shape[:2]
    scale = min(1.0, 48 / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    luma = np.asarray(cv2.resize(seen, size, interpolation=cv2.INTER_AREA), np.float32) @ LUMA
    even = cv2.GaussianBlur(luma, (0, 0), 2.0)
    opacity = DARK_GLASS_OPACITY + (BRIGHT_GLASS_OPACITY - DARK_GLASS_OPACITY) * np.clip(even / 200, 0, 1)
    return np.asarray(cv2.resize(opacity, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def _find_patches(picture: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> list[_Patch]:
    """Windows that do not overlap, the best first.

    Where glass ends and its frame begins depends on the light, so no single threshold finds every
    window: the dark patches of many thresholds compete.
    """
    rows, columns = alpha.shape
    body = cv2.morphologyEx(cv2.inRange(alpha, 128, 255), cv2.MORPH_CLOSE, _disc(0.03 * columns))
    view = _View.of(picture, _fill_holes(np.asarray(body, np.uint8)))
    searched = view.body.copy()
    lowest_row = int(LOWEST_EDGE * rows)
    searched[lowest_row:] = 0
    bridge = _disc(0.016 * columns)
    found: list[_Patch] = []
    for step in LIGHTNESS_STEPS:
        dark = cv2.bitwise_and(cv2.inRange(view.lightness, 0, step), searched)
        # Frames and wipers are thin and dark like the glass: opening cuts the bridges that they make.
        dark = cv2.morphologyEx(dark, cv2.MORPH_OPEN, bridge)
        count, labels, stats, centres = cv2.connectedComponentsWithStats(dark, connectivity=4)
        for index in range(1, count):
            area_share = stats[index, cv2.CC_STAT_AREA] / view.area
            centre_x, centre_y = centres[index]
            if (
                not SMALLEST_AREA <= area_share <= LARGEST_AREA
                or centre_y > LOWEST_CENTRE * rows
                or stats[index, cv2.CC_STAT_TOP] > LOWEST_TOP * rows
                or abs(centre_x / columns - 0.5) > 0.5 - NEAREST_END
                # What goes on below the searched part is a door or a wing.
                or stats[index, cv2.CC_STAT_TOP] + stats[index, cv2.CC_STAT_HEIGHT] >= lowest_row
            ):
                continue
            core = np.where(labels == index, 255, 0).astype(np.uint8)
            mask = _without_gaps(core, _disc(0.03 * columns))
            score = _score(mask, view)
            if score > 0:
                found.append(
                    _Patch(_without_bodywork(mask, core, view), score, np.count_nonzero(mask) / view.area)
                )
    chosen: list[_Patch] = []
    for patch in sorted(found, key=lambda p: -p.score * p.area_share**0.25):
        if all(not np.any(patch.mask & other.mask) for other in chosen):
            chosen.append(patch)
    return chosen


def _without_gaps(core: NDArray[np.uint8], reach: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The patch with what reflections, wipers and seats left out of it."""
    return _fill_holes(np.asarray(cv2.morphologyEx(core, cv2.MORPH_CLOSE, reach), np.uint8))


def _without_bodywork(mask: NDArray[np.uint8], core: NDArray[np.uint8], view: _View) -> NDArray[np.uint8]:
    """`mask` less the larger gaps that look like the body around it: a mirror, a pillar."""
    gaps = cv2.bitwise_and(mask, cv2.bitwise_not(core))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        cv2.morphologyEx(gaps, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)), connectivity=4
    )
    glass_lightness = float(np.median(view.lightness[core != 0]))
    result = mask.copy()
    for index in range(1, count):
        if stats[index, cv2.CC_STAT_AREA] < BODYWORK_AREA * np.count_nonzero(mask):
            continue
        gap = labels == index
        is_light = float(np.median(view.lightness[gap])) - glass_lightness > BODYWORK_CONTRAST
        if is_light:
            result[cv2.dilate(gap.astype(np.uint8), np.ones((5, 5), np.uint8)) != 0] = 0
    return result


def _paints(lab: NDArray[np.float32], depth: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
    """The main colours of the car's flanks and doors: several for a two-tone car or strong shade."""
    rows = lab.shape[0]
    band = slice(int(PAINT_TOP * rows), int(PAINT_BOTTOM * rows))
    samples = lab[band][depth[band] > 4]
    if len(samples) < 50:
        return ()
    samples = np.ascontiguousarray(samples[:: max(1, len(samples) // 3000)])
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_MAX_ITER, 20, 0.5)
    # The clusters start from ranks of lightness, not from random ones: the same car, the same answer.
    clusters = min(5, len(samples))
    order = np.argsort(samples[:, 0], kind="stable")
    start = np.empty((len(samples), 1), np.int32)
    start[order, 0] = np.arange(len(samples)) * clusters // len(samples)
    _, labels, centres = cv2.kmeans(samples, clusters, start, stop, 1, cv2.KMEANS_USE_INITIAL_LABELS)
    shares = np.bincount(labels.ravel(), minlength=clusters) / len(samples)
    return tuple(
        np.asarray(centre, np.float32)
        for centre, share in zip(centres, shares, strict=True)
        if share >= (LEAST_BLACK_SHARE if centre[0] < 25 else LEAST_PAINT_SHARE)
    )


def _confidence(patches: list[_Patch]) -> float:
    """How sure the windows are: their mean score by area, 0 when there are too few or too many."""
    total = sum(patch.area_share for patch in patches)
    if not LEAST_TOTAL <= total <= MOST_TOTAL:
        return 0.0
    return sum(patch.score * patch.area_share for patch in patches) / total


def _score(mask: NDArray[np.uint8], view: _View) -> float:
    """How much the patch looks like a window, 0 when one test fails."""
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(contours, key=cv2.contourArea)
    solidity = cv2.contourArea(outline) / max(cv2.contourArea(cv2.convexHull(outline)), 1.0)
    x, y = outline[:, 0, 0], outline[:, 0, 1]
    open_share = float((view.depth[y, x] < 3.0).mean())
    if solidity < LEAST_SOLIDITY or open_share > MOST_OPEN_OUTLINE:
        return 0.0
    columns = np.unique(x)
    above = np.argmax(mask[:, columns] != 0, axis=0) - view.roof[columns]
    narrow, long = sorted(cv2.minAreaRect(outline)[1])
    if (
        np.median(above) > THICKEST_ROOF * mask.shape[0]
        or narrow < LEAST_NARROW_SIDE * mask.shape[0]
        or long > MOST_ELONGATION * narrow
    ):
        return 0.0
    edge_share = float((view.step[y, x] >= STRONG_STEP).mean())
    inside = cv2.erode(mask, np.ones((5, 5), np.uint8)) != 0
    ring = (cv2.dilate(mask, np.ones((11, 11), np.uint8)) != 0) & (
        cv2.dilate(mask, np.ones((5, 5), np.uint8)) == 0
    )
    ring &= view.body != 0
    if edge_share < LEAST_EDGE_SHARE or not inside.any() or not ring.any():
        return 0.0
    core = cv2.erode(mask, np.ones((9, 9), np.uint8)) != 0
    is_small = cv2.contourArea(outline) < SMALL_AREA * view.area
    if is_small and core.any() and (view.step[core] >= STRONG_STEP).mean() > MOST_TEXTURE:
        return 0.0
    middle = np.array([np.median(plane[inside]) for plane in (view.lightness, view.a, view.b)])
    chroma = float(np.hypot(middle[1], middle[2]))
    contrast = float(np.median(view.lightness[ring]) - middle[0])
    if any(np.linalg.norm(middle - paint) < LEAST_PAINT_DISTANCE for paint in view.paints):
        return 0.0
    if chroma > MOST_CHROMA or contrast < LEAST_CONTRAST:
        return 0.0
    return (
        _grade(solidity, LEAST_SOLIDITY, GOOD_SOLIDITY)
        * _grade(edge_share, LEAST_EDGE_SHARE, GOOD_EDGE_SHARE)
        * _grade(contrast, LEAST_CONTRAST, GOOD_CONTRAST)
    )


def _grade(value: float, least: float, good: float) -> float:
    """0.5 for a test that is just passed, 1 for one that is passed well."""
    return 0.5 + 0.5 * min(1.0, max(0.0, (value - least) / (good - least)))


def _fill_holes(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros_like(mask)
    cv2.drawContours(filled, contours, -1, 255, cv2.FILLED)
    return filled


def _disc(diameter_px: float) -> NDArray[np.uint8]:
    side = max(3, round(diameter_px) | 1)
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)
