"""Inputs drawn by code."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

RED, GREEN, BLUE, YELLOW = (220, 30, 30), (30, 180, 40), (30, 60, 220), (230, 220, 40)


def quadrants(width_px: int, height_px: int) -> NDArray[np.uint8]:
    """Red, green (top), blue, yellow (bottom): shows every turn and flip."""
    pixels = np.empty((height_px, width_px, 3), np.uint8)
    middle_x, middle_y = width_px // 2, height_px // 2
    pixels[:middle_y, :middle_x], pixels[:middle_y, middle_x:] = RED, GREEN
    pixels[middle_y:, :middle_x], pixels[middle_y:, middle_x:] = BLUE, YELLOW
    return pixels


def gradient(width_px: int, height_px: int) -> NDArray[np.uint8]:
    """Smooth colours, so that lossy formats and changes of size err little."""
    x = np.linspace(40, 210, width_px)[None, :]
    y = np.linspace(60, 200, height_px)[:, None]
    channels = np.broadcast_arrays(x, y, (x + y) / 2)
    return np.stack(channels, axis=-1).astype(np.uint8)


def encoded(pixels: NDArray[np.uint8], format_: str = "PNG", **options: Any) -> bytes:
    """`pixels` as a file, written by another library than the one under test."""
    buffer = io.BytesIO()
    if format_ == "JPEG":
        options = {"quality": 95, "subsampling": 0, **options}
    Image.fromarray(pixels).save(buffer, format_, **options)
    return buffer.getvalue()


def with_orientation(pixels: NDArray[np.uint8], orientation: int, format_: str = "JPEG") -> bytes:
    """A file whose stored pixels look like `pixels` once `orientation` is applied."""
    undo = {
        1: lambda p: p,
        2: np.fliplr,
        3: lambda p: np.rot90(p, 2),
        4: np.flipud,
        5: lambda p: np.transpose(p, (1, 0, 2)),
        6: lambda p: np.rot90(p, 1),
        7: lambda p: np.transpose(np.rot90(p, 2), (1, 0, 2)),
        8: lambda p: np.rot90(p, -1),
    }
    stored = np.ascontiguousarray(undo[orientation](pixels))
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(stored, format_, exif=exif.tobytes())


def decoded(content: bytes) -> NDArray[np.uint8]:
    """The pixels of a file, read by another library than the one under test."""
    with Image.open(io.BytesIO(content)) as image:
        return np.array(image)


def flat_png(width_px: int, height_px: int) -> bytes:
    """A one-bit black PNG; a few kilobytes, however large it is."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    row = bytes(1 + -(-width_px // 8))
    compressor = zlib.compressobj(9)
    body = b"".join(compressor.compress(row) for _ in range(height_px)) + compressor.flush()
    header = struct.pack(">IIBBBBB", width_px, height_px, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
