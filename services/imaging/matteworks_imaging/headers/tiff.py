"""The header of a TIFF file: the tags of its first directory.

Source: TIFF 6.0 (Adobe, 1992), sections 2 and 15.
"""

from __future__ import annotations

from typing import Final

from matteworks_imaging.headers.exif import byte_order, tiff_orientation
from matteworks_imaging.headers.model import ImageHeader, found_header, no_dimensions

__all__ = ["read_tiff"]

_WIDTH, _HEIGHT, _SAMPLES, _TILE_WIDTH, _TILE_HEIGHT = 256, 257, 277, 322, 323
_MAX_ENTRIES: Final = 4096
# Colour, black and an opacity; more would be a measurement, not a picture.
_MAX_SAMPLES: Final = 5
# A decoder keeps at least one tile, so a tile may not be much larger than the picture is said to be.
_LARGEST_TILE_SIDE_PX: Final = 8192


def read_tiff(view: memoryview) -> ImageHeader:
    """Raises InvalidPicture (INVALID_DIMENSIONS), also for tiles and samples that no picture needs."""
    order = byte_order(view)
    if order is None:
        raise no_dimensions("tiff")
    start = int.from_bytes(view[4:8], order)
    count = min(int.from_bytes(view[start : start + 2], order), _MAX_ENTRIES)
    tags: dict[int, int] = {}
    for position in range(start + 2, min(start + 2 + 12 * count, len(view) - 11), 12):
        tag = int.from_bytes(view[position : position + 2], order)
        kind = int.from_bytes(view[position + 2 : position + 4], order)
        width = {1: 1, 3: 2, 4: 4}.get(kind, 0)
        tags.setdefault(tag, int.from_bytes(view[position + 8 : position + 8 + width], order))
    is_sound = tags.get(_SAMPLES, 1) <= _MAX_SAMPLES and all(
        tags.get(tag, 0) <= _LARGEST_TILE_SIDE_PX for tag in (_TILE_WIDTH, _TILE_HEIGHT)
    )
    if not is_sound:
        raise no_dimensions("tiff")
    return found_header("tiff", tags.get(_WIDTH, 0), tags.get(_HEIGHT, 0), tiff_orientation(view))
