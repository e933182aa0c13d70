"""A picture that is larger than its result is reduced while it loads."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from matteworks_common.errors import InvalidPicture
from matteworks_imaging.box import Size
from matteworks_imaging.decoding import Decoder
from matteworks_imaging.limits import admit_file
from matteworks_imaging.resampling import resize

WIDTH_PX, HEIGHT_PX = 900, 600
SMALLER = Size(450, 300)


def waves(orientation: int = 1, mode: str = "RGB") -> bytes:
    """A PNG or JPEG with detail in both directions and a bright corner at its stored top left."""
    y, x = np.mgrid[0:HEIGHT_PX, 0:WIDTH_PX]
    bands = [128 + 60 * np.sin(x / 9), 128 + 60 * np.cos(y / 7), 0.1 * (x + y)]
    pixels = np.stack(bands, axis=-1).astype(np.uint8)
    pixels[:100, :150] = 255
    picture = Image.fromarray(pixels)
    file = io.BytesIO()
    if mode == "RGBA":
        picture.putalpha(Image.fromarray(np.where(x < 400, 255, 40).astype(np.uint8)))
        picture.save(file, "PNG")
    else:
        exif = Image.Exif()
        exif[0x0112] = orientation
        picture.save(file, "JPEG", quality=97, exif=exif)
    return file.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_is_what_reducing_the_whole_picture_gives(orientation: int) -> None:
    file = admit_file(waves(orientation))
    target = Size(SMALLER.height_px, SMALLER.width_px) if orientation >= 5 else SMALLER
    whole = Decoder().decode(file).pixels
    reduced = Decoder().decode(file, reduced_to=target)
    assert reduced.size == target
    assert np.abs(reduced.pixels.astype(int) - resize(whole, target)).mean() < 0.5


def test_a_picture_with_alpha_comes_whole() -> None:
    """Its colours must be weighed with alpha when they shrink, which is a later step's."""
    decoded = Decoder().decode(admit_file(waves(mode="RGBA")), reduced_to=SMALLER)
    assert decoded.size == Size(WIDTH_PX, HEIGHT_PX)
    assert decoded.alpha is not None


def test_a_mild_reduction_is_left_to_the_later_step() -> None:
    decoded = Decoder().decode(admit_file(waves()), reduced_to=Size(800, 533))
    assert decoded.size == Size(WIDTH_PX, HEIGHT_PX)


def test_a_file_that_ends_early_is_refused_on_this_way_too() -> None:
    content = waves()
    with pytest.raises(InvalidPicture):
        Decoder().decode(admit_file(content[: len(content) // 2]), reduced_to=SMALLER)
