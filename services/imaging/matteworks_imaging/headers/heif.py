"""The header of HEIC and AVIF files: the size of the first picture once its properties are applied.

Both are boxes in boxes. `meta` names the primary item, and lists properties: `ispe` is an item's size,
`clap` cuts it, `irot` turns it. They are applied in the order in which the item names them.
Source: ISO/IEC 14496-12 and 23008-12.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Final

from matteworks_imaging.headers.model import (
    ImageFormat,
    ImageHeader,
    found_header,
    no_dimensions,
    read_number,
)

__all__ = ["heif_format", "read_heif"]

_AVIF_BRANDS: Final = frozenset({b"avif", b"avis"})
_HEIC_BRANDS: Final = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"})
# A phone's picture has some fifty tiles, each an item; a file with more boxes than this is no picture.
_MAX_BOXES: Final = 4096


def heif_format(view: memoryview) -> ImageFormat | None:
    """`heic` or `avif` by the brands at the head of the file; None when it is neither."""
    if bytes(view[4:8]) != b"ftyp":
        return None
    end = min(read_number(view, 0, 4), len(view), 512)
    brands = [bytes(view[8:12]), *(bytes(view[at : at + 4]) for at in range(16, end - 3, 4))]
    for brand in brands:
        if brand in _AVIF_BRANDS:
            return "avif"
        if brand in _HEIC_BRANDS:
            return "heic"
    return None


def read_heif(kind: ImageFormat, view: memoryview) -> ImageHeader:
    """The header of a file of `kind`. Raises InvalidPicture (INVALID_DIMENSIONS)."""
    meta = _child(view, b"meta")
    if meta is None:
        raise no_dimensions(kind)
    inside = meta[4:]
    primary = _primary_item(inside)
    properties = _child(inside, b"iprp")
    container = None if properties is None else _child(properties, b"ipco")
    if primary is None or properties is None or container is None:
        raise no_dimensions(kind)
    listed = list(_boxes(container))
    width_px = height_px = 0
    for index in _associated(properties, primary):
        if not 1 <= index <= len(listed):
            continue
        name, body = listed[index - 1]
        if name == b"ispe":
            width_px, height_px = read_number(body, 4, 4), read_number(body, 8, 4)
        elif name == b"clap":
            width_px, height_px = _cut(body, 0, width_px), _cut(body, 8, height_px)
        elif name == b"irot" and len(body) and body[0] & 1:
            width_px, height_px = height_px, width_px
    return found_header(kind, width_px, height_px)


def _boxes(view: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Name and body of each box; one that is cut off comes short."""
    position = 0
    for _ in range(_MAX_BOXES):
        if position + 8 > len(view):
            return
        length, head = read_number(view, position, 4), 8
        if length == 1:
            length, head = read_number(view, position + 8, 8), 16
        elif length == 0:
            length = len(view) - position
        if length < head:
            return
        yield bytes(view[position + 4 : position + 8]), view[position + head : position + length]
        position += length


def _child(view: memoryview, name: bytes) -> memoryview | None:
    return next((body for found, body in _boxes(view) if found == name), None)


def _primary_item(meta: memoryview) -> int | None:
    body = _child(meta, b"pitm")
    if body is None or len(body) < 6:
        return None
    return read_number(body, 4, 4 if body[0] else 2)


def _associated(properties: memoryview, item: int) -> list[int]:
    """Numbers, from 1, of the properties of `item`, in its order."""
    for name, body in _boxes(properties):
        if name != b"ipma" or len(body) < 8:
            continue
        id_bytes, is_wide = (4 if body[0] else 2), bool(body[3] & 1)
        position = 8
        for _ in range(min(read_number(body, 4, 4), _MAX_BOXES)):
            found, count = read_number(body, position, id_bytes), read_number(body, position + id_bytes, 1)
            position += id_bytes + 1
            step = 2 if is_wide else 1
            if found == item:
                mask = 0x7FFF if is_wide else 0x7F
                return [read_number(body, position + step * at, step) & mask for at in range(count)]
            position += step * count
            if position >= len(body):
                break
    return []


def _cut(body: memoryview, position: int, side_px: int) -> int:
    numerator, denominator = read_number(body, position, 4), read_number(body, position + 4, 4)
    if not denominator:
        return 0
    return min(side_px, int(Fraction(numerator, denominator)))
