"""Fields of a selection: points and a box as JSON, subjects by number."""

from __future__ import annotations

import json
import re
from typing import Final

from matteworks.compositor.v1 import compositor_pb2, edit_pb2
from matteworks_common.errors import InvalidField
from matteworks_edge.fields.reader import Fields

MAX_POINTS: Final = 100
# No picture has more.
MAX_SUBJECTS: Final = 20
# Larger than the side of any picture.
MAX_PX: Final = 1_000_000
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,3}")
_POINTS: Final = "Give a list such as [[120, 80, 1], [10, 10, 0]]: x, y, and 1 to keep or 0 to leave out."
_BOX: Final = "Give the corners as [left, top, right, bottom], in pixels of the picture."


def read_selection(fields: Fields) -> edit_pb2.SelectRequest:
    """`points`, `box` and `subjects`, at least one of them, or `each`. What is wrong is kept in `fields`."""
    request = edit_pb2.SelectRequest()
    points, box = fields.text("points"), fields.text("box")
    name = "subjects" if fields.text("subjects") is not None else "subject"
    numbers = fields.text(name)
    if fields.boolean("each", default=False):
        request.grouping = edit_pb2.SUBJECT_GROUPING_EACH
        if points is not None or box is not None:
            fields.errors.append(InvalidField("each", "Give each with subjects alone, or by itself."))
    elif points is None and box is None and numbers is None:
        fields.errors.append(
            InvalidField("points", f"Give points, a box, the number of a subject, or each=true. {_POINTS}")
        )
    if numbers is not None:
        fields.collect(lambda: request.subjects.extend(_parse_numbers(name, numbers)))
    if points is not None:
        fields.collect(lambda: _add_points(request, points))
    if box is not None:
        fields.collect(lambda: request.box.CopyFrom(_parse_box(box)))
    return request


def _parse_numbers(field: str, text: str) -> list[int]:
    """`2`, `1,3` or `[1, 3]`."""
    inner = text.strip()
    if inner.startswith("[") and inner.endswith("]"):
        inner = inner[1:-1]
    parts = [part.strip() for part in inner.split(",")]
    if not all(_NUMBER.fullmatch(part) for part in parts) or len(parts) > MAX_SUBJECTS:
        raise InvalidField(field, f"Give at most {MAX_SUBJECTS} numbers from 1 on, such as 1,3.")
    return [int(part) for part in parts]


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
