"""From a file to upright sRGB pixels, once.

The loader is the one for the type that the header showed: libvips never guesses. Files that end early
or whose data are damaged are refused, because what would be filled in is not the customer's picture.
Colour profiles are applied, metadata are left behind unless they are asked for, and of several pictures in
a file the first is read.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import pyvips
from numpy.typing import NDArray

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.errors import InvalidPicture
from matteworks_imaging.box import Size
from matteworks_imaging.header import MAX_PIXELS
from matteworks_imaging.limits import PictureFile
from matteworks_imaging.loading import Unreadable, open_file
from matteworks_imaging.metadata import Metadata, read_metadata
from matteworks_imaging.resampling import is_strong_reduction, reduce_image

__all__ = ["Decoded", "Decoder", "configure_libvips"]

Bytes8 = NDArray[np.uint8]

# A profile that moves no colour by more than this many levels is sRGB for the eye.
SRGB_TOLERANCE_LEVELS: Final = 2
REMEMBERED_PROFILES: Final = 64


def configure_libvips(threads: int) -> None:
    """Set libvips up for a server: no operation cache, `threads` workers a pipeline, fuzzed loaders only."""
    pyvips.cache_set_max(0)
    pyvips.concurrency_set(threads)
    pyvips.block_untrusted_set(True)
    # It tells its own working of every picture at the level of our events.
    logging.getLogger("pyvips").setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class Decoded:
    """An upright picture: `pixels` H×W×3, sRGB; `alpha` H×W, or None when it is opaque everywhere.

    Colours are straight, as the file has them. `metadata` is None unless it was asked for.
    """

    pixels: Bytes8
    alpha: Bytes8 | None
    metadata: Metadata | None = None

    @property
    def size(self) -> Size:
        """Its extent, which is smaller than the file's when it was shrunk while loading."""
        return Size(self.pixels.shape[1], self.pixels.shape[0])


class Decoder:
    """Decodes files. Remembers which colour profiles are sRGB in effect. Safe to share by threads."""

    def __init__(self) -> None:
        self._profiles = _ProfileMemory()

    def decode(
        self,
        file: PictureFile,
        at_least: Size | None = None,
        reduced_to: Size | None = None,
        *,
        with_metadata: bool = False,
    ) -> Decoded:
        """The picture of `file`, upright.

        With `at_least`, a size after orientation, JPEG files are shrunk by 2, 4 or 8 while they load,
        as long as both sides stay at least that large. With `reduced_to`, also after orientation, an
        opaque picture that is much larger is reduced to that size while it loads, so that it never lies in
        memory as a whole. Raises InvalidPicture: FAILED_TO_READ_IMAGE.
        """
        try:
            image = open_file(file, at_least)
            if image.width * image.height > MAX_PIXELS:
                # A file that tells two sizes is not believed twice.
                raise _unreadable(file)
            metadata = read_metadata(image, is_turned=file.header.is_turned) if with_metadata else None
            joined = self._to_srgb(image)
            if reduced_to is not None and joined.bands == 3:
                stored = _before_turning(reduced_to, file.header.orientation)
                if is_strong_reduction(Size(joined.width, joined.height), stored):
                    reduced = _turn_upright(reduce_image(joined, stored), file.header.orientation)
                    return Decoded(reduced, None, metadata)
            pixels = np.frombuffer(joined.write_to_memory(), np.uint8)
            pixels = pixels.reshape(joined.height, joined.width, joined.bands)
        except Unreadable as error:
            raise _unreadable(file) from error
        alpha: Bytes8 | None = None
        if joined.bands == 4:
            separate = np.asarray(cv2.extractChannel(pixels, 3), np.uint8)
            alpha = separate if separate.min() < 255 else None
            pixels = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGBA2RGB), np.uint8)
        upright = _turn_upright(pixels, file.header.orientation)
        if alpha is not None:
            alpha = _turn_upright(alpha, file.header.orientation)
        return Decoded(upright, alpha, metadata)

    def decode_matte(self, file: PictureFile) -> Bytes8:
        """`file` as a matte, H×W: its alpha where it has one, else its luminance.

        Raises InvalidPicture: FAILED_TO_READ_IMAGE.
        """
        decoded = self.decode(file)
        if decoded.alpha is not None:
            return decoded.alpha
        return np.asarray(cv2.cvtColor(decoded.pixels, cv2.COLOR_RGB2GRAY), np.uint8)

    def _to_srgb(self, image: pyvips.Image) -> pyvips.Image:
        """Three bands, or four with alpha, 8 bit."""
        alpha = None
        if image.hasalpha():
            alpha = image.extract_band(image.bands - 1)
            if alpha.format != "uchar":
                alpha = (alpha >> 8).cast("uchar")
            image = image.extract_band(0, n=image.bands - 1)
        colour = self._apply_profile(image)
        if colour.interpretation != "srgb":
            colour = colour.colourspace("srgb")
        if colour.format != "uchar":
            colour = colour.cast("uchar")
        return colour if alpha is None else colour.bandjoin(alpha)

    def _apply_profile(self, image: pyvips.Image) -> pyvips.Image:
        is_cmyk = image.interpretation == "cmyk"
        if image.get_typeof("icc-profile-data"):
            profile: bytes = image.get("icc-profile-data")
            if image.bands == 3 and self._profiles.is_srgb(profile):
                return image
            try:
                # An embedded profile that does not fit the pixels is replaced by the fallback.
                return image.icc_transform(
                    "srgb",
                    embedded=True,
                    input_profile="cmyk" if is_cmyk else "srgb",
                    intent="relative",
                    black_point_compensation=True,
                    depth=8,
                )
            except pyvips.Error:
                # A grey profile that cannot be used has no fallback of its own: read it as plain grey.
                pass
        if is_cmyk:
            return image.icc_transform("srgb", input_profile="cmyk", intent="relative", depth=8)
        return image


class _ProfileMemory:
    """Which profiles leave colours as they are. Bounded; the oldest are forgotten."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, bool] = OrderedDict()
        self._lock = threading.Lock()

    def is_srgb(self, profile: bytes) -> bool:
        """Whether converting from `profile` would change nothing that can be seen."""
        digest = hashlib.sha256(profile).digest()
        with self._lock:
            if digest in self._known:
                self._known.move_to_end(digest)
                return self._known[digest]
        answer = _moves_no_colour(profile)
        with self._lock:
            self._known[digest] = answer
            if len(self._known) > REMEMBERED_PROFILES:
                self._known.popitem(last=False)
        return answer


def _moves_no_colour(profile: bytes) -> bool:
    steps = np.linspace(0, 255, 9).astype(np.uint8)
    grid = np.ascontiguousarray(np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(9, 81, 3))
    probe = pyvips.Image.new_from_memory(grid.data, 81, 9, 3, "uchar").copy(interpretation="srgb")
    probe.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    try:
        converted = probe.icc_transform(
            "srgb", embedded=True, intent="relative", black_point_compensation=True, depth=8
        ).write_to_memory()
    except pyvips.Error:
        return False
    moved = np.abs(np.frombuffer(converted, np.uint8).astype(np.int16) - grid.reshape(-1))
    return int(moved.max()) <= SRGB_TOLERANCE_LEVELS


def _before_turning(size: Size, orientation: int) -> Size:
    """The size in the file of what is `size` when upright."""
    return Size(size.height_px, size.width_px) if orientation >= 5 else size


def _turn_upright(pixels: Bytes8, orientation: int) -> Bytes8:
    """Undo the EXIF `orientation` (1 to 8)."""
    turned: cv2.typing.MatLike = pixels
    if orientation in (2, 4):
        turned = cv2.flip(pixels, 1 if orientation == 2 else 0)
    elif orientation == 3:
        turned = cv2.rotate(pixels, cv2.ROTATE_180)
    elif orientation == 5:
        turned = cv2.transpose(pixels)
    elif orientation == 6:
        turned = cv2.rotate(pixels, cv2.ROTATE_90_CLOCKWISE)
    elif orientation == 7:
        turned = cv2.rotate(cv2.transpose(pixels), cv2.ROTATE_180)
    elif orientation == 8:
        turned = cv2.rotate(pixels, cv2.ROTATE_90_COUNTERCLOCKWISE)
    return np.asarray(turned, np.uint8)


def _unreadable(file: PictureFile) -> InvalidPicture:
    return InvalidPicture(
        reasons.ERROR_REASON_FAILED_TO_READ_IMAGE,
        f"The {file.header.format.upper()} file is damaged or ends too early.",
        field=file.field,
        metadata={"format": file.header.format},
    )
