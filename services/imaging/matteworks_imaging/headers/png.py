"""The header of a PNG file, and its orientation, which may stand behind the pixels."""

from __future__ import annotations

from typing import Final

from matteworks_imaging.headers.exif import tiff_orientation
from matteworks_imaging.headers.model import ImageHeader, found_header, no_dimensions, read_number

__all__ = ["read_png"]

# Real files have a few thousand chunks.
_MAX_CHUNKS: Final = 16384


def read_png(view: memoryview) -> ImageHeader:
    """Raises InvalidPicture (INVALID_DIMENSIONS)."""
    if len(view) < 24 or bytes(view[12:16]) != b"IHDR":
        raise no_dimensions("png")
    width_px, height_px = read_number(view, 16, 4), read_number(view, 20, 4)
    if max(width_px, height_px) >= 2**31:
        raise no_dimensions("png")
    orientation = 1
    position = 8
    for _ in range(_MAX_CHUNKS):
        if position + 8 > len(view):
            break
        length, kind = read_number(view, position, 4), bytes(view[position + 4 : position + 8])
        if kind == b"eXIf":
            orientation = tiff_orientation(view[position + 8 : position + 8 + length])
        if kind in (b"eXIf", b"IEND"):
            break
        position += 12 + length
    return found_header("png", width_px, height_px, orientation)
