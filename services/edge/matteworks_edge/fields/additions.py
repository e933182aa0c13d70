"""Options of a removal that no provider has: despill, holes, metadata, a crop's ratio, quality and model.

A caller who names none of them is answered as the provider answers. docs/options.md tells them to people.
"""

from __future__ import annotations

import re
from typing import Final

from matteworks.common.v1 import image_pb2
from matteworks.compositor.v1 import compositor_pb2
from matteworks_common.errors import InvalidField
from matteworks_edge.fields.colors import parse_color
from matteworks_edge.fields.parameters import parse_ratio, parse_whole_number
from matteworks_edge.fields.reader import Fields

__all__ = ["HOLES", "QUALITIES", "read_additions", "read_model", "read_quality"]

QUALITIES: Final = {
    "auto": image_pb2.QUALITY_UNSPECIFIED,
    "fast": image_pb2.QUALITY_FAST,
    "balanced": image_pb2.QUALITY_BALANCED,
    "best": image_pb2.QUALITY_BEST,
}
HOLES: Final = {"keep": compositor_pb2.HOLES_KEEP, "clear": compositor_pb2.HOLES_CLEAR}
# Light has a colour from this distance of its strongest from its weakest channel on, as the compositor says.
_LEAST_CHROMA: Final = 40
# More than the side of any picture.
MAX_SIDE_PX: Final = 65_535
_MODEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def read_additions(fields: Fields, options: compositor_pb2.RenderOptions) -> None:
    """Read into `options` what is about the result. What is wrong is kept in `fields`."""
    color = fields.read("despill_color", _parse_light, None)
    strength = fields.read("despill_strength", _parse_strength, None)
    # Who names the light, or how much of it, wants it out.
    if fields.boolean("despill", color is not None or strength is not None):
        options.despill = True
        if color is not None:
            options.despill_color.CopyFrom(color)
        if strength is not None:
            options.despill_strength_percent = strength
    options.holes = fields.read("holes", _parse_holes, compositor_pb2.HOLES_UNSPECIFIED)
    if fields.boolean("keep_metadata", False):
        options.keep_metadata = True
    max_side_px = fields.read(
        "max_side", lambda text: parse_whole_number("max_side", text, 1, MAX_SIDE_PX), None
    )
    if max_side_px is not None:
        options.max_size.CopyFrom(image_pb2.Size(width_px=max_side_px, height_px=max_side_px))
    ratio = fields.read("crop_aspect_ratio", lambda text: parse_ratio(text, "crop_aspect_ratio"), None)
    if ratio is not None:
        options.crop.aspect_ratio.CopyFrom(ratio)


def read_quality(fields: Fields) -> image_pb2.Quality.ValueType:
    """How much time the matte may cost; UNSPECIFIED: the server's setting."""
    return fields.read("quality", _parse_quality, image_pb2.QUALITY_UNSPECIFIED)


def read_model(fields: Fields) -> str:
    """The network that makes the matte; empty: chosen by subject and quality. Whether it is there, only the
    service knows that runs it.
    """
    return fields.read("model", _parse_model, "")


def _parse_light(text: str) -> compositor_pb2.Color:
    color = parse_color(text)
    if color is None or not color.alpha:
        raise InvalidField(
            "despill_color", "Give the light's colour: 3 or 6 hexadecimal digits or a CSS colour name."
        )
    channels = (color.red, color.green, color.blue)
    if max(channels) - min(channels) < _LEAST_CHROMA:
        raise InvalidField("despill_color", "Give a colour; grey light leaves no cast to take out.")
    return color


def _parse_strength(text: str) -> int:
    return parse_whole_number("despill_strength", text.strip().removesuffix("%"), 0, 100)


def _parse_holes(text: str) -> compositor_pb2.Holes.ValueType:
    value = HOLES.get(text.strip().lower())
    if value is None:
        raise InvalidField("holes", f"Give {' or '.join(HOLES)}.")
    return value


def _parse_quality(text: str) -> image_pb2.Quality.ValueType:
    value = QUALITIES.get(text.strip().lower())
    if value is None:
        raise InvalidField("quality", f"Give one of {', '.join(QUALITIES)}.")
    return value


def _parse_model(text: str) -> str:
    name = text.strip()
    if not _MODEL.fullmatch(name):
        raise InvalidField("model", "Give the name of one model, or auto.")
    return "" if name.lower() == "auto" else name
