"""Every colour model that the three formats can hold comes out as the sRGB pixels that were meant."""

from __future__ import annotations

import io
import logging
import struct
import zlib

import numpy as np
import pytest
import pyvips
from numpy.typing import NDArray
from PIL import Image, ImageCms

from matteworks_common.errors import InvalidPicture
from matteworks_imaging.box import Size
from matteworks_imaging.decoding import Decoded, Decoder, configure_libvips
from matteworks_imaging.limits import admit_file
from tests.component.compositor.pictures import encoded, gradient

PICTURE = gradient(96, 64)


def decode(content: bytes, at_least: Size | None = None) -> Decoded:
    return Decoder().decode(admit_file(content), at_least)


def png(width: int, height: int, depth: int, kind: int, rows: bytes, *before: tuple[bytes, bytes]) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    parts = [chunk(b"IHDR", header), *(chunk(*extra) for extra in before)]
    parts += [chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def vips(pixels: NDArray[np.uint8]) -> pyvips.Image:
    height, width, bands = pixels.shape
    image = pyvips.Image.new_from_memory(pixels.tobytes(), width, height, bands, "uchar")
    return image.copy(interpretation="srgb")


@pytest.mark.parametrize("format_", ["PNG", "WEBP"])
def test_a_lossless_file_gives_its_exact_pixels(format_: str) -> None:
    content = encoded(PICTURE, format_, **({"lossless": True} if format_ == "WEBP" else {}))
    decoded = decode(content)
    assert np.array_equal(decoded.pixels, PICTURE)
    assert decoded.alpha is None


def test_a_grey_picture_has_three_equal_channels() -> None:
    decoded = decode(encoded(PICTURE[..., 0]))
    assert np.array_equal(decoded.pixels, np.repeat(PICTURE[..., :1], 3, axis=2))


def test_grey_with_alpha_gives_both() -> None:
    grey = np.dstack((PICTURE[..., 0], PICTURE[..., 1]))
    buffer = io.BytesIO()
    Image.merge("LA", [Image.fromarray(grey[..., 0]), Image.fromarray(grey[..., 1])]).save(buffer, "PNG")
    decoded = decode(buffer.getvalue())
    assert np.array_equal(decoded.pixels[..., 2], PICTURE[..., 0])
    assert decoded.alpha is not None
    assert np.array_equal(decoded.alpha, PICTURE[..., 1])


def test_a_palette_with_a_transparent_entry_gives_alpha() -> None:
    rows = b"".join(b"\0" + bytes([0, 1, 2]) for _ in range(2))
    content = png(
        3, 2, 8, 3, rows, (b"PLTE", bytes([255, 0, 0, 0, 255, 0, 0, 0, 255])), (b"tRNS", bytes([0, 128]))
    )
    decoded = decode(content)
    assert decoded.alpha is not None
    assert decoded.alpha[0].tolist() == [0, 128, 255]
    assert decoded.pixels[0, 2].tolist() == [0, 0, 255]


def test_sixteen_bits_become_eight() -> None:
    values = np.array([[0, 0x8000, 0xFFFF]], ">u2")
    decoded = decode(png(3, 1, 16, 0, b"\0" + values.tobytes()))
    assert decoded.pixels[0, :, 0].tolist() == [0, 128, 255]


def test_sixteen_bit_colour_and_alpha_become_eight() -> None:
    values = np.array([[0xFFFF, 0x8080, 0, 0x4040]], ">u2")
    decoded = decode(png(1, 1, 16, 6, b"\0" + values.tobytes()))
    assert decoded.pixels[0, 0].tolist() == [255, 128, 0]
    assert decoded.alpha is not None
    assert decoded.alpha[0, 0] == 64


def test_one_bit_is_black_and_white() -> None:
    decoded = decode(png(8, 1, 1, 0, b"\0\xa0"))
    assert decoded.pixels[0, :4, 0].tolist() == [255, 0, 255, 0]


def test_an_alpha_channel_that_hides_nothing_is_dropped() -> None:
    assert decode(encoded(np.dstack((PICTURE, np.full(PICTURE.shape[:2], 255, np.uint8))))).alpha is None


def test_display_p3_is_converted_to_srgb() -> None:
    content = vips(PICTURE).icc_transform("p3", embedded=False, input_profile="srgb").pngsave_buffer()
    stored = np.array(Image.open(io.BytesIO(content)))
    assert np.abs(stored.astype(int) - PICTURE).max() > 5, "the stored values differ"
    assert np.abs(decode(content).pixels.astype(int) - PICTURE).max() <= 3


def test_an_srgb_profile_changes_no_pixel() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert np.array_equal(decode(encoded(PICTURE, icc_profile=profile)).pixels, PICTURE)


@pytest.mark.parametrize("profile", [b"rubbish", bytes(200), b"\0" * 36 + b"acsp" + b"\xff" * 100])
@pytest.mark.parametrize("format_", ["PNG", "JPEG"])
def test_a_broken_profile_is_ignored(profile: bytes, format_: str) -> None:
    decoded = decode(encoded(PICTURE, format_, icc_profile=profile))
    assert np.abs(decoded.pixels.astype(int) - PICTURE).mean() < 2


def test_a_profile_for_another_colour_model_is_ignored() -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    decoded = decode(encoded(PICTURE, icc_profile=lab))
    assert np.abs(decoded.pixels.astype(int) - PICTURE).mean() < 2


def test_cmyk_with_a_profile_is_converted_by_it() -> None:
    cmyk = vips(PICTURE).icc_transform("cmyk", embedded=False, input_profile="srgb", intent="relative")
    decoded = decode(cmyk.jpegsave_buffer(Q=98))
    # A press cannot print every colour; those of this soft picture it can.
    assert np.abs(decoded.pixels.astype(int) - PICTURE).mean() < 6


def test_cmyk_without_a_profile_is_neither_inverted_nor_refused() -> None:
    buffer = io.BytesIO()
    ink = Image.new("CMYK", (32, 16), (0, 0, 0, 0))
    ink.paste((255, 255, 0, 0), (16, 0, 32, 16))
    ink.save(buffer, "JPEG", quality=98)
    decoded = decode(buffer.getvalue())
    assert decoded.pixels[8, 4].min() > 240, "no ink is white"
    red, green, blue = (int(value) for value in decoded.pixels[8, 28])
    assert blue > red
    assert blue > green, "cyan and magenta ink make blue"


def test_of_an_animation_the_first_frame_is_read() -> None:
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "blue")]
    for format_ in ("WEBP", "PNG"):
        buffer = io.BytesIO()
        options = {"lossless": True} if format_ == "WEBP" else {}
        frames[0].save(buffer, format_, save_all=True, append_images=frames[1:], **options)
        decoded = decode(buffer.getvalue())
        assert decoded.size == Size(20, 10)
        assert decoded.pixels[5, 5].tolist() == [255, 0, 0]


@pytest.mark.parametrize(
    ("at_least", "expected"),
    [
        (Size(800, 600), Size(800, 600)),
        (Size(401, 300), Size(800, 600)),
        (Size(400, 300), Size(400, 300)),
        (Size(120, 20), Size(200, 150)),
        (Size(1, 1), Size(100, 75)),
    ],
)
def test_a_jpeg_is_shrunk_while_loading_but_never_below_what_is_needed(
    at_least: Size, expected: Size
) -> None:
    assert decode(encoded(gradient(800, 600), "JPEG"), at_least).size == expected


def test_the_whole_progressive_file_is_read() -> None:
    decoded = decode(encoded(PICTURE, "JPEG", progressive=True))
    assert np.abs(decoded.pixels.astype(int) - PICTURE).mean() < 2


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP"])
def test_a_file_that_ends_early_is_refused(format_: str) -> None:
    noise = np.random.default_rng(5).integers(0, 256, (300, 300, 3), np.uint8)
    content = encoded(noise, format_)
    for share in (0.3, 0.6, 0.95):
        with pytest.raises(InvalidPicture) as raised:
            decode(content[: int(len(content) * share)])
        assert raised.value.reason_name == "FAILED_TO_READ_IMAGE"


def test_one_damaged_byte_of_a_png_is_found_by_its_checksum() -> None:
    content = bytearray(encoded(np.random.default_rng(5).integers(0, 256, (300, 300, 3), np.uint8)))
    content[len(content) // 2] ^= 0x55
    with pytest.raises(InvalidPicture) as raised:
        decode(bytes(content))
    assert raised.value.reason_name == "FAILED_TO_READ_IMAGE"


def test_the_library_tells_warnings_and_not_its_working_of_every_picture(
    caplog: pytest.LogCaptureFixture,
) -> None:
    configure_libvips(2)
    with caplog.at_level("DEBUG"):
        decode(encoded(PICTURE, "JPEG"))
        vips(PICTURE).resize(0.3).write_to_memory()
        logging.getLogger("pyvips").warning("VIPS: a warning")
    told = [record.levelname for record in caplog.records if record.name == "pyvips"]
    assert told == ["WARNING"]
