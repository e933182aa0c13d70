"""Sizes and boxes in whole pixels, and how they are rounded: the same way everywhere.

A share of a side is rounded to the nearest pixel, halves up. A box that is carried from one scale to
another grows outwards to whole pixels. A size that must fit a limit is rounded down, never below one pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Box", "Size", "fit_within", "round_half_up", "scale_box_outwards"]


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


def round_half_up(value: float) -> int:
    """The nearest integer, halves away from minus infinity. Raises ValueError for NaN and infinities."""
    if not math.isfinite(value):
        raise ValueError("a length must be a finite number")
    return math.floor(value + 0.5)


def fit_within(
    size: Size, max_pixel_count: int, max_side_px: int, max_shorter_side_px: int | None = None
) -> Size:
    """The largest size of the same aspect ratio that keeps the limits; `size` itself when it does.

    `max_side_px` bounds the longer side, `max_shorter_side_px`, where given, the other one. Both sides are
    multiplied by the same factor and rounded down, but not below one pixel, so the aspect ratio is kept to
    less than a pixel. A strip that would get thinner than a pixel is one pixel thin and as long as the
    limits allow.
    """
    shorter_px = max_side_px if max_shorter_side_px is None else max_shorter_side_px
    if max_pixel_count < 1 or max_side_px < 1 or shorter_px < 1:
        raise ValueError("the limits must leave at least one pixel")
    factor = min(
        math.sqrt(max_pixel_count / size.pixel_count),
        max_side_px / size.longer_side_px,
        shorter_px / min(size.width_px, size.height_px),
    )
    if factor >= 1:
        return size
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


def _stay_inside(first_px: int, end_px: int, side_px: int) -> tuple[int, int]:
    first_px = min(max(first_px, 0), side_px - 1)
    return first_px, min(max(end_px, first_px + 1), side_px)
