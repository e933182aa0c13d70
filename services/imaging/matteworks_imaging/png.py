"""Pixels to a PNG, in strips on several threads.

A PNG is one deflate stream, which every library packs on one thread from first to last. The format
allows more: a stream may be cut at any byte boundary, and each piece may be a chunk of its own. So the
rows are cut into strips, each is filtered and packed alone, and their checksums are joined. No strip
needs another: the filter subtracts the left neighbour only. `docs/decisions/0005` says why this is ours.

Source: PNG specification, third edition (W3C, 2025), sections 5, 7 and 10; RFC 1950 for the stream.
"""

from __future__ import annotations

import struct
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Final

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from matteworks_imaging.metadata import Metadata, srgb_profile

__all__ = ["write_png"]

Bytes8 = NDArray[np.uint8]

LEVEL: Final = 2
# A strip holds about this much: small enough to stay in a core's cache between filter and packer, large
# enough that starting the packer's dictionary anew adds nothing that can be seen in the file's size.
STRIP_BYTES: Final = 512 * 1024
# 72 dots an inch, as remove.bg's files say.
PIXELS_PER_METRE: Final = 2835

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES: Final = {1: 0, 3: 2, 4: 6}
_SUBTRACT_LEFT: Final = 1
# Deflate with a window of 32 KiB, no dictionary, packed fast.
_ZLIB_HEADER: Final = b"\x78\x01"
_RAW_DEFLATE_WINDOW: Final = -15
_ADLER_MODULUS: Final = 65521


def write_png(pixels: Bytes8, threads: int, metadata: Metadata | None = None) -> bytes:
    """An 8-bit, non-interlaced PNG of H×W×4, H×W×3 or H×W `pixels`, packed by up to `threads` threads.

    The file does not depend on `threads`. Without `metadata` it says besides the pixels only that they are
    72 to an inch; with it also what `metadata` holds, and that its colours are sRGB.
    """
    height, width = pixels.shape[:2]
    bands = 1 if pixels.ndim == 2 else pixels.shape[2]
    rows = np.ascontiguousarray(pixels).reshape(height, width * bands)
    step = max(1, STRIP_BYTES // rows.shape[1])
    starts = [*range(0, height, step), height]
    strips = [(rows[top:bottom], bands, bottom == height) for top, bottom in pairwise(starts)]
    if threads > 1 and len(strips) > 1:
        with ThreadPoolExecutor(min(threads, len(strips)), thread_name_prefix="png") as pool:
            packed = list(pool.map(_pack, strips))
    else:
        packed = [_pack(strip) for strip in strips]
    checksum = 1
    for _, strip_checksum, byte_count in packed:
        checksum = _adler_of_both(checksum, strip_checksum, byte_count)
    return b"".join(
        (
            _SIGNATURE,
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[bands], 0, 0, 0)),
            *_facts(metadata, is_grey=bands == 1),
            _chunk(b"IDAT", _ZLIB_HEADER),
            *(chunk for chunk, _, _ in packed),
            _chunk(b"IDAT", struct.pack(">I", checksum)),
            _chunk(b"IEND", b""),
        )
    )


def _facts(metadata: Metadata | None, *, is_grey: bool) -> list[bytes]:
    if metadata is None:
        return [_chunk(b"pHYs", struct.pack(">IIB", PIXELS_PER_METRE, PIXELS_PER_METRE, 1))]
    across, down = (round(side * 1000) for side in metadata.pixels_per_mm)
    chunks = [_chunk(b"pHYs", struct.pack(">IIB", across, down, 1))]
    if not is_grey:
        # A name, an empty method, the profile. A grey picture may not name one of colours.
        chunks.insert(0, _chunk(b"iCCP", b"sRGB\0\0" + isal_zlib.compress(srgb_profile())))
    if metadata.exif is not None:
        chunks.append(_chunk(b"eXIf", metadata.exif))
    return chunks


def _pack(strip: tuple[Bytes8, int, bool]) -> tuple[bytes, int, int]:
    """The chunk of a strip, and the checksum and count of the bytes before packing."""
    rows, bands, is_last = strip
    filtered = np.empty((rows.shape[0], 1 + rows.shape[1]), np.uint8)
    filtered[:, 0] = _SUBTRACT_LEFT
    filtered[:, 1 : 1 + bands] = rows[:, :bands]
    np.subtract(rows[:, bands:], rows[:, :-bands], out=filtered[:, 1 + bands :])
    packer = isal_zlib.compressobj(LEVEL, isal_zlib.DEFLATED, _RAW_DEFLATE_WINDOW)
    # A full flush ends at a byte boundary, so the next strip's blocks can follow.
    deflated = packer.compress(filtered) + packer.flush(
        isal_zlib.Z_FINISH if is_last else isal_zlib.Z_FULL_FLUSH
    )
    return _chunk(b"IDAT", deflated), isal_zlib.adler32(filtered), filtered.nbytes


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = isal_zlib.crc32(content, isal_zlib.crc32(kind))
    return b"".join((struct.pack(">I", len(content)), kind, content, struct.pack(">I", checksum)))


def _adler_of_both(first: int, second: int, second_byte_count: int) -> int:
    """The Adler-32 checksum of two runs of bytes, from theirs (RFC 1950, section 8)."""
    low = (first & 0xFFFF) + (second & 0xFFFF) - 1
    high = (first >> 16) + (second >> 16) + second_byte_count * ((first & 0xFFFF) - 1)
    return (high % _ADLER_MODULUS) << 16 | low % _ADLER_MODULUS
