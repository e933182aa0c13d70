"""Fields of a selection: points and a box as JSON."""

from __future__ import annotations

import json
from typing import Final

from matteworks.compositor.v1 import compositor_pb2, edit_pb2
from matteworks_common.errors import InvalidField
from matteworks_edge.fields.reader import Fields

MAX_POINTS: Final = 100
# Larger than the side of any picture.
MAX_PX: Final = 1_000_000
_POINTS: Final = "Give a list such as [[120, 80, 1], [10, 10, 0]]: x, y, and 1 to keep or 0 to leave out."
_BOX: Final = "Give the corners as [left, top, right, bottom], in pixels of the picture."


def read_selection(fields: Fields) -> edit_pb2.SelectRequest:
    """`points` and `box`, at least one of the two. What is wrong is kept in `fields`."""
    request = edit_pb2.SelectRequest()
    points, box = fields.text("points"), fields.text("box")
    if points is None and box is None:
        fields.errors.append(InvalidField("points", f"Give points, a box, or both. {_POINTS}"))
    if points is not None:
        fields.collect(lambda: _add_points(request, points))
    if box is not None:
        fields.collect(lambda: request.box.CopyFrom(_parse_box(box)))
    return request


def _add_points(request: edit_pb2.SelectRequest, text: str) -> None:
    given = _list(text, "points", _POINTS)
    if not 1 <= len(given) <= MAX_POINTS:
        raise InvalidField("points", f"Give 1 to {MAX_POINTS} points. {_POINTS}")
    for point in given:
        if not isinstance(point, list) or len(point) != 3 or point[2] not in (0, 1):
            raise InvalidField("points", _POINTS)
        x_px, y_px = (_number(value, "points", _POINTS) for value in point[:2])
        wanted = request.inside_points if point[2] else request.outside_points
        wanted.append(edit_pb2.Point(x_px=x_px, y_px=y_px))


def _parse_box(text: str) -> compositor_pb2.Region:
    given = _list(text, "box", _BOX)
    if len(given) != 4:
        raise InvalidField("box", _BOX)
    corners = [compositor_pb2.Length(px=round(_number(value, "box", _BOX))) for value in given]
    left, top, right, bottom = corners
    return compositor_pb2.Region(left=left, top=top, right=right, bottom=bottom)


def _list(text: str, field: str, remedy: str) -> list[object]:
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidField(field, remedy) from error
    if not isinstance(given, list):
        raise InvalidField(field, remedy)
    return given


def _number(value: object, field: str, remedy: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < MAX_PX:
        raise InvalidField(field, remedy)
    return float(value)
