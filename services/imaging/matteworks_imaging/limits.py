"""What may be decoded: file type, bytes and pixels, judged from the header before a pixel exists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.errors import InvalidPicture
from matteworks_imaging.box import Size
from matteworks_imaging.header import ImageHeader, check_limits, read_header

__all__ = ["LARGEST_FILE_BYTES", "PictureFile", "admit_file"]

# The most that any provider's API takes; each has a limit of its own at the edge.
LARGEST_FILE_BYTES: Final = 50 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class PictureFile:
    """A file whose header has been read and whose limits have been checked; not a pixel decoded.

    `field` is the request field that it came in, for errors.
    """

    content: bytes
    header: ImageHeader
    field: str = "image"

    @property
    def size(self) -> Size:
        """Size after the orientation is applied."""
        return Size(self.header.width_px, self.header.height_px)


def admit_file(content: bytes, field: str = "image") -> PictureFile:
    """The file, when it may be decoded. Costs microseconds, whatever the file claims to be.

    `field` is the request field that it came in, for the error. Raises InvalidPicture: MISSING_SOURCE,
    FILE_TOO_LARGE, INVALID_FILE_TYPE, INVALID_DIMENSIONS, RESOLUTION_TOO_HIGH.
    """
    if not content:
        raise InvalidPicture(reasons.ERROR_REASON_MISSING_SOURCE, "Send a picture.", field=field)
    try:
        header = read_header(content)
        check_limits(header, len(content), LARGEST_FILE_BYTES)
    except InvalidPicture as error:
        error.field = field
        raise
    return PictureFile(content, header, field)
