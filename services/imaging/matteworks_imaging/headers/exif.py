"""The orientation tag of EXIF data, which are a small TIFF file."""

from __future__ import annotations

from typing import Final

from matteworks_imaging.headers.model import ByteOrder

__all__ = ["ORIENTATION_TAG", "byte_order", "tiff_orientation"]

ORIENTATION_TAG: Final = 0x0112


def byte_order(tiff: memoryview) -> ByteOrder | None:
    """How the numbers of a TIFF file are stored; None when this is not one."""
    return {b"II*\0": "little", b"MM\0*": "big"}.get(bytes(tiff[:4]))  # type: ignore[return-value]


def tiff_orientation(tiff: memoryview) -> int:
    """The orientation tag of the first directory; 1 when it is missing or makes no sense."""
    order = byte_order(tiff)
    if order is None:
        return 1
    start = int.from_bytes(tiff[4:8], order)
    count = int.from_bytes(tiff[start : start + 2], order)
    for position in range(start + 2, min(start + 2 + 12 * count, len(tiff) - 11), 12):
        if int.from_bytes(tiff[position : position + 2], order) != ORIENTATION_TAG:
            continue
        kind = int.from_bytes(tiff[position + 2 : position + 4], order)
        width = {1: 1, 3: 2, 4: 4}.get(kind, 0)
        value = int.from_bytes(tiff[position + 8 : position + 8 + width], order)
        return value if 1 <= value <= 8 else 1
    return 1
