"""What the encoders write, read by another library."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
import pyvips
from PIL import Image

from matteworks_imaging import png
from matteworks_imaging.encoding import encode_jpeg, encode_png, encode_webp, encode_zip
from tests.component.compositor.pictures import decoded, gradient


def cut_out(width: int = 120, height: int = 80) -> np.ndarray:
    """A gradient with a soft round hole of background, colours 0 where alpha is 0."""
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(x - width / 2, y - height / 2)
    alpha = np.clip((height / 3 - distance) * 40 + 128, 0, 255).astype(np.uint8)
    colours = gradient(width, height)
    colours[alpha == 0] = 0
    return np.dstack((colours, alpha))


@pytest.mark.parametrize("shape", [(40, 60, 4), (40, 60, 3), (40, 60)])
def test_a_png_keeps_every_pixel(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    assert np.array_equal(decoded(encode_png(pixels)), pixels)


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 200_000, 4), (200_000, 1, 3), (700, 900, 4), (2600, 500), (131, 1000, 4)]
)
@pytest.mark.parametrize("threads", [1, 3])
def test_a_png_in_strips_is_one_picture_to_every_reader(shape: tuple[int, ...], threads: int) -> None:
    """Pillow reads through zlib, which checks the joined checksum; libvips through its own reader."""
    generator = np.random.default_rng(2)
    pixels = (generator.integers(0, 256, shape) * (generator.random(shape) < 0.3)).astype(np.uint8)
    content = encode_png(pixels, threads)
    assert np.array_equal(decoded(content), pixels)
    seen_by_libvips = pyvips.Image.new_from_buffer(content, "", fail_on="warning").numpy()
    assert np.array_equal(seen_by_libvips.reshape(shape), pixels)
    assert content == encode_png(pixels), "the file does not depend on the number of threads"


def test_a_picture_in_strips_is_hardly_larger_than_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.dstack((np.tile(gradient(500, 400), (5, 4, 1)), np.tile(gradient(500, 400)[..., 0], (5, 4))))
    in_strips = encode_png(pixels)
    monkeypatch.setattr(png, "STRIP_BYTES", 1 << 30)
    assert len(in_strips) < 1.01 * len(encode_png(pixels))


@pytest.mark.parametrize("offset", [0, 7])
def test_a_view_into_a_larger_array_is_written_as_it_looks(offset: int) -> None:
    pixels = gradient(60, 40)[offset : offset + 20, offset : offset + 30]
    assert np.array_equal(decoded(encode_png(pixels)), pixels)


def test_a_webp_keeps_alpha_exactly_and_hides_nothing_below_it() -> None:
    pixels = cut_out()
    result = decoded(encode_webp(pixels))
    assert np.array_equal(result[..., 3], pixels[..., 3])
    seen = pixels[..., 3] == 255
    assert np.abs(result[seen].astype(int) - pixels[seen]).mean() < 4


def test_a_jpeg_is_baseline_with_full_resolution_colour_and_no_metadata() -> None:
    content = encode_jpeg(gradient(64, 48))
    with Image.open(io.BytesIO(content)) as image:
        assert "progressive" not in image.info
        assert "exif" not in image.info
        assert "icc_profile" not in image.info
        assert {layer[1:3] for layer in image.layer} == {(1, 1)}
        assert np.abs(np.array(image).astype(int) - gradient(64, 48)).mean() < 1


def test_the_edge_in_a_zips_jpeg_is_not_darkened_by_what_lies_outside() -> None:
    pixels = cut_out()
    with zipfile.ZipFile(io.BytesIO(encode_zip(pixels))) as archive:
        color = decoded(archive.read("color.jpg"))
    edge = (pixels[..., 3] > 0) & (pixels[..., 3] < 255)
    assert np.abs(color[edge].astype(int) - pixels[edge][:, :3]).max() < 12


def test_a_zip_of_an_opaque_picture_has_an_opaque_alpha() -> None:
    with zipfile.ZipFile(io.BytesIO(encode_zip(gradient(30, 20)))) as archive:
        assert (decoded(archive.read("alpha.png")) == 255).all()


def test_a_png_says_nothing_but_pixels() -> None:
    content = encode_png(cut_out())
    position, kinds = 8, []
    while position < len(content):
        length = int.from_bytes(content[position : position + 4], "big")
        kinds.append(content[position + 4 : position + 8])
        position += 12 + length
    assert set(kinds) <= {b"IHDR", b"pHYs", b"IDAT", b"IEND"}


def test_fifty_megapixels_of_grain_still_become_a_webp() -> None:
    """The first settings overflow a table of the format there; it was an internal error."""
    grain = np.random.default_rng(0).integers(90, 120, (7000, 7000, 1), np.uint8)
    with Image.open(io.BytesIO(encode_webp(np.repeat(grain, 3, axis=2)))) as image:
        assert image.size == (7000, 7000)
