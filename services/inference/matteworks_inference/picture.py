"""From what a caller sent to the pixels that the networks see.

An encoded picture is refused by its header before a pixel is allocated, decoded by libvips with every
loader but three switched off, turned upright, converted to sRGB, and squeezed to at most 1024 x 1024: no
network here looks at more.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import pyvips
import structlog

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.errors import InvalidField, InvalidPicture
from matteworks_imaging.header import check_limits, read_header
from matteworks_inference.averaging import averaged
from matteworks_inference.engines.onnx_cpu import PixelArray

LARGEST_SIDE_PX: Final = 1024
LARGEST_PIXELS_SIDE_PX: Final = 4096
_LOADERS: Final = ("VipsForeignLoadJpeg", "VipsForeignLoadPng", "VipsForeignLoadWebp")
_WHITE: Final = [255.0, 255.0, 255.0]
log = structlog.get_logger()


@dataclass(frozen=True)
class Picture:
    """Pixels, and the size of what they show: the two differ in aspect when the pixels were squeezed."""

    pixels: PixelArray
    source_width_px: int
    source_height_px: int

    def squeezed(self) -> Picture:
        """At most 1024 px a side, each side for itself: no network here looks at more."""
        height, width = self.pixels.shape[:2]
        if max(width, height) <= LARGEST_SIDE_PX:
            return self
        pixels = self.resized(min(width, LARGEST_SIDE_PX), min(height, LARGEST_SIDE_PX))
        return Picture(pixels, self.source_width_px, self.source_height_px)

    def cropped(self, left: int, top: int, right: int, bottom: int) -> Picture:
        """The part inside a box of pixels, `right` and `bottom` outside it."""
        height, width = self.pixels.shape[:2]
        return Picture(
            np.ascontiguousarray(self.pixels[top:bottom, left:right]),
            max(1, round((right - left) * self.source_width_px / width)),
            max(1, round((bottom - top) * self.source_height_px / height)),
        )

    def resized(self, width_px: int, height_px: int) -> PixelArray:
        """The whole picture in exactly that size; the picture's own pixels when they have it already."""
        height, width = self.pixels.shape[:2]
        if (width, height) == (width_px, height_px):
            return self.pixels
        # Averaging areas when shrinking: linear sampling would skip pixels and let fine hair flicker.
        if width_px < width or height_px < height:
            return averaged(self.pixels, width_px, height_px)
        enlarged = cv2.resize(self.pixels, (width_px, height_px), interpolation=cv2.INTER_LINEAR)
        return np.asarray(enlarged, np.uint8)


def prepare_decoder(thread_count: int) -> None:
    """Set libvips up for this process: only the loaders that are meant, few threads, no caches.

    Process-wide, so the process's owner calls it once. A cache would hold pictures of one caller while
    another one is served.
    """
    # It tells every operation at the level of our own events.
    logging.getLogger("pyvips").setLevel(logging.WARNING)
    pyvips.concurrency_set(thread_count)
    pyvips.cache_set_max(0)
    pyvips.block_untrusted_set(True)
    pyvips.operation_block_set("VipsForeignLoad", True)
    for loader in _LOADERS:
        pyvips.operation_block_set(loader, False)


def picture_from_pixels(
    rgb: bytes, width_px: int, height_px: int, source_size_px: tuple[int, int] | None
) -> Picture:
    """The caller's pixels, not copied.

    Raises InvalidField: the sides are not 1 to 4096 px, or `rgb` is not 3 bytes a pixel.
    """
    for field, side_px in (("pixels.size.width_px", width_px), ("pixels.size.height_px", height_px)):
        if not 1 <= side_px <= LARGEST_PIXELS_SIDE_PX:
            raise InvalidField(
                field,
                f"Give 1 to {LARGEST_PIXELS_SIDE_PX} px.",
                reason=reasons.ERROR_REASON_INVALID_DIMENSIONS,
                metadata={"received": str(side_px), "limit_px": str(LARGEST_PIXELS_SIDE_PX)},
            )
    expected = 3 * width_px * height_px
    if len(rgb) != expected:
        raise InvalidField(
            "pixels.rgb",
            f"Give 3 bytes a pixel: {expected} for {width_px} x {height_px}.",
            reason=reasons.ERROR_REASON_INVALID_DIMENSIONS,
            metadata={"received_bytes": str(len(rgb)), "expected_bytes": str(expected)},
        )
    source_width_px, source_height_px = source_size_px or (width_px, height_px)
    if source_width_px < 1 or source_height_px < 1:
        raise InvalidField(
            "source_size", "Give 1 px or more.", reason=reasons.ERROR_REASON_INVALID_DIMENSIONS
        )
    pixels = np.frombuffer(rgb, np.uint8).reshape(height_px, width_px, 3)
    return Picture(pixels, source_width_px, source_height_px)


def decode_picture(file: bytes) -> Picture:
    """The picture in `file` upright, in sRGB, on white where it is transparent, at most 1024 px a side.

    Blocks. Raises InvalidPicture: INVALID_FILE_TYPE, INVALID_DIMENSIONS, FILE_TOO_LARGE and
    RESOLUTION_TOO_HIGH from the header; FAILED_TO_READ_IMAGE when the pixels cannot be decoded.
    """
    header = read_header(file)
    check_limits(header, len(file))
    try:
        image = pyvips.Image.thumbnail_buffer(
            file,
            min(header.width_px, LARGEST_SIDE_PX),
            height=min(header.height_px, LARGEST_SIDE_PX),
            size="force",
            # The keyword fail_on does not reach the loader; its option string does.
            option_string="fail_on=error",
        )
        image = _to_srgb(image).cast("uchar")
        if image.hasalpha():
            image = image.flatten(background=_WHITE)
        if image.bands == 1:
            image = image.bandjoin([image, image])
        pixels = np.ndarray(
            (image.height, image.width, image.bands), np.uint8, buffer=image.write_to_memory()
        )
    except pyvips.Error as error:
        raise InvalidPicture(
            reasons.ERROR_REASON_FAILED_TO_READ_IMAGE, "The pixels of the picture cannot be read."
        ) from error
    return Picture(pixels, header.width_px, header.height_px)


def _to_srgb(image: pyvips.Image) -> pyvips.Image:
    """`image` in sRGB by its own profile, or by its colour space when it has none that is needed.

    Setting up a colour transform costs 60 ms, so it is done only where it changes something.
    """
    profile = image.get("icc-profile-data") if image.get_typeof("icc-profile-data") else b""
    is_cmyk = image.interpretation == "cmyk"
    if is_cmyk or (profile and not _is_srgb(profile)):
        try:
            return image.icc_transform("srgb", embedded=True, input_profile="cmyk" if is_cmyk else "srgb")
        except pyvips.Error:
            # A broken profile: the colours are then taken for what they most likely are.
            log.info("colour_profile_ignored", size_bytes=len(profile))
    return image.colourspace("srgb")


def _is_srgb(profile: bytes) -> bool:
    """Whether the profile's description, which stands near its beginning, names sRGB."""
    head = profile[:1024]
    return b"sRGB" in head or "sRGB".encode("utf-16-be") in head
