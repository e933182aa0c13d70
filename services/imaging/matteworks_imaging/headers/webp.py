"""The header of a WebP file, lossy, lossless or extended."""

from __future__ import annotations

from typing import Final

from matteworks_imaging.headers.exif import tiff_orientation
from matteworks_imaging.headers.model import ImageHeader, found_header, no_dimensions

__all__ = ["read_webp"]

_MAX_CHUNKS: Final = 16384


def read_webp(view: memoryview) -> ImageHeader:
    """Raises InvalidPicture (INVALID_DIMENSIONS)."""
    size: tuple[int, int] | None = None
    orientation = 1
    position = 12
    for _ in range(_MAX_CHUNKS):
        if position + 8 > len(view):
            break
        kind = bytes(view[position : position + 4])
        length = int.from_bytes(view[position + 4 : position + 8], "little")
        body = view[position + 8 : position + 8 + length]
        if size is None:
            size = _webp_size(kind, body)
            if size is None or kind != b"VP8X":
                break  # Without VP8X in front there is exactly one chunk, and no place for EXIF.
        elif kind == b"EXIF":
            skipped = 6 if bytes(body[:6]) == b"Exif\0\0" else 0
            orientation = tiff_orientation(body[skipped:])
            break
        position += 8 + length + (length & 1)
    if size is None:
        raise no_dimensions("webp")
    return found_header("webp", *size, orientation)


def _webp_size(kind: bytes, body: memoryview) -> tuple[int, int] | None:
    if kind == b"VP8X" and len(body) >= 10:
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if kind == b"VP8 " and len(body) >= 10 and bytes(body[3:6]) == b"\x9d\x01\x2a":
        # The upper two bits of each are a scaling hint for players.
        return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
    if kind == b"VP8L" and len(body) >= 5 and body[0] == 0x2F:
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return None
