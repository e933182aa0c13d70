"""Which pixels a region of interest covers: one answer for who refuses it early and who uses it late."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.errors import InvalidField
from matteworks_imaging.box import Box, Size, round_half_up

__all__ = ["Length", "Region", "Unit", "invalid_region", "resolve_region"]


class Unit(StrEnum):
    """What a length is measured in."""

    PX = "px"
    PERCENT = "percent"


@dataclass(frozen=True, slots=True)
class Length:
    """A length: pixels of the source picture, or percent of what its owner says. Finite, 0 or more."""

    value: float
    unit: Unit

    def in_pixels(self, whole_px: float, px_scale: float) -> float:
        """In working pixels; `whole_px` is what percents are of, `px_scale` working pixels a source pixel."""
        return self.value * px_scale if self.unit is Unit.PX else whole_px * self.value / 100


@dataclass(frozen=True, slots=True)
class Region:
    """Corners of a rectangle in the picture; percents are of its width and height."""

    left: Length
    top: Length
    right: Length
    bottom: Length


def resolve_region(region: Region, picture: Size) -> Box:
    """The pixels of `picture` that `region` covers; percents are rounded to the nearest pixel.

    Raises InvalidField: ROI_EXCEEDS_BOUNDS when it reaches outside, INVALID_ROI when corners are in
    the wrong order, ROI_REGION_EMPTY when nothing is left.
    """
    left_px, right_px = (_edge(length, picture.width_px) for length in (region.left, region.right))
    top_px, bottom_px = (_edge(length, picture.height_px) for length in (region.top, region.bottom))
    if max(left_px, right_px) > picture.width_px or max(top_px, bottom_px) > picture.height_px:
        raise InvalidField(
            "roi",
            f"Keep the region inside the picture of {picture.width_px} × {picture.height_px} pixels.",
            reason=reasons.ERROR_REASON_ROI_EXCEEDS_BOUNDS,
            metadata={"width_px": str(picture.width_px), "height_px": str(picture.height_px)},
        )
    if right_px < left_px or bottom_px < top_px:
        raise invalid_region("Give the left and top edges before the right and bottom ones.")
    if right_px == left_px or bottom_px == top_px:
        raise InvalidField(
            "roi",
            "Give a region with at least one pixel in it.",
            reason=reasons.ERROR_REASON_ROI_REGION_EMPTY,
        )
    return Box(left_px, top_px, right_px - left_px, bottom_px - top_px)


def _edge(length: Length, side_px: int) -> int:
    return round_half_up(length.in_pixels(side_px, 1.0))


def invalid_region(remedy: str) -> InvalidField:
    """INVALID_ROI with what to do."""
    return InvalidField("roi", remedy, reason=reasons.ERROR_REASON_INVALID_ROI)
