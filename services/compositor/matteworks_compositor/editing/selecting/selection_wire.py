"""Selections from the wire: points, boxes, subjects and their limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from matteworks.compositor.v1 import edit_pb2
from matteworks_common.errors import InvalidField
from matteworks_compositor.editing.selecting.selector import Choice
from matteworks_compositor.kernels.pointing.selection import Selection
from matteworks_compositor.kernels.pointing.subjects import MAX_SUBJECTS
from matteworks_compositor.options.parsing import parse_options, parse_region
from matteworks_imaging.box import Size
from matteworks_imaging.limits import admit_file
from matteworks_imaging.region import resolve_region

__all__ = ["read_selection", "wants_each"]

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
    is_pointed_at = count > 0 or request.HasField("box")
    if wants_each(request):
        if is_pointed_at:
            raise InvalidField("grouping", "Name subjects alone for one cut-out each: no points and no box.")
    elif not is_pointed_at and not request.subjects:
        raise InvalidField("inside_points", "Give at least one point, a box, or the number of a subject.")
    _check_numbers(request.subjects)
    has_background = request.options.WhichOneof("background") == "bg_image"
    return Choice(
        picture=picture,
        selection=Selection(
            inside=_read_points(request.inside_points, "inside_points", picture.size),
            outside=_read_points(request.outside_points, "outside_points", picture.size),
            box=resolve_region(parse_region(request.box), picture.size) if request.HasField("box") else None,
            subjects=list(request.subjects),
        ),
        options=options,
        background=admit_file(request.options.bg_image, "options.bg_image") if has_background else None,
        request_id=request_id,
    )


def wants_each(request: edit_pb2.SelectRequest) -> bool:
    """Whether every subject is to come alone. Raises InvalidField for a grouping that does not exist."""
    if request.grouping not in edit_pb2.SubjectGrouping.values():
        raise InvalidField("grouping", "Use a value of the enum SubjectGrouping.")
    return request.grouping == edit_pb2.SUBJECT_GROUPING_EACH


def _check_numbers(numbers: Sequence[int]) -> None:
    if len(numbers) > MAX_SUBJECTS:
        raise InvalidField("subjects", f"Name at most {MAX_SUBJECTS} subjects.")
    for index, number in enumerate(numbers):
        if number < 1:
            raise InvalidField(
                f"subjects[{index}]", "Subjects are numbered from 1 on; ListSubjects lists them."
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
