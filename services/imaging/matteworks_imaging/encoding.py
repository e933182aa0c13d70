"""From pixels to a file. The settings were chosen by measurement; `docs/encoders.md` has the table.

Results carry no metadata and no colour profile: they are sRGB, which is what a file without one means.
"""

from __future__ import annotations

import io
import zipfile
from typing import Final

import cv2
import numpy as np
import pyvips
from numpy.typing import NDArray

from matteworks_imaging.colour_padding import pad_colours
from matteworks_imaging.png import write_png

__all__ = ["MAX_SIDE_PX", "encode_jpeg", "encode_png", "encode_webp", "encode_zip"]

Bytes8 = NDArray[np.uint8]

JPEG_QUALITY: Final = 92
WEBP_QUALITY: Final = 90
WEBP_EFFORT: Final = 0
# The format keeps the modes of all blocks in half a megabyte, which tens of megapixels of grain overflow;
# more effort writes them shorter, and a lower quality always fits.
WEBP_FALLBACKS: Final = ((WEBP_QUALITY, WEBP_EFFORT), (WEBP_QUALITY, 2))
WEBP_SAFE_QUALITY: Final = 75
# Longest side that a file format can hold.
MAX_SIDE_PX: Final = {"png": 1_000_000, "jpeg": 65_500, "webp": 16_383}

_PIXELS_PER_MM = 72 / 25.4
# ZIP cannot say "no date": this is its earliest, so equal pictures give equal files.
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)
_ZIP_CREATED_ON_UNIX = 3


def encode_png(pixels: Bytes8, threads: int = 1) -> bytes:
    """An 8-bit, non-interlaced PNG of H×W×4, H×W×3 or H×W pixels, by up to `threads` threads."""
    return write_png(pixels, threads)


def encode_jpeg(pixels: Bytes8) -> bytes:
    """A baseline JPEG of H×W×3 or H×W pixels, colour at full resolution."""
    return bytes(_image(pixels).jpegsave_buffer(Q=JPEG_QUALITY, subsample_mode="off", keep="none"))


def encode_webp(pixels: Bytes8) -> bytes:
    """A lossy WebP with lossless alpha of H×W×4, H×W×3 or H×W pixels; sides at most 16383 px."""
    image = _image(pixels)
    for quality, effort in WEBP_FALLBACKS:
        try:
            return bytes(image.webpsave_buffer(Q=quality, alpha_q=100, effort=effort, keep="none"))
        except pyvips.Error:
            continue
    return bytes(image.webpsave_buffer(Q=WEBP_SAFE_QUALITY, alpha_q=100, effort=WEBP_EFFORT, keep="none"))


def encode_zip(pixels: Bytes8, threads: int = 1) -> bytes:
    """A ZIP of `color.jpg` and `alpha.png`, stored, of H×W×4 or H×W×3 pixels.

    Colours go on a little beyond the subject's edge, so that the JPEG's blocks do not darken it.
    """
    if pixels.shape[2] == 4:
        alpha = np.asarray(cv2.extractChannel(pixels, 3), np.uint8)
        colour = pad_colours(np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGBA2RGB), np.uint8), alpha)
    else:
        alpha, colour = np.full(pixels.shape[:2], 255, np.uint8), pixels
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in (("color.jpg", encode_jpeg(colour)), ("alpha.png", encode_png(alpha, threads))):
            entry = zipfile.ZipInfo(name, _ZIP_DATE)
            entry.create_system = _ZIP_CREATED_ON_UNIX
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
    return buffer.getvalue()


def _image(pixels: Bytes8) -> pyvips.Image:
    """A view on `pixels`, which must outlive it; nothing is copied when they are contiguous."""
    contiguous = np.ascontiguousarray(pixels)
    bands = 1 if pixels.ndim == 2 else pixels.shape[2]
    image = pyvips.Image.new_from_memory(contiguous.data, pixels.shape[1], pixels.shape[0], bands, "uchar")
    return image.copy(
        interpretation="b-w" if bands == 1 else "srgb", xres=_PIXELS_PER_MM, yres=_PIXELS_PER_MM
    )
