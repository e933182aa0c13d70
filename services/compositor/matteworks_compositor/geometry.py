"""Where things go: margins, positions and the size of the result. Pure functions on numbers.

Lengths are rounded as in `matteworks_imaging.box`. Every number is checked for being finite first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from matteworks_imaging.box import Box, Size, fit_within, round_half_up

__all__ = [
    "NO_MARGINS",
    "CanvasPlan",
    "Margins",
    "Placement",
    "pad_to_ratio",
    "plan_canvas",
]


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
    this room, and with `aspect_ratio` more room on two sides until it has that ratio. `scale_percent`:
    the subject fits into this share of the canvas, both ways; None: its size stays. `share_percent`:
    share of the free room to the left and above; None: it stays where it was.
    """

    margins: Margins | None = None
    scale_percent: float | None = None
    share_percent: tuple[float, float] | None = None
    aspect_ratio: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class CanvasPlan:
    """Geometry of the result: the canvas, and the subject's box on it. The box is inside the canvas.

    `is_limited` tells that the canvas would have been larger without the limits.
    """

    canvas: Size
    subject: Box
    is_limited: bool = False


def plan_canvas(
    working: Size,
    subject: Box,
    placement: Placement,
    *,
    room: Margins = NO_MARGINS,
    max_pixel_count: int,
    max_side_px: int,
    max_shorter_side_px: int | None = None,
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
        if placement.aspect_ratio is not None:
            around = pad_to_ratio(subject.size, around, placement.aspect_ratio)
        canvas = Size(
            subject.width_px + around.left_px + around.right_px,
            subject.height_px + around.top_px + around.bottom_px,
        )
        origin = (around.left_px, around.top_px)
    limited = fit_within(canvas, max_pixel_count, max_side_px, max_shorter_side_px)
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


def pad_to_ratio(subject: Size, around: Margins, ratio: tuple[int, int]) -> Margins:
    """`around` with more room left and right, or above and below, so that the whole has `ratio`.

    To the nearest pixel; of an odd number of pixels the right or lower side gets one more.
    """
    width_px = subject.width_px + around.left_px + around.right_px
    height_px = subject.height_px + around.top_px + around.bottom_px
    missing_x = max(0, round_half_up(height_px * ratio[0] / ratio[1]) - width_px)
    missing_y = max(0, round_half_up(width_px * ratio[1] / ratio[0]) - height_px)
    return Margins(
        top_px=around.top_px + missing_y // 2,
        right_px=around.right_px + missing_x - missing_x // 2,
        bottom_px=around.bottom_px + missing_y - missing_y // 2,
        left_px=around.left_px + missing_x // 2,
    )


def _side_within(side: float, limit_px: int) -> int:
    return min(max(1, round_half_up(side)), limit_px)


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("a percentage must be a finite number")
    return value
