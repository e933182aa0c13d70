"""From what a caller sent to the pixels that the networks see.

Files are decoded and squeezed by the library that the compositor uses, so the same file shows the same
pixels whichever service reads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.errors import InvalidField
from matteworks_imaging.decoding import Decoder
from matteworks_imaging.header import check_limits, read_header
from matteworks_imaging.limits import PictureFile
from matteworks_imaging.network_view import LARGEST_SIDE_PX, decode_whole, network_view
from matteworks_imaging.resampling import averaged

# uint8, height x width x 3, R G B.
PixelArray: TypeAlias = npt.NDArray[np.uint8]
# uint8, height x width, 0 background to 255 subject.
MatteArray: TypeAlias = npt.NDArray[np.uint8]

LARGEST_PIXELS_SIDE_PX: Final = 4096


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


def picture_from_pixels(
    rgb: bytes | memoryview, width_px: int, height_px: int, source_size_px: tuple[int, int] | None
) -> Picture:
    """The caller's pixels, not copied.

    Raises InvalidField: the sides are not 1 to 4096 px, or `rgb` is not 3 bytes a pixel.
    """
    expected = pixels_size_bytes("pixels", width_px, height_px)
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


def pixels_size_bytes(field: str, width_px: int, height_px: int) -> int:
    """How many bytes the pixels in the message's `field` have.

    Raises InvalidField: the sides are not 1 to 4096 px.
    """
    for side, side_px in (("width_px", width_px), ("height_px", height_px)):
        if not 1 <= side_px <= LARGEST_PIXELS_SIDE_PX:
            raise InvalidField(
                f"{field}.size.{side}",
                f"Give 1 to {LARGEST_PIXELS_SIDE_PX} px.",
                reason=reasons.ERROR_REASON_INVALID_DIMENSIONS,
                metadata={"received": str(side_px), "limit_px": str(LARGEST_PIXELS_SIDE_PX)},
            )
    return 3 * width_px * height_px


def decode_picture(decoder: Decoder, content: bytes) -> Picture:
    """The picture in a file, as a removal shows it to the networks. Blocks.

    Raises InvalidPicture: INVALID_FILE_TYPE, INVALID_DIMENSIONS, FILE_TOO_LARGE and
    RESOLUTION_TOO_HIGH from the header; FAILED_TO_READ_IMAGE when the pixels cannot be decoded.
    """
    header = read_header(content)
    check_limits(header, len(content))
    file = PictureFile(content, header, field="")
    decoded = decode_whole(decoder, file)
    view = network_view(decoded.pixels, decoded.alpha)
    return Picture(view, file.size.width_px, file.size.height_px)
