"""Selections from the wire: points, boxes and their limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from matteworks.compositor.v1 import edit_pb2
from matteworks_common.errors import InvalidField
from matteworks_compositor.editing.selector import Choice
from matteworks_compositor.kernels.selection import Selection
from matteworks_compositor.options.parsing import parse_options, parse_region
from matteworks_imaging.box import Size
from matteworks_imaging.limits import admit_file
from matteworks_imaging.region import resolve_region

__all__ = ["read_selection"]

MAX_POINTS: Final = 100


def read_selection(request: edit_pb2.SelectRequest, request_id: str) -> Choice:
    """Check `request` and put it into our own words. Raises InvalidField, InvalidPicture."""
    picture = admit_file(request.image)
    options = parse_options(request.options)
    if options.roi is not None:
        raise InvalidField("options.roi", "Leave roi out, and give a box.")
    count = len(request.inside_points) + len(request.outside_points)
    if count > MAX_POINTS:
        raise InvalidField(
            "inside_points", f"Give at most {MAX_POINTS} points; to draw over a part, use Correct."
        )
    if count == 0 and not request.HasField("box"):
        raise InvalidField("inside_points", "Give at least one point, or a box.")
    has_background = request.options.WhichOneof("background") == "bg_image"
    return Choice(
        picture=picture,
        selection=Selection(
            inside=_read_points(request.inside_points, "inside_points", picture.size),
            outside=_read_points(request.outside_points, "outside_points", picture.size),
            box=resolve_region(parse_region(request.box), picture.size) if request.HasField("box") else None,
        ),
        options=options,
        background=admit_file(request.options.bg_image, "options.bg_image") if has_background else None,
        request_id=request_id,
    )


def _read_points(points: Sequence[edit_pb2.Point], field: str, size: Size) -> list[tuple[float, float]]:
    for index, point in enumerate(points):
        # NaN is in no picture either.
        if not (0 <= point.x_px < size.width_px and 0 <= point.y_px < size.height_px):
            raise InvalidField(
                f"{field}[{index}]",
                f"Point into the picture, which is {size.width_px} × {size.height_px} pixels large.",
            )
    return [(point.x_px, point.y_px) for point in points]
