"""Which part of a picture is wanted, and how large a picture becomes. Pure functions on numbers."""

from __future__ import annotations

from dataclasses import dataclass

from matteworks_common.errors import InvalidField
from matteworks_compositor.geometry import Margins, pad_to_ratio
from matteworks_imaging.box import Box, Size, round_half_up
from matteworks_imaging.header import MAX_PIXELS

__all__ = ["AspectRatio", "expanded_size", "largest_of_ratio", "missing_for_ratio", "with_room"]


@dataclass(frozen=True, slots=True)
class AspectRatio:
    """Width to height."""

    width: int
    height: int

    @property
    def sides(self) -> tuple[int, int]:
        """Both numbers."""
        return self.width, self.height


def largest_of_ratio(picture: Size, ratio: tuple[int, int], subject: Box) -> Box:
    """The largest part of `picture` with `ratio`, its middle as near to the subject's as the sides allow."""
    width_px = min(picture.width_px, max(1, round_half_up(picture.height_px * ratio[0] / ratio[1])))
    height_px = min(picture.height_px, max(1, round_half_up(picture.width_px * ratio[1] / ratio[0])))
    left = subject.left_px + subject.width_px / 2 - width_px / 2
    top = subject.top_px + subject.height_px / 2 - height_px / 2
    left_px = min(max(round_half_up(left), 0), picture.width_px - width_px)
    top_px = min(max(round_half_up(top), 0), picture.height_px - height_px)
    return Box(left_px, top_px, width_px, height_px)


def with_room(picture: Size, subject: Box, room: Margins) -> Box:
    """The subject's box and `room` around it, as far as the picture goes."""
    left_px, top_px = max(0, subject.left_px - room.left_px), max(0, subject.top_px - room.top_px)
    right_px = min(picture.width_px, subject.right_px + room.right_px)
    bottom_px = min(picture.height_px, subject.bottom_px + room.bottom_px)
    return Box(left_px, top_px, right_px - left_px, bottom_px - top_px)


def missing_for_ratio(picture: Size, ratio: tuple[int, int]) -> Margins:
    """The borders with which `picture` has `ratio`; none when it has it already."""
    return pad_to_ratio(picture, Margins(), ratio)


def expanded_size(picture: Size, borders: Margins, *, is_ratio: bool) -> Size:
    """The size of `picture` with `borders`.

    Raises InvalidField for borders of nothing, wider than the picture, or of too many pixels in all.
    """
    field = "aspect_ratio" if is_ratio else "borders"
    across, down = borders.left_px + borders.right_px, borders.top_px + borders.bottom_px
    if across + down == 0:
        raise InvalidField(field, "Ask for more than the picture has already.")
    if max(borders.left_px, borders.right_px) > picture.width_px or (
        max(borders.top_px, borders.bottom_px) > picture.height_px
    ):
        raise InvalidField(field, "Widen each side by at most as much as the picture measures that way.")
    size = Size(picture.width_px + across, picture.height_px + down)
    if size.pixel_count > MAX_PIXELS:
        raise InvalidField(field, f"Stay within {MAX_PIXELS // 1_000_000} megapixels in all.")
    return size
