"""Fields of the brush: strokes as JSON, or a mask."""

from __future__ import annotations

import json
from typing import Final

from matteworks.compositor.v1 import edit_pb2
from matteworks_common.errors import InvalidField
from matteworks_edge.fields.reader import Fields

MAX_STROKES: Final = 1000
DEFAULT_RADIUS_PX: Final = 20.0
_KINDS: Final = {"erase": edit_pb2.STROKE_KIND_ERASE, "restore": edit_pb2.STROKE_KIND_KEEP}
_REMEDY: Final = 'Give a list such as [{"points": [[10, 20], [30, 40]], "radius": 20}].'


def read_mode(fields: Fields) -> edit_pb2.StrokeKind.ValueType:
    """`erase`, or `restore`: what was erased comes back."""
    return fields.read("mode", _parse_mode, edit_pb2.STROKE_KIND_ERASE)


def parse_strokes(text: str, kind: edit_pb2.StrokeKind.ValueType) -> list[edit_pb2.Stroke]:
    """JSON `[{"points": [[x, y], ...], "radius": 20}, ...]`, in pixels. Raises InvalidField."""
    try:
        drawn = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidField("strokes", _REMEDY) from error
    if not isinstance(drawn, list) or not 1 <= len(drawn) <= MAX_STROKES:
        raise InvalidField("strokes", f"Give 1 to {MAX_STROKES} strokes. {_REMEDY}")
    return [_stroke(entry, kind, f"strokes[{index}]") for index, entry in enumerate(drawn)]


def _stroke(entry: object, kind: edit_pb2.StrokeKind.ValueType, field: str) -> edit_pb2.Stroke:
    points = entry.get("points") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(points, list):
        raise InvalidField(field, _REMEDY)
    radius = entry.get("radius", DEFAULT_RADIUS_PX)
    return edit_pb2.Stroke(
        kind=kind,
        points=[_point(point, f"{field}.points") for point in points],
        radius_px=_number(radius, f"{field}.radius"),
    )


def _point(point: object, field: str) -> edit_pb2.Point:
    if not isinstance(point, list) or len(point) != 2:
        raise InvalidField(field, f"Give each point as [x, y]. {_REMEDY}")
    return edit_pb2.Point(x_px=_number(point[0], field), y_px=_number(point[1], field))


def _number(value: object, field: str) -> float:
    # No picture is that large, and no float of the wire holds more.
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1e6 < value < 1e6:
        raise InvalidField(field, f"Give numbers of pixels. {_REMEDY}")
    return float(value)


def _parse_mode(text: str) -> edit_pb2.StrokeKind.ValueType:
    kind = _KINDS.get(text.strip().lower())
    if kind is None:
        raise InvalidField("mode", "Give erase or restore.")
    return kind
