"""From pixels to a file. The settings were chosen by measurement; `docs/encoders.md` has the table.

Results carry no metadata and no colour profile unless they are given some: they are sRGB, which is what a
file without one means. `metadata` of a format that has no place for them is left out.
"""

from __future__ import annotations

import io
import zipfile
from typing import Any, Final

import cv2
import numpy as np
import pyvips
from numpy.typing import NDArray
from PIL import Image

from matteworks_imaging.filters.colour_padding import pad_colours
from matteworks_imaging.metadata import Metadata
from matteworks_imaging.png import write_png

__all__ = [
    "MAX_SIDE_PX",
    "encode_avif",
    "encode_bmp",
    "encode_gif",
    "encode_jpeg",
    "encode_lossless_webp",
    "encode_png",
    "encode_tiff",
    "encode_webp",
    "encode_zip",
]

Bytes8 = NDArray[np.uint8]

JPEG_QUALITY: Final = 92
WEBP_QUALITY: Final = 90
WEBP_EFFORT: Final = 0
# The format keeps the modes of all blocks in half a megabyte, which tens of megapixels of grain overflow;
# more effort writes them shorter, and a lower quality always fits.
WEBP_FALLBACK_EFFORTS: Final = (WEBP_EFFORT, 2)
WEBP_SAFE_QUALITY: Final = 75
LOSSLESS_WEBP_EFFORT: Final = 0
AVIF_QUALITY: Final = 75
AVIF_EFFORT: Final = 0
TIFF_LEVEL: Final = 2
GIF_EFFORT: Final = 1
# Longest side that a file format can hold.
MAX_SIDE_PX: Final = {
    "png": 1_000_000,
    "jpeg": 65_500,
    "webp": 16_383,
    "avif": 16_384,
    "tiff": 1_000_000,
    "bmp": 1_000_000,
    "gif": 65_535,
}

_PIXELS_PER_MM = 72 / 25.4
# ZIP cannot say "no date": this is its earliest, so equal pictures give equal files.
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)
_ZIP_CREATED_ON_UNIX = 3


def encode_png(pixels: Bytes8, threads: int = 1, metadata: Metadata | None = None) -> bytes:
    """An 8-bit, non-interlaced PNG of H×W×4, H×W×3 or H×W pixels, by up to `threads` threads."""
    return write_png(pixels, threads, metadata)


def encode_jpeg(pixels: Bytes8, quality: int | None = None, metadata: Metadata | None = None) -> bytes:
    """A baseline JPEG of H×W×3 or H×W pixels, colour at full resolution; `quality` 1 to 100."""
    image, kept = _with_metadata(pixels, metadata)
    return bytes(image.jpegsave_buffer(Q=quality or JPEG_QUALITY, subsample_mode="off", **kept))


def encode_webp(pixels: Bytes8, quality: int | None = None, metadata: Metadata | None = None) -> bytes:
    """A lossy WebP with lossless alpha of H×W×4, H×W×3 or H×W pixels; sides at most 16383 px.

    `quality` 1 to 100 is lowered for the few large pictures that the format cannot hold at it.
    """
    image, kept = _with_metadata(pixels, metadata)
    wanted = quality or WEBP_QUALITY
    for effort in WEBP_FALLBACK_EFFORTS:
        try:
            return bytes(image.webpsave_buffer(Q=wanted, alpha_q=100, effort=effort, **kept))
        except pyvips.Error:
            continue
    safe = min(wanted, WEBP_SAFE_QUALITY)
    return bytes(image.webpsave_buffer(Q=safe, alpha_q=100, effort=WEBP_EFFORT, **kept))


def encode_lossless_webp(pixels: Bytes8, metadata: Metadata | None = None) -> bytes:
    """A WebP that loses nothing of H×W×4, H×W×3 or H×W pixels; sides at most 16383 px."""
    image, kept = _with_metadata(pixels, metadata)
    # Colours below alpha 0 are 0 already; nothing else may change them.
    return bytes(image.webpsave_buffer(lossless=True, exact=True, effort=LOSSLESS_WEBP_EFFORT, **kept))


def encode_avif(pixels: Bytes8, quality: int | None = None, metadata: Metadata | None = None) -> bytes:
    """An 8-bit AVIF of H×W×4, H×W×3 or H×W pixels, colour at full resolution; sides at most 16384 px."""
    image, kept = _with_metadata(pixels, metadata)
    wanted = quality or AVIF_QUALITY
    return bytes(
        image.heifsave_buffer(
            compression="av1", Q=wanted, effort=AVIF_EFFORT, subsample_mode="off", bitdepth=8, **kept
        )
    )


def encode_tiff(pixels: Bytes8, metadata: Metadata | None = None) -> bytes:
    """A TIFF of H×W×4, H×W×3 or H×W pixels, packed by Deflate, alpha not multiplied in."""
    image, kept = _with_metadata(pixels, metadata)
    return bytes(
        image.tiffsave_buffer(compression="deflate", predictor="horizontal", level=TIFF_LEVEL, **kept)
    )


def encode_gif(pixels: Bytes8) -> bytes:
    """A GIF of H×W×3 or H×W pixels in at most 256 colours; sides at most 65535 px."""
    return bytes(_image(pixels).gifsave_buffer(effort=GIF_EFFORT, keep="none"))


def encode_bmp(pixels: Bytes8) -> bytes:
    """A BMP of H×W×3 or H×W pixels."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "BMP", dpi=(72, 72))
    return buffer.getvalue()


def encode_zip(pixels: Bytes8, threads: int = 1, quality: int | None = None) -> bytes:
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
        for name, content in (
            ("color.jpg", encode_jpeg(colour, quality)),
            ("alpha.png", encode_png(alpha, threads)),
        ):
            entry = zipfile.ZipInfo(name, _ZIP_DATE)
            entry.create_system = _ZIP_CREATED_ON_UNIX
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
    return buffer.getvalue()


def _with_metadata(pixels: Bytes8, metadata: Metadata | None) -> tuple[pyvips.Image, dict[str, Any]]:
    """The picture, and what its saver must be told to keep."""
    image = _image(pixels)
    if metadata is None:
        return image, {"keep": "none"}
    across, down = metadata.pixels_per_mm
    image = image.copy(xres=across, yres=down)
    kept: dict[str, Any] = {"keep": "exif|icc"}
    if image.bands >= 3:
        kept["profile"] = "srgb"
    if metadata.exif is not None:
        image.set_type(pyvips.GValue.blob_type, "exif-data", b"Exif\0\0" + metadata.exif)
    return image, kept


def _image(pixels: Bytes8) -> pyvips.Image:
    """A view on `pixels`, which must outlive it; nothing is copied when they are contiguous."""
    contiguous = np.ascontiguousarray(pixels)
    bands = 1 if pixels.ndim == 2 else pixels.shape[2]
    image = pyvips.Image.new_from_memory(contiguous.data, pixels.shape[1], pixels.shape[0], bands, "uchar")
    return image.copy(
        interpretation="b-w" if bands == 1 else "srgb", xres=_PIXELS_PER_MM, yres=_PIXELS_PER_MM
    )
