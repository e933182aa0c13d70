"""Type, size and orientation of a picture, read from its bytes without decoding a pixel.

Only the leading magic bytes decide the type; names and declared content types are never asked.
Whatever the bytes are, the answer is an `ImageHeader` or an `InvalidPicture`, after a bounded number
of steps. The first few kilobytes are enough for the size; the orientation of PNG and WebP may stand
behind the pixels, so for a cut-off file it can be missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.errors import InvalidPicture

ImageFormat = Literal["jpeg", "png", "webp"]

# A megabyte of the limit is 2^20 bytes, the larger reading: nobody is refused who kept to either.
MAX_FILE_BYTES: Final = 22 * 1024 * 1024
MAX_PIXELS: Final = 50_000_000

# Real files have at most some hundred segments or, for PNG, a few thousand chunks.
_MAX_SEGMENTS: Final = 4096
_MAX_CHUNKS: Final = 16384
# How much rubbish between two JPEG segments is skipped, as decoders do.
_MAX_RUBBISH_BYTES: Final = 65536
_ORIENTATION_TAG: Final = 0x0112

_Bytes: TypeAlias = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """Facts from a file's header. Stored sizes are 1 or more; `orientation` is EXIF's 1 to 8."""

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


def read_header(data: _Bytes) -> ImageHeader:
    """The header of the JPEG, PNG or WebP file that `data` is, or begins with.

    Raises InvalidPicture: INVALID_FILE_TYPE (metadata `received`: what it looks like instead),
    INVALID_DIMENSIONS (no usable width and height).
    """
    view = memoryview(data).cast("B") if not isinstance(data, bytes) else memoryview(data)
    head = bytes(view[:64])
    if head.startswith(b"\xff\xd8\xff"):
        return _read_jpeg(view)
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return _read_png(view)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return _read_webp(view)
    received = sniff_other_type(head)
    raise InvalidPicture(
        reasons.ERROR_REASON_INVALID_FILE_TYPE,
        f"Send a JPEG, PNG or WebP picture; this looks like: {received}.",
        metadata={"received": received},
    )


def check_limits(header: ImageHeader, size_bytes: int, max_bytes: int = MAX_FILE_BYTES) -> None:
    """Refuse a picture of more than `max_bytes` or `MAX_PIXELS`.

    Raises InvalidPicture: FILE_TOO_LARGE (metadata `size_bytes`, `limit_bytes`, `limit_mb`) and
    RESOLUTION_TOO_HIGH
    (metadata `megapixels`, `limit_megapixels`).
    """
    check_file_size(size_bytes, max_bytes)
    if header.pixel_count > MAX_PIXELS:
        raise InvalidPicture(
            reasons.ERROR_REASON_RESOLUTION_TOO_HIGH,
            f"The picture has {header.megapixels} megapixels; at most {MAX_PIXELS // 1_000_000} are read.",
            metadata={
                "megapixels": str(header.megapixels),
                "limit_megapixels": str(MAX_PIXELS // 1_000_000),
            },
        )


def check_file_size(size_bytes: int, max_bytes: int = MAX_FILE_BYTES) -> None:
    """Refuse a file of more than `max_bytes`. Raises InvalidPicture (FILE_TOO_LARGE)."""
    if size_bytes > max_bytes:
        raise InvalidPicture(
            reasons.ERROR_REASON_FILE_TOO_LARGE,
            f"The file is larger than {max_bytes // 2**20} MB.",
            metadata={
                "size_bytes": str(size_bytes),
                "limit_bytes": str(max_bytes),
                "limit_mb": str(max_bytes // 2**20),
            },
        )


def sniff_other_type(head: bytes) -> str:
    """A short name, from a closed set, for what `head` begins: `gif`, `mp4`, `pdf`, … or `unknown`."""
    if not head:
        return "empty"
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "mp4")
    if head[:4] == b"RIFF":
        return {b"AVI ": "avi", b"WAVE": "wav"}.get(head[8:12], "riff")
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for opening, name in (
        (b"<svg", "svg"),
        (b"<?xml", "xml"),
        (b"<!doctype html", "html"),
        (b"<html", "html"),
    ):
        if text.startswith(opening):
            return name
    if all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in head):
        return "text"
    return "unknown"


_MAGIC: Final = (
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"BM", "bmp"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),
    (b"MM\0+", "tiff"),
    (b"%PDF", "pdf"),
    (b"%!PS", "eps"),
    (b"\xc5\xd0\xd3\xc6", "eps"),
    (b"8BPS", "psd"),
    (b"\0\0\1\0", "ico"),
    (b"\0\0\2\0", "cur"),
    (b"icns", "icns"),
    (b"\xff\x0a", "jxl"),
    (b"\0\0\0\x0cJXL ", "jxl"),
    (b"\0\0\0\x0cjP  ", "jp2"),
    (b"\xff\x4f\xff\x51", "jp2"),
    (b"DDS ", "dds"),
    (b"SIMPLE  =", "fits"),
    (b"qoif", "qoi"),
    (b"PK\3\4", "zip"),
    (b"\x1f\x8b", "gzip"),
    (b"\x1a\x45\xdf\xa3", "webm"),
    (b"OggS", "ogg"),
    (b"ID3", "mp3"),
    (b"Rar!", "rar"),
    (b"7z\xbc\xaf", "7z"),
    (b"\x8aMNG", "mng"),
    (b"\x8bJNG", "jng"),
)
_BRANDS: Final = {
    b"avif": "avif",
    b"avis": "avif",
    b"heic": "heic",
    b"heix": "heic",
    b"hevc": "heic",
    b"hevx": "heic",
    b"heim": "heic",
    b"heis": "heic",
    b"mif1": "heif",
    b"msf1": "heif",
    b"qt  ": "mov",
    b"crx ": "cr3",
}


def _read_jpeg(view: memoryview) -> ImageHeader:
    size: tuple[int, int] | None = None
    orientation: int | None = None
    for marker, body in _jpeg_segments(view):
        is_frame = 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)
        if is_frame and size is None and len(body) >= 6:
            size = (_u16(body, 3), _u16(body, 1))
        elif marker == 0xE1 and orientation is None and bytes(body[:6]) == b"Exif\0\0":
            orientation = _tiff_orientation(body[6:])
    if size is None:
        raise _no_dimensions("jpeg")
    return _header("jpeg", *size, orientation or 1)


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
        length = max(_u16(view, position), 2)
        yield marker, view[position + 2 : position + length]
        position += length


def _read_png(view: memoryview) -> ImageHeader:
    if len(view) < 24 or bytes(view[12:16]) != b"IHDR":
        raise _no_dimensions("png")
    width_px, height_px = _u32(view, 16), _u32(view, 20)
    if max(width_px, height_px) >= 2**31:
        raise _no_dimensions("png")
    orientation = 1
    position = 8
    for _ in range(_MAX_CHUNKS):
        if position + 8 > len(view):
            break
        length, kind = _u32(view, position), bytes(view[position + 4 : position + 8])
        if kind == b"eXIf":
            orientation = _tiff_orientation(view[position + 8 : position + 8 + length])
        if kind in (b"eXIf", b"IEND"):
            break
        position += 12 + length
    return _header("png", width_px, height_px, orientation)


def _read_webp(view: memoryview) -> ImageHeader:
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
            orientation = _tiff_orientation(body[skipped:])
            break
        position += 8 + length + (length & 1)
    if size is None:
        raise _no_dimensions("webp")
    return _header("webp", *size, orientation)


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


def _tiff_orientation(tiff: memoryview) -> int:
    """The orientation tag of the first directory; 1 when it is missing or makes no sense."""
    order: Literal["little", "big"]
    if bytes(tiff[:4]) == b"II*\0":
        order = "little"
    elif bytes(tiff[:4]) == b"MM\0*":
        order = "big"
    else:
        return 1
    start = int.from_bytes(tiff[4:8], order)
    count = int.from_bytes(tiff[start : start + 2], order)
    for position in range(start + 2, min(start + 2 + 12 * count, len(tiff) - 11), 12):
        if int.from_bytes(tiff[position : position + 2], order) != _ORIENTATION_TAG:
            continue
        kind = int.from_bytes(tiff[position + 2 : position + 4], order)
        width = {1: 1, 3: 2, 4: 4}.get(kind, 0)
        value = int.from_bytes(tiff[position + 8 : position + 8 + width], order)
        return value if 1 <= value <= 8 else 1
    return 1


def _header(kind: ImageFormat, width_px: int, height_px: int, orientation: int) -> ImageHeader:
    if width_px < 1 or height_px < 1:
        raise _no_dimensions(kind)
    return ImageHeader(kind, width_px, height_px, orientation)


def _no_dimensions(kind: ImageFormat) -> InvalidPicture:
    return InvalidPicture(
        reasons.ERROR_REASON_INVALID_DIMENSIONS,
        "The width and height of the picture cannot be read.",
        metadata={"format": kind},
    )


def _u16(view: memoryview, position: int) -> int:
    return int.from_bytes(view[position : position + 2], "big")


def _u32(view: memoryview, position: int) -> int:
    return int.from_bytes(view[position : position + 4], "big")
