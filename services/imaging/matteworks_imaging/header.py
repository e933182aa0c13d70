"""Type, size and orientation of a picture, read from its bytes without decoding a pixel.

Only the leading magic bytes decide the type; names and declared content types are never asked.
Whatever the bytes are, the answer is an `ImageHeader` or an `InvalidPicture`, after a bounded number
of steps. The first few kilobytes are enough for the size of most; the orientation of PNG and WebP may stand
behind the pixels, so for a cut-off file it can be missing, and a TIFF file may keep all its facts there.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.errors import InvalidPicture
from matteworks_imaging.headers.bmp import read_bmp
from matteworks_imaging.headers.gif import read_gif
from matteworks_imaging.headers.heif import heif_format, read_heif
from matteworks_imaging.headers.jpeg import read_jpeg
from matteworks_imaging.headers.model import ImageFormat, ImageHeader
from matteworks_imaging.headers.png import read_png
from matteworks_imaging.headers.tiff import read_tiff
from matteworks_imaging.headers.webp import read_webp

__all__ = [
    "ALL_FORMATS",
    "MAX_FILE_BYTES",
    "MAX_PIXELS",
    "WEB_FORMATS",
    "ImageFormat",
    "ImageHeader",
    "check_file_size",
    "check_limits",
    "read_header",
    "sniff_other_type",
]

# What every browser shows, and what remove.bg reads.
WEB_FORMATS: Final[frozenset[ImageFormat]] = frozenset({"jpeg", "png", "webp"})
ALL_FORMATS: Final[frozenset[ImageFormat]] = WEB_FORMATS | {"heic", "avif", "tiff", "bmp", "gif"}
# A megabyte of the limit is 2^20 bytes, the larger reading: nobody is refused who kept to either.
MAX_FILE_BYTES: Final = 22 * 1024 * 1024
MAX_PIXELS: Final = 50_000_000

_Bytes: TypeAlias = bytes | bytearray | memoryview


def read_header(data: _Bytes, formats: frozenset[ImageFormat] = ALL_FORMATS) -> ImageHeader:
    """The header of the picture file that `data` is, or begins with, if it is of one of `formats`.

    Raises InvalidPicture: INVALID_FILE_TYPE (metadata `received`: what it looks like instead),
    INVALID_DIMENSIONS (no usable width and height).
    """
    view = memoryview(data).cast("B") if not isinstance(data, bytes) else memoryview(data)
    head = bytes(view[:64])
    kind = _format_of(view, head)
    if kind is None or kind not in formats:
        received = sniff_other_type(head)
        raise InvalidPicture(
            reasons.ERROR_REASON_INVALID_FILE_TYPE,
            f"Send a {_listed(formats)} picture; this looks like: {received}.",
            metadata={"received": received},
        )
    if kind == "heic" or kind == "avif":
        return read_heif(kind, view)
    return _READERS[kind](view)


def _format_of(view: memoryview, head: bytes) -> ImageFormat | None:
    for magic, kind in _SIGNATURES:
        if head.startswith(magic):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    return heif_format(view)


def _listed(formats: frozenset[ImageFormat]) -> str:
    names = [_NAMES[kind] for kind in _NAMES if kind in formats]
    return " or ".join((", ".join(names[:-1]), names[-1])) if len(names) > 1 else names[0]


_NAMES: Final[dict[ImageFormat, str]] = {
    "jpeg": "JPEG",
    "png": "PNG",
    "webp": "WebP",
    "heic": "HEIC",
    "avif": "AVIF",
    "tiff": "TIFF",
    "bmp": "BMP",
    "gif": "GIF",
}
_SIGNATURES: Final[tuple[tuple[bytes, ImageFormat], ...]] = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"BM", "bmp"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
)
_READERS: Final = {
    "jpeg": read_jpeg,
    "png": read_png,
    "webp": read_webp,
    "tiff": read_tiff,
    "bmp": read_bmp,
    "gif": read_gif,
}


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
    (b"II+\0", "bigtiff"),
    (b"MM\0+", "bigtiff"),
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
