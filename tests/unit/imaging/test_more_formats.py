"""HEIC, AVIF, TIFF, BMP and GIF come out as the pixels that were meant, or are refused."""

from __future__ import annotations

import contextlib
import io
import resource
import struct
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.errors import InvalidPicture
from matteworks_imaging.decoding import Decoded, Decoder
from matteworks_imaging.header import ALL_FORMATS, WEB_FORMATS, read_header
from matteworks_imaging.limits import admit_file
from tests.component.compositor.pictures import encoded, gradient, quadrants

FILES = Path(__file__).parent / "files"
CORPUS = Path(__file__).parents[4] / "shared" / "corpora" / "pillow"
NEW = ("heic", "avif", "tiff", "bmp", "gif")


def sample(kind: str) -> bytes:
    """Quadrants of 64 × 48 pixels."""
    if kind == "heic":
        return (FILES / "quadrants.heic").read_bytes()
    options = {"quality": 95, "subsampling": "4:4:4"} if kind == "avif" else {}
    return encoded(quadrants(64, 48), kind.upper(), **options)


def decode(content: bytes) -> Decoded:
    return Decoder().decode(admit_file(content))


@pytest.mark.parametrize("kind", NEW)
def test_header_and_pixels_are_those_of_the_picture(kind: str) -> None:
    header = read_header(sample(kind))
    assert (header.format, header.width_px, header.height_px) == (kind, 64, 48)
    result = decode(sample(kind))
    assert result.alpha is None
    assert np.abs(result.pixels.astype(int) - quadrants(64, 48)).mean() < 4


@pytest.mark.parametrize("kind", ["tiff", "bmp"])
def test_lossless_files_give_their_exact_pixels(kind: str) -> None:
    picture = gradient(70, 31)
    assert np.array_equal(decode(encoded(picture, kind.upper())).pixels, picture)


def test_a_heic_that_says_so_is_turned_and_keeps_its_transparency() -> None:
    content = (FILES / "turned.heic").read_bytes()
    header = read_header(content)
    assert (header.width_px, header.height_px, header.orientation) == (48, 64, 1)
    turned = decode(content).pixels
    assert np.abs(turned.astype(int) - np.rot90(quadrants(64, 48), -1)).mean() < 4
    alpha = decode((FILES / "alpha.heic").read_bytes()).alpha
    assert alpha is not None
    assert alpha[:8].max() < 30
    assert alpha[12:].min() > 225


def test_of_several_pictures_the_first_is_read() -> None:
    assert decode((FILES / "two.heic").read_bytes()).size.width_px == 64
    frames = [Image.fromarray(quadrants(64, 48)), Image.new("RGB", (64, 48), (1, 2, 3))]
    for kind in ("GIF", "TIFF"):
        buffer = io.BytesIO()
        frames[0].save(buffer, kind, save_all=True, append_images=frames[1:] * 3)
        assert np.abs(decode(buffer.getvalue()).pixels.astype(int) - quadrants(64, 48)).mean() < 4


def test_the_orientation_of_a_tiff_is_applied() -> None:
    buffer = io.BytesIO()
    Image.fromarray(quadrants(64, 48)).save(buffer, "TIFF", tiffinfo={274: 6})
    result = decode(buffer.getvalue())
    assert np.array_equal(result.pixels, np.rot90(quadrants(64, 48), -1))


@pytest.mark.parametrize("kind", NEW)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 0.97])
def test_a_file_that_ends_early_is_refused(kind: str, share: float) -> None:
    whole = sample(kind)
    with pytest.raises(InvalidPicture) as caught:
        decode(whole[: int(len(whole) * share)])
    assert caught.value.reason in (
        reasons.ERROR_REASON_INVALID_DIMENSIONS,
        reasons.ERROR_REASON_FAILED_TO_READ_IMAGE,
        reasons.ERROR_REASON_INVALID_FILE_TYPE,
    )


@settings(deadline=None, max_examples=60)
@given(
    kind=st.sampled_from(NEW),
    flips=st.dictionaries(st.integers(0, 1200), st.integers(0, 255), min_size=1, max_size=6),
)
def test_a_damaged_file_gives_a_picture_or_a_refusal(kind: str, flips: dict[int, int]) -> None:
    data = bytearray(sample(kind))
    for position, value in flips.items():
        data[position % len(data)] = value
    # Anything else that a reader raises would be an internal error of the service.
    with contextlib.suppress(InvalidPicture):
        decode(bytes(data))


# Where each format keeps its width, as this file's samples have it, and a width of 60,000 px.
BOMBS = {
    "heic": (struct.pack(">II", 64, 64), struct.pack(">II", 60_000, 64_000)),
    "avif": (struct.pack(">II", 64, 48), struct.pack(">II", 60_000, 64_000)),
    "tiff": (struct.pack("<HHIH", 256, 4, 1, 64), struct.pack("<HHIH", 256, 4, 1, 60_000)),
    "bmp": (struct.pack("<II", 64, 48), struct.pack("<II", 60_000, 64_000)),
    "gif": (struct.pack("<HH", 64, 48), struct.pack("<HH", 60_000, 64_000)),
}


@pytest.mark.parametrize("kind", NEW)
def test_a_file_that_claims_a_huge_picture_costs_nothing(kind: str) -> None:
    content = sample(kind)
    place, claim = BOMBS[kind]
    if kind == "tiff" and place not in content:
        place, claim = struct.pack("<HHIH", 256, 3, 1, 64), struct.pack("<HHIH", 256, 3, 1, 60_000)
    assert place in content
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start_s = time.monotonic()
    with pytest.raises(InvalidPicture):
        decode(content.replace(place, claim, 1))
    assert time.monotonic() - start_s < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 64 * 1024


@pytest.mark.parametrize("kind", ["heic", "avif"])
def test_pixels_larger_than_the_header_claims_are_not_decoded(kind: str) -> None:
    """The claim decides how many such files are worked on at once."""
    content = sample(kind)
    place = struct.pack(">II", 64, 64 if kind == "heic" else 48)
    with pytest.raises(InvalidPicture):
        decode(content.replace(place, struct.pack(">II", 16, 16), 1))


def test_a_gif_of_many_frames_is_read_in_time() -> None:
    frames = [Image.fromarray(np.full((8, 8), value % 251, np.uint8)) for value in range(20_000)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], optimize=False)
    start_s = time.monotonic()
    assert decode(buffer.getvalue()).size.width_px == 8
    assert time.monotonic() - start_s < 5


@pytest.mark.parametrize("tags", [{"samples": 60_000}, {"tile": 1_000_000}])
def test_a_tiff_with_samples_or_tiles_that_no_picture_needs_is_refused(tags: dict[str, int]) -> None:
    entries = [(256, 4, 64), (257, 4, 64), (258, 3, 8), (277, 3, tags.get("samples", 3))]
    if "tile" in tags:
        entries += [(322, 4, tags["tile"]), (323, 4, 16)]
    body = struct.pack("<H", len(entries)) + b"".join(
        struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries
    )
    with pytest.raises(InvalidPicture) as caught:
        read_header(b"II*\0\x08\0\0\0" + body + bytes(4))
    assert caught.value.reason == reasons.ERROR_REASON_INVALID_DIMENSIONS


def test_who_reads_fewer_formats_refuses_the_others_by_name() -> None:
    assert ALL_FORMATS > WEB_FORMATS
    for kind in NEW:
        with pytest.raises(InvalidPicture) as caught:
            read_header(sample(kind), WEB_FORMATS)
        assert caught.value.metadata["received"] == kind


@pytest.mark.shared
@pytest.mark.skipif(not CORPUS.is_dir(), reason=f"needs the public test files in {CORPUS}")
def test_odd_public_files_give_the_picture_that_pillow_sees_or_a_refusal() -> None:
    read = 0
    for path in sorted(CORPUS.iterdir()):
        if path.suffix not in (".tif", ".tiff", ".avif", ".avifs", ".heif", ".bmp", ".gif"):
            continue
        start_s = time.monotonic()
        try:
            result = decode(path.read_bytes())
        except InvalidPicture:
            continue
        read += 1
        assert time.monotonic() - start_s < 5, path.name
        header = read_header(path.read_bytes())
        assert (result.size.width_px, result.size.height_px) == (header.width_px, header.height_px), path.name
    assert read >= 50
