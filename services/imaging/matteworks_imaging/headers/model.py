"""What a header tells, and how its bytes are read without ever reading outside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.errors import InvalidPicture

__all__ = ["ByteOrder", "ImageFormat", "ImageHeader", "found_header", "no_dimensions", "read_number"]

ImageFormat = Literal["jpeg", "png", "webp", "heic", "avif", "tiff", "bmp", "gif"]
ByteOrder = Literal["little", "big"]


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """Facts from a file's header. Stored sizes are 1 or more; `orientation` is EXIF's 1 to 8.

    HEIC and AVIF turn pictures by properties of their own, which their decoders obey: for them the
    stored size is the upright one and `orientation` is 1.
    """

    format: ImageFormat
    stored_width_px: int
    stored_height_px: int
    orientation: int = 1

    @property
    def is_turned(self) -> bool:
        """Whether width and height change places when the orientation is applied."""
        return self.orientation >= 5

    @property
    def width_px(self) -> int:
        """Width after the orientation is applied."""
        return self.stored_height_px if self.is_turned else self.stored_width_px

    @property
    def height_px(self) -> int:
        """Height after the orientation is applied."""
        return self.stored_width_px if self.is_turned else self.stored_height_px

    @property
    def pixel_count(self) -> int:
        """Width times height."""
        return self.stored_width_px * self.stored_height_px

    @property
    def megapixels(self) -> int:
        """Millions of pixels, rounded up, at least 1: the weight in rate limits."""
        return max(1, -(-self.pixel_count // 1_000_000))


def found_header(kind: ImageFormat, width_px: int, height_px: int, orientation: int = 1) -> ImageHeader:
    """The header, when there is a pixel at all. Raises InvalidPicture (INVALID_DIMENSIONS)."""
    if width_px < 1 or height_px < 1:
        raise no_dimensions(kind)
    return ImageHeader(kind, width_px, height_px, orientation)


def no_dimensions(kind: ImageFormat) -> InvalidPicture:
    """What is raised when width and height are missing or make no sense."""
    return InvalidPicture(
        reasons.ERROR_REASON_INVALID_DIMENSIONS,
        "The width and height of the picture cannot be read.",
        metadata={"format": kind},
    )


def read_number(view: memoryview, position: int, byte_count: int, order: ByteOrder = "big") -> int:
    """The unsigned number of `byte_count` bytes at `position`; bytes behind the end are not counted."""
    return int.from_bytes(view[position : position + byte_count], order)
