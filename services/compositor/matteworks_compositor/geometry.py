"""Where things go: boxes, margins, positions and the size of the result. Pure functions on numbers.

Rounding is the same everywhere. A percentage of a side is rounded to the nearest pixel, halves up.
A box that is carried from one scale to another grows outwards to whole pixels. A size that must fit
a limit is rounded down, never below one pixel. Every number is checked for being finite first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = [
    "NO_MARGINS",
    "Box",
    "CanvasPlan",
    "Margins",
    "Placement",
    "Size",
    "fit_within",
    "plan_canvas",
    "round_half_up",
    "scale_box_outwards",
]


@dataclass(frozen=True, slots=True)
class Size:
    """Extent in pixels, each side 1 or more."""

    width_px: int
    height_px: int

    def __post_init__(self) -> None:
        if self.width_px < 1 or self.height_px < 1:
            raise ValueError(
                f"a size needs at least one pixel a side, not {self.width_px} × {self.height_px}"
            )

    @property
    def pixel_count(self) -> int:
        """Width times height."""
        return self.width_px * self.height_px

    @property
    def longer_side_px(self) -> int:
        """The larger of width and height."""
        return max(self.width_px, self.height_px)


@dataclass(frozen=True, slots=True)
class Box:
    """An axis-parallel rectangle; left and top inclusive, right and bottom exclusive; not empty."""

    left_px: int
    top_px: int
    width_px: int
    height_px: int

    def __post_init__(self) -> None:
        if self.width_px < 1 or self.height_px < 1:
            raise ValueError(f"a box needs at least one pixel a side, not {self.width_px} × {self.height_px}")

    @property
    def right_px(self) -> int:
        """First column outside."""
        return self.left_px + self.width_px

    @property
    def bottom_px(self) -> int:
        """First row outside."""
        return self.top_px + self.height_px

    @property
    def size(self) -> Size:
        """Its extent."""
        return Size(self.width_px, self.height_px)

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns, to index pixels with."""
        return slice(self.top_px, self.bottom_px), slice(self.left_px, self.right_px)

    def is_inside(self, size: Size) -> bool:
        """Whether no part lies outside a picture of `size`."""
        return (
            self.left_px >= 0
            and self.top_px >= 0
            and self.right_px <= size.width_px
            and self.bottom_px <= size.height_px
        )


@dataclass(frozen=True, slots=True)
class Margins:
    """Room around a box in pixels, each 0 or more."""

    top_px: int = 0
    right_px: int = 0
    bottom_px: int = 0
    left_px: int = 0

    def widest(self, other: Margins) -> Margins:
        """The larger of both on every side."""
        return Margins(
            max(self.top_px, other.top_px),
            max(self.right_px, other.right_px),
            max(self.bottom_px, other.bottom_px),
            max(self.left_px, other.left_px),
        )


NO_MARGINS = Margins()


@dataclass(frozen=True, slots=True)
class Placement:
    """How the subject goes on the canvas.

    `margins`: None leaves the canvas as large as the picture; else the canvas is the subject's box and
    this room. `scale_percent`: the subject fits into this share of the canvas, both ways; None: its size
    stays. `share_percent`: share of the free room to the left and above; None: it stays where it was.
    """

    margins: Margins | None = None
    scale_percent: float | None = None
    share_percent: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class CanvasPlan:
    """Geometry of the result: the canvas, and the subject's box on it. The box is inside the canvas.

    `is_limited` tells that the canvas would have been larger without the limits.
    """

    canvas: Size
    subject: Box
    is_limited: bool = False


def round_half_up(value: float) -> int:
    """The nearest integer, halves away from minus infinity. Raises ValueError for NaN and infinities."""
    if not math.isfinite(value):
        raise ValueError("a length must be a finite number")
    return math.floor(value + 0.5)


def fit_within(size: Size, max_pixel_count: int, max_side_px: int) -> Size:
    """The largest size of the same aspect ratio that keeps both limits; `size` itself when it does.

    Both sides are multiplied by the same factor and rounded down, but not below one pixel, so the
    aspect ratio is kept to less than a pixel. A strip that would get thinner than a pixel is one pixel
    thin and as long as the limits allow.
    """
    if max_pixel_count < 1 or max_side_px < 1:
        raise ValueError("the limits must leave at least one pixel")
    if size.pixel_count <= max_pixel_count and size.longer_side_px <= max_side_px:
        return size
    factor = min(math.sqrt(max_pixel_count / size.pixel_count), max_side_px / size.longer_side_px)
    width_px = max(1, math.floor(size.width_px * factor + 1e-9))
    height_px = max(1, math.floor(size.height_px * factor + 1e-9))
    if width_px * height_px > max_pixel_count:  # One side was raised to one pixel.
        width_px, height_px = min(width_px, max_pixel_count), min(height_px, max_pixel_count)
    return Size(width_px, height_px)


def scale_box_outwards(box: Box, source: Size, target: Size) -> Box:
    """`box` of a picture of size `source`, in the pixels of the same picture at size `target`.

    It grows to whole pixels and stays inside.
    """
    left_px = box.left_px * target.width_px // source.width_px
    top_px = box.top_px * target.height_px // source.height_px
    right_px = -(-box.right_px * target.width_px // source.width_px)
    bottom_px = -(-box.bottom_px * target.height_px // source.height_px)
    left_px, right_px = _stay_inside(left_px, right_px, target.width_px)
    top_px, bottom_px = _stay_inside(top_px, bottom_px, target.height_px)
    return Box(left_px, top_px, right_px - left_px, bottom_px - top_px)


def plan_canvas(
    working: Size,
    subject: Box,
    placement: Placement,
    *,
    room: Margins = NO_MARGINS,
    max_pixel_count: int,
    max_side_px: int,
) -> CanvasPlan:
    """The canvas and the subject's place on it, for a subject at `subject` in a picture of `working` size.

    `room` is what a shadow needs around the subject; it widens a cropped canvas where the margins are
    smaller, and nothing else. The subject is drawn larger or smaller only for `scale_percent` or, with
    everything else, to keep the limits. Raises ValueError for percentages that are not finite.
    """
    if placement.margins is None:
        canvas, origin = working, (subject.left_px, subject.top_px)
    else:
        around = placement.margins.widest(room)
        canvas = Size(
            subject.width_px + around.left_px + around.right_px,
            subject.height_px + around.top_px + around.bottom_px,
        )
        origin = (around.left_px, around.top_px)
    limited = fit_within(canvas, max_pixel_count, max_side_px)
    shrink_x, shrink_y = limited.width_px / canvas.width_px, limited.height_px / canvas.height_px
    if placement.scale_percent is None:
        width_px = _side_within(subject.width_px * shrink_x, limited.width_px)
        height_px = _side_within(subject.height_px * shrink_y, limited.height_px)
    else:
        share = _finite(placement.scale_percent) / 100
        factor = share * min(limited.width_px / subject.width_px, limited.height_px / subject.height_px)
        width_px = _side_within(subject.width_px * factor, limited.width_px)
        height_px = _side_within(subject.height_px * factor, limited.height_px)
    free_x, free_y = limited.width_px - width_px, limited.height_px - height_px
    if placement.share_percent is not None:
        left = free_x * _finite(placement.share_percent[0]) / 100
        top = free_y * _finite(placement.share_percent[1]) / 100
    else:
        # Its centre stays; without scaling that is its own place, with it the nearest place that fits.
        left = (origin[0] + subject.width_px / 2) * shrink_x - width_px / 2
        top = (origin[1] + subject.height_px / 2) * shrink_y - height_px / 2
    left_px = min(max(round_half_up(left), 0), free_x)
    top_px = min(max(round_half_up(top), 0), free_y)
    return CanvasPlan(limited, Box(left_px, top_px, width_px, height_px), is_limited=limited != canvas)


def _side_within(side: float, limit_px: int) -> int:
    return min(max(1, round_half_up(side)), limit_px)


def _stay_inside(first_px: int, end_px: int, side_px: int) -> tuple[int, int]:
    first_px = min(max(first_px, 0), side_px - 1)
    return first_px, min(max(end_px, first_px + 1), side_px)


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("a percentage must be a finite number")
    return value
