"""Opens a file with the one reader for the type that its header showed; no reader guesses.

libvips reads most types, part by part. HEIC and BMP come from libraries that read them whole: libheif
with a decoder alone, since encoders of HEVC are under the GPL, and Pillow.
"""

from __future__ import annotations

import io
from typing import Any, Final

import numpy as np
import pi_heif
import pyvips
from PIL import BmpImagePlugin, Image

from matteworks_imaging.box import Size
from matteworks_imaging.limits import PictureFile

__all__ = ["Unreadable", "open_file"]

# What a damaged file makes the readers raise; Pillow and libheif name no error of their own.
Unreadable: Final = (
    pyvips.Error,
    OSError,
    ValueError,
    RuntimeError,
    SyntaxError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
)
_OPTIONS: Final[dict[str, Any]] = {"access": "sequential", "fail_on": "error"}


def open_file(file: PictureFile, at_least: Size | None = None) -> pyvips.Image:
    """The first picture of `file`, as it is stored. JPEG files are shrunk by 2, 4 or 8 while they load, as
    long as both sides stay at least `at_least`, a size after orientation.

    Raises one of `Unreadable` when the file is damaged or is not of the size that its header told; damage
    of pixels that are read later shows only then.
    """
    kind = file.header.format
    content = file.content
    if kind == "jpeg":
        shrink = 1 if at_least is None else _load_shrink(file.size, at_least)
        return pyvips.Image.jpegload_buffer(content, shrink=shrink, **_OPTIONS)
    if kind == "png":
        image = pyvips.Image.pngload_buffer(content, **_OPTIONS)
    elif kind == "webp":
        image = pyvips.Image.webpload_buffer(content, page=0, n=1, **_OPTIONS)
    elif kind == "avif":
        image = pyvips.Image.heifload_buffer(content, **_OPTIONS)
    elif kind == "tiff":
        image = pyvips.Image.tiffload_buffer(content, page=0, n=1, **_OPTIONS)
    elif kind == "gif":
        image = pyvips.Image.gifload_buffer(content, page=0, n=1, **_OPTIONS)
    elif kind == "heic":
        image = _open_heic(file)
    else:
        image = _open_bmp(content)
    if (image.width, image.height) != (file.header.stored_width_px, file.header.stored_height_px):
        raise ValueError("the file tells two sizes")
    return image


def _open_heic(file: PictureFile) -> pyvips.Image:
    opened = pi_heif.open_heif(file.content, convert_hdr_to_8bit=True)
    if opened.size != (file.header.stored_width_px, file.header.stored_height_px):
        raise ValueError("the file tells two sizes")
    # A copy: the library frees its pixels together with `opened`, whoever still looks at them.
    image = _from_array(np.array(opened, np.uint8))
    profile = opened.info.get("icc_profile")
    if profile:
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    exif = opened.info.get("exif")
    if exif:
        image.set_type(pyvips.GValue.blob_type, "exif-data", exif)
    return image


def _open_bmp(content: bytes) -> pyvips.Image:
    with BmpImagePlugin.BmpImageFile(io.BytesIO(content)) as image:
        has_alpha = image.mode in ("RGBA", "LA", "PA")
        return _from_array(np.asarray(image.convert("RGBA" if has_alpha else "RGB"), np.uint8))


def _from_array(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> pyvips.Image:
    solid = np.ascontiguousarray(pixels if pixels.ndim == 3 else pixels[..., None])
    height, width, bands = solid.shape
    image = pyvips.Image.new_from_memory(solid.data, width, height, bands, "uchar")
    return image.copy(interpretation="srgb" if bands >= 3 else "b-w")


def _load_shrink(size: Size, at_least: Size) -> int:
    for shrink in (8, 4, 2):
        # The loader rounds the shrunken sides up.
        if -(-size.width_px // shrink) >= at_least.width_px and -(-size.height_px // shrink) >= (
            at_least.height_px
        ):
            return shrink
    return 1


# Only the reader that is asked for by name: nothing here opens a file by guessing.
Image.MAX_IMAGE_PIXELS = None
