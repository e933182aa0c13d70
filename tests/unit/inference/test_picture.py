"""Pictures: refused by their headers, upright, in sRGB, no larger than a network looks at."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
import pyvips
from PIL import Image

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.errors import InvalidField, InvalidPicture
from matteworks_compositor.options.model import OutputFormat, RenderOptions
from matteworks_compositor.pipeline.job import Job, State
from matteworks_compositor.pipeline.steps import decode as decode_step
from matteworks_compositor.pipeline.steps import model_input
from matteworks_imaging.decoding import Decoder, configure_libvips
from matteworks_imaging.limits import admit_file
from matteworks_inference.picture import Picture, picture_from_pixels
from matteworks_inference.picture import decode_picture as decode


@pytest.fixture(autouse=True, scope="module")
def _decoder() -> None:
    configure_libvips(1)


def decode_picture(content: bytes) -> Picture:
    return decode(Decoder(), content)


def encoded(image: Image.Image, file_format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def test_a_large_picture_is_squeezed_to_1024_a_side() -> None:
    picture = decode_picture(encoded(Image.new("RGB", (2000, 1500)), "JPEG"))
    assert picture.pixels.shape == (1024, 1024, 3)
    assert (picture.source_width_px, picture.source_height_px) == (2000, 1500)


def test_a_small_picture_keeps_its_size() -> None:
    assert decode_picture(encoded(Image.new("RGB", (40, 30)))).pixels.shape == (30, 40, 3)


def test_a_narrow_picture_keeps_its_narrow_side() -> None:
    assert decode_picture(encoded(Image.new("RGB", (1, 3000)))).pixels.shape == (1024, 1, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_comes_upright(orientation: int) -> None:
    """The mark is in the upper left corner of what a viewer shows."""
    upright = np.zeros((40, 60, 3), np.uint8)
    upright[:10, :10] = 255
    stored: dict[int, Callable[[np.ndarray], np.ndarray]] = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = Image.fromarray(np.ascontiguousarray(stored[orientation](upright)))
    picture = decode_picture(encoded(turned, "JPEG", exif=exif, quality=95))
    assert picture.pixels.shape == (40, 60, 3)
    assert picture.pixels[3, 3].min() > 200
    assert picture.pixels[-5, -5].max() < 50


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "I;16"])
def test_every_colour_mode_becomes_three_channels(mode: str) -> None:
    image = Image.new("I;16", (20, 10), 30000) if mode == "I;16" else Image.new("RGB", (20, 10)).convert(mode)
    picture = decode_picture(encoded(image, "JPEG" if mode == "CMYK" else "PNG"))
    assert picture.pixels.shape == (10, 20, 3)


def test_transparent_places_show_white() -> None:
    picture = decode_picture(encoded(Image.new("RGBA", (8, 8), (200, 0, 0, 0))))
    assert picture.pixels.min() == 255


def test_a_profile_that_cannot_be_used_does_not_refuse_the_picture() -> None:
    file = encoded(Image.new("RGB", (8, 8), (200, 0, 0)), "JPEG", icc_profile=b"x" * 200)
    assert abs(int(decode_picture(file).pixels[4, 4, 0]) - 200) < 5


def test_a_profile_is_applied() -> None:
    """The same numbers are a stronger green in Display P3, so its red in sRGB is lower."""
    colours = Image.new("RGB", (8, 8), (100, 200, 100))
    plain = decode_picture(encoded(colours))
    tagged = decode_picture(encoded(colours, icc_profile=pyvips.Image.profile_load("p3")))
    assert int(plain.pixels[4, 4, 0]) - int(tagged.pixels[4, 4, 0]) > 10


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_a_truncated_file_is_refused(file_format: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    file = encoded(Image.fromarray(pixels), file_format)
    with pytest.raises(InvalidPicture) as caught:
        decode_picture(file[: len(file) // 2])
    assert caught.value.reason == reasons.ERROR_REASON_FAILED_TO_READ_IMAGE


@pytest.mark.parametrize("file", [b"8BPS" + bytes(50), b"<svg/>", b"%PDF-1.7", bytes(100)])
def test_what_is_not_a_jpeg_png_or_webp_never_reaches_a_decoder(file: bytes) -> None:
    with pytest.raises(InvalidPicture) as caught:
        decode_picture(file)
    assert caught.value.reason == reasons.ERROR_REASON_INVALID_FILE_TYPE


def test_a_picture_above_50_megapixels_is_refused_by_its_header() -> None:
    file = bytearray(encoded(Image.new("L", (1, 1))))
    file[16:24] = (10_000).to_bytes(4, "big") + (5_001).to_bytes(4, "big")
    with pytest.raises(InvalidPicture) as caught:
        decode_picture(bytes(file))
    assert caught.value.reason == reasons.ERROR_REASON_RESOLUTION_TOO_HIGH


@pytest.mark.parametrize(("width", "height"), [(0, 5), (5, 0), (-1, 5), (4097, 1), (1, 4097)])
def test_pixels_of_an_impossible_size_are_refused(width: int, height: int) -> None:
    with pytest.raises(InvalidField) as caught:
        picture_from_pixels(b"", width, height, None)
    assert caught.value.reason == reasons.ERROR_REASON_INVALID_DIMENSIONS


@pytest.mark.parametrize("surplus", [-1, 1])
def test_pixels_of_the_wrong_length_are_refused(surplus: int) -> None:
    with pytest.raises(InvalidField, match="3 bytes a pixel"):
        picture_from_pixels(bytes(3 * 4 * 5 + surplus), 4, 5, None)


def test_pixels_are_rows_of_red_green_blue() -> None:
    picture = picture_from_pixels(bytes(range(12)), 2, 2, (20, 10))
    assert picture.pixels[1, 0].tolist() == [6, 7, 8]
    assert (picture.source_width_px, picture.source_height_px) == (20, 10)


def test_a_picture_of_the_right_size_is_not_copied() -> None:
    pixels = np.zeros((5, 7, 3), np.uint8)
    assert Picture(pixels, 7, 5).resized(7, 5) is pixels


def test_resizing_keeps_the_whole_picture() -> None:
    pixels = np.zeros((100, 100, 3), np.uint8)
    pixels[:, 50:] = 255
    resized = Picture(pixels, 100, 100).resized(30, 20)
    assert resized.shape == (20, 30, 3)
    assert resized[:, :14].max() == 0
    assert resized[:, 16:].min() == 255


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
@pytest.mark.parametrize("size", [(60, 40), (1500, 1100), (5200, 2600)])
def test_a_file_shows_the_pixels_that_a_removal_of_it_shows(mode: str, size: tuple[int, int]) -> None:
    """The compositor decodes for itself and sends pixels; both must be the same picture to a network."""
    ramp = np.add.outer(np.arange(size[1]), 2 * np.arange(size[0])).astype(np.uint8)
    image = Image.fromarray(ramp).convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.fromarray(np.flipud(ramp).copy()))
    content = encoded(image, "JPEG" if mode == "RGB" else "PNG")
    state = State()
    job = Job("test", admit_file(content), RenderOptions(format=OutputFormat.PNG))
    decode_step.apply(Decoder(), job, state)
    model_input.apply(job, state)

    assert np.array_equal(decode_picture(content).pixels, state.model_input)
