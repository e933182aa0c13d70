"""The header of a JPEG file: its segments up to the first scan."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from matteworks_imaging.headers.exif import tiff_orientation
from matteworks_imaging.headers.model import ImageHeader, found_header, no_dimensions, read_number

__all__ = ["read_jpeg"]

# Real files have at most some hundred segments.
_MAX_SEGMENTS: Final = 4096
# How much rubbish between two segments is skipped, as decoders do.
_MAX_RUBBISH_BYTES: Final = 65536


def read_jpeg(view: memoryview) -> ImageHeader:
    """Raises InvalidPicture (INVALID_DIMENSIONS)."""
    size: tuple[int, int] | None = None
    orientation: int | None = None
    for marker, body in _jpeg_segments(view):
        is_frame = 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)
        if is_frame and size is None and len(body) >= 6:
            size = (read_number(body, 3, 2), read_number(body, 1, 2))
        elif marker == 0xE1 and orientation is None and bytes(body[:6]) == b"Exif\0\0":
            orientation = tiff_orientation(body[6:])
    if size is None:
        raise no_dimensions("jpeg")
    return found_header("jpeg", *size, orientation or 1)


def _jpeg_segments(view: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Marker and body of each segment up to the first scan; a body that is cut off comes short."""
    position = 2
    rubbish = 0
    for _ in range(_MAX_SEGMENTS):
        while position + 1 < len(view) and not (view[position] == 0xFF and 0x00 < view[position + 1] < 0xFF):
            position += 1
            rubbish += 1
            if rubbish > _MAX_RUBBISH_BYTES:
                return
        if position + 1 >= len(view):
            return
        marker = view[position + 1]
        position += 2
        if marker in (0xD9, 0xDA):
            return
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:
            continue
        if position + 2 > len(view):
            return
        length = max(read_number(view, position, 2), 2)
        yield marker, view[position + 2 : position + length]
        position += length
