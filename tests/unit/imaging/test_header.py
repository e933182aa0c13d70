"""Size and orientation come from the header alone, whatever the bytes are."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps, UnidentifiedImageError

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.errors import InvalidPicture
from matteworks_imaging.header import (
    MAX_FILE_BYTES,
    ImageHeader,
    check_limits,
    read_header,
)

CORPORA = Path(__file__).parents[4] / "shared" / "corpora"
FORMATS = ("JPEG", "PNG", "WEBP")


def encoded(
    kind: str, width_px: int, height_px: int, orientation: int | None = None, **options: object
) -> bytes:
    picture = Image.new("RGB", (width_px, height_px), (10, 200, 30))
    if orientation is not None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        options["exif"] = exif
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def refusal(data: bytes) -> InvalidPicture:
    with pytest.raises(InvalidPicture) as caught:
        read_header(data)
    return caught.value


def corpus_files() -> list[Path]:
    return sorted(path for path in CORPORA.rglob("*") if path.is_file()) if CORPORA.is_dir() else []


@given(
    kind=st.sampled_from(FORMATS),
    width_px=st.integers(1, 300),
    height_px=st.integers(1, 300),
    orientation=st.none() | st.integers(0, 9),
)
def test_size_and_orientation_are_those_of_the_picture(
    kind: str, width_px: int, height_px: int, orientation: int | None
) -> None:
    header = read_header(encoded(kind, width_px, height_px, orientation))
    expected = orientation if orientation in range(1, 9) else 1
    assert header.format == kind.lower()
    assert (header.stored_width_px, header.stored_height_px) == (width_px, height_px)
    assert header.orientation == expected
    turned = (height_px, width_px) if expected >= 5 else (width_px, height_px)
    assert (header.width_px, header.height_px) == turned


@pytest.mark.parametrize("options", [{"lossless": True}, {"quality": 60}, {"method": 0}])
def test_both_kinds_of_webp_are_read(options: dict[str, object]) -> None:
    header = read_header(encoded("WEBP", 123, 45, **options))
    assert (header.width_px, header.height_px) == (123, 45)


def test_progressive_jpeg_is_read() -> None:
    header = read_header(encoded("JPEG", 77, 33, progressive=True))
    assert (header.width_px, header.height_px) == (77, 33)


def test_the_name_of_the_type_comes_from_the_bytes_in_any_buffer() -> None:
    data = encoded("PNG", 3, 5)
    assert read_header(memoryview(bytearray(data))) == read_header(data)


@pytest.mark.parametrize(
    ("data", "received"),
    [
        (b"", "empty"),
        (b"\0\0\0\x18ftypmp42", "mp4"),
        (b"%PDF-1.7", "pdf"),
        (b"  <svg xmlns='x'>", "svg"),
        (b"II+\0\x08\0\0\0", "bigtiff"),
        (b"<!DOCTYPE html>", "html"),
        (b"hello", "text"),
        (b"\x00\x01\x02", "unknown"),
        (b"RIFF\0\0\0\0WAVE", "wav"),
        (b"\x89PNG\r\n\x1a", "unknown"),
    ],
)
def test_another_type_is_refused_by_its_name(data: bytes, received: str) -> None:
    error = refusal(data)
    assert error.reason == reasons.ERROR_REASON_INVALID_FILE_TYPE
    assert error.metadata["received"] == received


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8\xff\xe0\0",
        b"\xff\xd8\xff" + b"\0" * 200_000,
        b"\xff\xd8" + b"\xff\xe0\0\x02" * 100_000,
        b"\xff\xd8\xff\xc0\0\x0b\x08\0\0\0\x10\x01\0\0\0",  # Height 0.
        b"\x89PNG\r\n\x1a\n",
        b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\0\0\0\0\x01",
        b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\xff\xff\xff\xff\0\0\0\x01",
        b"\x89PNG\r\n\x1a\n\0\0\0\x04CgBI\0\0\0\0\0\0\0\0",
        b"RIFF\0\0\0\0WEBP",
        b"RIFF\0\0\0\0WEBPVP8 \x0a\0\0\0\0\0\0\0\0\0\0\0\0\0",
        b"GIF89a\0\0\1\0",
        b"GIF89a",
        b"BM\x00\x01",
        b"BM" + bytes(12) + b"\x28\0\0\0\xff\xff\xff\xff\1\0\0\0",  # Width -1.
        b"II*\0\x08\0\0\0",
        b"MM\0*\xff\xff\xff\xff",
        b"\0\0\0\x18ftypheic",
        b"\0\0\0\x18ftypavif" + bytes(12) + b"\0\0\0\1meta\xff\xff\xff\xff\xff\xff\xff\xff" + bytes(40),
    ],
    ids=range(19),
)
def test_a_file_without_a_usable_size_is_refused(data: bytes) -> None:
    assert refusal(data).reason == reasons.ERROR_REASON_INVALID_DIMENSIONS


@given(
    magic=st.sampled_from(
        [
            b"\xff\xd8\xff",
            b"\x89PNG\r\n\x1a\n",
            b"RIFF\0\0\0\0WEBP",
            b"RIFF\0\0\0\0WEBPVP8X",
            b"II*\0\x08\0\0\0",
            b"BM" + bytes(12) + b"\x28",
            b"GIF89a",
            b"\0\0\0\x10ftypheic\0\0\0\0\0\0\1\0meta\0\0\0\0",
            b"",
        ]
    ),
    rest=st.binary(max_size=400),
)
def test_any_bytes_give_a_header_or_a_refusal(magic: bytes, rest: bytes) -> None:
    outcome(magic + rest)


@given(
    kind=st.sampled_from(FORMATS),
    cut=st.integers(0, 2000),
    flips=st.dictionaries(st.integers(0, 1500), st.integers(0, 255), max_size=8),
)
def test_a_damaged_picture_gives_a_header_or_a_refusal(kind: str, cut: int, flips: dict[int, int]) -> None:
    data = bytearray(encoded(kind, 40, 30, 6))[:cut]
    for position, value in flips.items():
        if position < len(data):
            data[position] = value
    outcome(bytes(data))


def outcome(data: bytes) -> ImageHeader | InvalidPicture:
    try:
        header = read_header(data)
    except InvalidPicture as error:
        refused = error
    else:
        assert header.stored_width_px >= 1
        assert header.stored_height_px >= 1
        assert 1 <= header.orientation <= 8
        return header
    assert refused.reason in (
        reasons.ERROR_REASON_INVALID_FILE_TYPE,
        reasons.ERROR_REASON_INVALID_DIMENSIONS,
    )
    return refused


def png_of(width_px: int, height_px: int) -> ImageHeader:
    return read_header(b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR" + struct.pack(">II", width_px, height_px))


def test_fifty_megapixels_pass_and_one_pixel_more_is_refused() -> None:
    check_limits(png_of(10_000, 5_000), 1)
    with pytest.raises(InvalidPicture) as caught:
        check_limits(png_of(50_000_001, 1), 1)
    assert caught.value.reason == reasons.ERROR_REASON_RESOLUTION_TOO_HIGH
    assert caught.value.metadata == {"megapixels": "51", "limit_megapixels": "50"}


def test_22_mb_pass_and_one_byte_more_is_refused() -> None:
    check_limits(png_of(1, 1), MAX_FILE_BYTES)
    with pytest.raises(InvalidPicture) as caught:
        check_limits(png_of(1, 1), MAX_FILE_BYTES + 1)
    assert caught.value.reason == reasons.ERROR_REASON_FILE_TOO_LARGE


@pytest.mark.parametrize(
    ("width_px", "height_px", "megapixels"), [(1, 1, 1), (1000, 1000, 1), (1600, 1200, 2), (8000, 6250, 50)]
)
def test_megapixels_are_rounded_up(width_px: int, height_px: int, megapixels: int) -> None:
    assert png_of(width_px, height_px).megapixels == megapixels


def pillow_sizes(path: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    """Type and upright size of `path` according to Pillow, when it can open it as one of our types."""
    try:
        with Image.open(path, formats=FORMATS) as picture:
            kind = picture.format or ""
            exif = picture.getexif() if kind == "JPEG" else picture.info.get("exif") and picture.getexif()
            orientation = exif.get(0x0112, 1) if exif else 1
            width_px, height_px = picture.size
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return
    yield kind, (height_px, width_px) if orientation in (5, 6, 7, 8) else (width_px, height_px)


@pytest.mark.shared
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", corpus_files() or [None], ids=lambda path: path.name if path else "absent")
def test_every_corpus_file_has_the_size_that_pillow_sees(path: Path | None) -> None:
    if path is None:
        pytest.skip("the evaluation corpora are not beside the repository")
    ours = outcome(path.read_bytes())
    for kind, size in pillow_sizes(path):
        assert isinstance(ours, ImageHeader), f"Pillow reads a {kind} of {size}, we refuse it: {ours}"
        assert (ours.format, (ours.width_px, ours.height_px)) == (kind.lower(), size)


def test_a_picture_turned_by_pillow_has_the_size_that_the_header_promises() -> None:
    data = encoded("JPEG", 60, 20, 8)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert upright is not None
    header = read_header(data)
    assert upright.size == (header.width_px, header.height_px)
