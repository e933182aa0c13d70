"""What a file tells besides its pixels, as far as a result may keep it: EXIF data and resolution.

Results are upright sRGB without what was removed. So the orientation becomes 1 and the thumbnail, which
shows the old background, goes; a colour profile that is kept is that of sRGB.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Final

import pyvips
from PIL import Image

__all__ = ["Metadata", "read_metadata", "srgb_profile"]

# One segment of a JPEG file holds no more, so what is kept fits every format.
MAX_EXIF_BYTES: Final = 65_000
_ORIENTATION: Final = 0x0112
_PREFIX: Final = b"Exif\0\0"
_MM_PER_INCH: Final = 25.4
_DEFAULT_DOTS_PER_INCH: Final = 72.0


@dataclass(frozen=True, slots=True)
class Metadata:
    """`exif`: a small TIFF file without the prefix of JPEG, or None. `dots_per_inch`: across and down."""

    exif: bytes | None = None
    dots_per_inch: tuple[float, float] = (_DEFAULT_DOTS_PER_INCH, _DEFAULT_DOTS_PER_INCH)

    @property
    def pixels_per_mm(self) -> tuple[float, float]:
        """The resolution in libvips's unit."""
        return self.dots_per_inch[0] / _MM_PER_INCH, self.dots_per_inch[1] / _MM_PER_INCH


def read_metadata(image: pyvips.Image, *, is_turned: bool) -> Metadata:
    """What may be kept of an opened file; damaged EXIF data are left out.

    `is_turned` tells that its width and height change places. No resolution is 72 dots an inch.
    """
    exif: bytes | None = None
    if image.get_typeof("exif-data"):
        exif = _cleaned(image.get("exif-data"))
    across, down = (round(side * _MM_PER_INCH, 2) for side in (image.xres, image.yres))
    # libvips says one dot a millimetre for files that say nothing.
    if not (1 < image.xres < 1e4 and 1 < image.yres < 1e4):
        across = down = _DEFAULT_DOTS_PER_INCH
    return Metadata(exif, (down, across) if is_turned else (across, down))


@functools.cache
def srgb_profile() -> bytes:
    """The ICC profile that results are in."""
    profile: bytes = pyvips.Image.profile_load("srgb")
    return bytes(profile)


def _cleaned(exif: bytes) -> bytes | None:
    tags = Image.Exif()
    try:
        tags.load(bytes(exif) if exif.startswith(_PREFIX) else _PREFIX + bytes(exif))
        tags[_ORIENTATION] = 1
        # The writer knows no thumbnails: its directory is not written again.
        written = tags.tobytes()
    except Exception:
        # The tags are the caller's bytes, and the reader names no error of its own.
        return None
    written = written.removeprefix(_PREFIX)
    return written if len(written) <= MAX_EXIF_BYTES else None
