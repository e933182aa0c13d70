"""The header of a GIF file: the size of its canvas."""

from __future__ import annotations

from matteworks_imaging.headers.model import ImageHeader, found_header, no_dimensions, read_number

__all__ = ["read_gif"]


def read_gif(view: memoryview) -> ImageHeader:
    """Raises InvalidPicture (INVALID_DIMENSIONS)."""
    if len(view) < 10:
        raise no_dimensions("gif")
    return found_header("gif", read_number(view, 6, 2, "little"), read_number(view, 8, 2, "little"))
