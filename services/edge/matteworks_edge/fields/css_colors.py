"""Colours in any notation of CSS Color Module Level 4 that names sRGB: names, hexadecimal, rgb() and hsl().

Both the old form with commas and the new one with blanks and a slash are read. Total over strings.
"""

from __future__ import annotations

import colorsys
import re
from typing import Final

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.compositor.v1 import compositor_pb2
from matteworks_common.errors import InvalidField
from matteworks_edge.fields.colors import parse_color

_FUNCTION: Final = re.compile(r"(rgb|hsl)a?\(([^()]{1,100})\)")
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]{1,9}(?:\.[0-9]{1,9})?|\.[0-9]{1,9})")
# Degrees of a unit of an angle.
_ANGLES: Final = {"deg": 1.0, "grad": 0.9, "rad": 57.29577951308232, "turn": 360.0}


def parse_css_color(text: str) -> compositor_pb2.Color | None:
    """A colour; None when it is fully transparent, which is the same as no background.

    Raises InvalidField (INVALID_BG_COLOR).
    """
    color = parse_color(text) or _function(text.strip().lower())
    if color is None:
        raise InvalidField(
            "bg_color",
            "Give a CSS colour: a name, 3, 4, 6 or 8 hexadecimal digits, rgb(), rgba(), hsl() or hsla().",
            reason=reasons.ERROR_REASON_INVALID_BG_COLOR,
        )
    return color if color.alpha else None


def _function(text: str) -> compositor_pb2.Color | None:
    match = _FUNCTION.fullmatch(text)
    if match is None:
        return None
    parts = _arguments(match[2])
    if parts is None:
        return None
    *values, alpha_text = parts
    alpha = _share(alpha_text, 1.0)
    levels = _rgb(values) if match[1] == "rgb" else _hsl(values)
    if alpha is None or levels is None:
        return None
    red, green, blue = (round(level * 255) for level in levels)
    return compositor_pb2.Color(red=red, green=green, blue=blue, alpha=round(alpha * 255))


def _arguments(text: str) -> list[str] | None:
    """Three values and the alpha, `1` where it is left out."""
    if "," in text:
        parts = [part.strip() for part in text.split(",")]
    else:
        before, slash, after = text.partition("/")
        parts = [*before.split(), *([after.strip()] if slash else [])]
        if len(parts) != (4 if slash else 3):
            return None
    if len(parts) == 3:
        parts.append("1")
    return parts if len(parts) == 4 else None


def _rgb(values: list[str]) -> list[float] | None:
    if len({value.endswith("%") for value in values}) != 1:
        return None
    shares = [_share(value, 255.0) for value in values]
    return None if None in shares else [share for share in shares if share is not None]


def _hsl(values: list[str]) -> list[float] | None:
    hue = _degrees(values[0])
    # Without a sign of percent they mean the same.
    saturation, lightness = (_share(value, 100.0) for value in values[1:])
    if hue is None or saturation is None or lightness is None:
        return None
    return list(colorsys.hls_to_rgb(hue / 360 % 1, lightness, saturation))


def _degrees(text: str) -> float | None:
    for unit, degrees in sorted(_ANGLES.items(), key=lambda entry: -len(entry[0])):
        if text.endswith(unit):
            number = _number(text.removesuffix(unit))
            return None if number is None else number * degrees
    return _number(text)


def _share(text: str, whole: float) -> float | None:
    """0 to 1, cut off at both ends as CSS does."""
    number = _number(text.removesuffix("%"))
    if number is None:
        return None
    return min(1.0, max(0.0, number / (100.0 if text.endswith("%") else whole)))


def _number(text: str) -> float | None:
    return float(text) if _NUMBER.fullmatch(text) else None
