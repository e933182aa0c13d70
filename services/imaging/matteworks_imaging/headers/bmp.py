"""The header of a BMP file, from the first kind of Windows and OS/2 to the fifth."""

from __future__ import annotations

from typing import Final

from matteworks_imaging.headers.model import ImageHeader, found_header, no_dimensions, read_number

__all__ = ["read_bmp"]

_CORE_HEADER_BYTES: Final = 12
_SMALLEST_INFO_HEADER_BYTES: Final = 16


def read_bmp(view: memoryview) -> ImageHeader:
    """Raises InvalidPicture (INVALID_DIMENSIONS)."""
    kind = read_number(view, 14, 4, "little")
    if kind == _CORE_HEADER_BYTES and len(view) >= 26:
        return found_header("bmp", read_number(view, 18, 2, "little"), read_number(view, 20, 2, "little"))
    if kind < _SMALLEST_INFO_HEADER_BYTES or len(view) < 26:
        raise no_dimensions("bmp")
    width_px, height_px = (int.from_bytes(view[at : at + 4], "little", signed=True) for at in (18, 22))
    # A negative height means that the rows begin at the top.
    return found_header("bmp", width_px, abs(height_px))
