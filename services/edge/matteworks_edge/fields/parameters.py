"""The grammar of structured values: text as callers write it to typed values, or the parameter's error.

Every function takes text that is not empty, is total over strings, and raises InvalidField with the
reason of its own parameter. Digits are ASCII digits; signs, exponents and words like NaN are refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.common.v1 import image_pb2
from matteworks.compositor.v1 import compositor_pb2
from matteworks_common.errors import InvalidField, Reason
from matteworks_common.vocabulary import SUBJECT_TYPES
from matteworks_edge.fields.colors import parse_color

_LENGTH = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,6}))?(px|%)?")
_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)%?")
_RATIO = re.compile(r"([0-9]{1,5}) ?: ?([0-9]{1,5})")
_SEPARATOR = re.compile(r"[ \t,]+")

MAX_MARGIN_PERCENT: Final = 50
MAX_MARGIN_PX: Final = 500
# As the compositor has them.
MAX_RATIO_PART: Final = 10_000
MAX_RATIO: Final = 20

FORMATS: Final = {
    "auto": compositor_pb2.OUTPUT_FORMAT_AUTO,
    "png": compositor_pb2.OUTPUT_FORMAT_PNG,
    "jpg": compositor_pb2.OUTPUT_FORMAT_JPEG,
    "jpeg": compositor_pb2.OUTPUT_FORMAT_JPEG,
    "webp": compositor_pb2.OUTPUT_FORMAT_WEBP,
    "zip": compositor_pb2.OUTPUT_FORMAT_ZIP,
    # Ours; no provider has them.
    "avif": compositor_pb2.OUTPUT_FORMAT_AVIF,
    "webp_lossless": compositor_pb2.OUTPUT_FORMAT_WEBP_LOSSLESS,
}
CHANNELS: Final = {"rgba": compositor_pb2.CHANNELS_RGBA, "alpha": compositor_pb2.CHANNELS_ALPHA}
# The parameter says graphic, the detected class is called graphics; both are accepted.
# As callers write them: the type's own name, and `graphic` for `graphics`.
SUBJECT_WORDS: Final = {
    "auto": image_pb2.SUBJECT_TYPE_UNSPECIFIED,
    **SUBJECT_TYPES,
    "graphic": image_pb2.SUBJECT_TYPE_GRAPHICS,
}
TYPE_LEVELS: Final = ("none", "1", "2", "latest")
_BOOLEANS: Final = {
    "true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False,
}  # fmt: skip


def parse_boolean(field: str, text: str, reason: Reason = reasons.ERROR_REASON_INVALID_ARGUMENT) -> bool:
    """true/false, 1/0, yes/no, on/off, in any letter case."""
    value = _BOOLEANS.get(text.strip().lower())
    if value is None:
        raise InvalidField(field, f"Give true or false for {field}.", reason=reason)
    return value


def parse_whole_number(field: str, text: str, least: int, most: int) -> int:
    """A whole number within bounds."""
    digits = text.strip()
    if digits.isascii() and digits.isdecimal() and len(digits) < 10 and least <= int(digits) <= most:
        return int(digits)
    raise InvalidField(field, f"Give a whole number from {least} to {most} for {field}.")


def parse_length(field: str, text: str) -> compositor_pb2.Length:
    """A length in px, which is also meant without a unit, or in % from 0 to 100."""
    length = _length(text.strip().lower())
    if length is None:
        raise InvalidField(field, f"Give {field} in px, or in % from 0 to 100.")
    return length


def parse_ratio(text: str, field: str = "aspect_ratio") -> compositor_pb2.AspectRatio:
    """`W:H`, whole numbers from 1 to 10000, one at most 20 times the other."""
    match = _RATIO.fullmatch(text.strip())
    sides = (int(match[1]), int(match[2])) if match else (0, 0)
    if not min(sides):
        raise InvalidField(field, "Give two whole numbers above 0, such as 16:9.")
    if max(sides) > MAX_RATIO_PART or max(sides) > MAX_RATIO * min(sides):
        raise InvalidField(
            field, f"Give two numbers from 1 to {MAX_RATIO_PART}, one at most {MAX_RATIO} times the other."
        )
    return compositor_pb2.AspectRatio(width=sides[0], height=sides[1])


def parse_format(
    text: str, formats: Mapping[str, compositor_pb2.OutputFormat.ValueType] = FORMATS
) -> compositor_pb2.OutputFormat.ValueType:
    """A file type of the result, by one of the names in `formats`."""
    value = formats.get(text.strip().lower())
    if value is None:
        raise InvalidField(
            "format", f"Give one of {', '.join(formats)}.", reason=reasons.ERROR_REASON_INVALID_FORMAT
        )
    return value


def parse_channels(text: str) -> compositor_pb2.Channels.ValueType:
    """What the result holds."""
    value = CHANNELS.get(text.strip().lower())
    if value is None:
        raise InvalidField("channels", "Give rgba or alpha.", reason=reasons.ERROR_REASON_INVALID_CHANNELS)
    return value


def parse_subject_type(text: str) -> image_pb2.SubjectType.ValueType:
    """What the caller says the picture shows; an unknown word counts as auto, as clients expect."""
    return SUBJECT_WORDS.get(text.strip().lower(), image_pb2.SUBJECT_TYPE_UNSPECIFIED)


def parse_type_level(text: str) -> str:
    """How finely the type is told: none, 1, 2 or latest; an unknown word counts as 1."""
    value = text.strip().lower()
    return value if value in TYPE_LEVELS else "1"


def parse_roi(text: str) -> compositor_pb2.Region | None:
    """`x1 y1 x2 y2` in px or %; None when it is the whole picture. The picture's bounds are checked later."""
    remedy = "Give four values x1 y1 x2 y2, each in px or in % from 0 to 100."
    parts = _split(text)
    lengths = [_length(part) for part in parts]
    if len(lengths) != 4:
        raise InvalidField("roi", remedy, reason=reasons.ERROR_REASON_INVALID_ROI)
    left, top, right, bottom = lengths
    if left is None or top is None or right is None or bottom is None:
        raise InvalidField("roi", remedy, reason=reasons.ERROR_REASON_INVALID_ROI)
    if _is_zero(left) and _is_zero(top) and right.percent == 100 and bottom.percent == 100:
        return None
    return compositor_pb2.Region(left=left, top=top, right=right, bottom=bottom)


def parse_crop_margin(text: str) -> compositor_pb2.Crop:
    """One value for all sides, two for top/bottom and left/right, four for top, right, bottom, left."""
    lengths = [_length(part) for part in _split(text)]
    margins = [length for length in lengths if length is not None and _is_margin(length)]
    if len(lengths) not in (1, 2, 4) or len(margins) != len(lengths):
        raise InvalidField(
            "crop_margin",
            "Give 1, 2 or 4 values, each at most 50% or 500px.",
            reason=reasons.ERROR_REASON_INVALID_CROP_MARGIN,
        )
    top, right, bottom, left = (margins * (4 // len(margins)))[:4]
    return compositor_pb2.Crop(margin_top=top, margin_right=right, margin_bottom=bottom, margin_left=left)


def parse_scale(text: str) -> float | None:
    """Percent from 10 to 100; None for `original`."""
    value = text.strip().lower()
    if value == "original":
        return None
    percent = _percent(value)
    if percent is None or not 10 <= percent <= 100:
        raise InvalidField(
            "scale", "Give original, or 10% to 100%.", reason=reasons.ERROR_REASON_INVALID_SCALE
        )
    return percent


def parse_position(text: str) -> compositor_pb2.Position:
    """`original`, `center`, or one or two percentages: horizontal, vertical."""
    value = text.strip().lower()
    if value == "original":
        return compositor_pb2.Position(original=compositor_pb2.Position.Original())
    if value in ("center", "centre"):
        value = "50%"
    percents = [_percent(part) for part in _split(value)]
    shares = [percent for percent in percents if percent is not None and percent <= 100]
    if len(percents) not in (1, 2) or len(shares) != len(percents):
        raise InvalidField(
            "position",
            "Give original, center, or one or two values from 0% to 100%.",
            reason=reasons.ERROR_REASON_INVALID_POSITION,
        )
    share = compositor_pb2.Position.FreeRoomShare(horizontal_percent=shares[0], vertical_percent=shares[-1])
    return compositor_pb2.Position(share=share)


def parse_bg_color(text: str) -> compositor_pb2.Color | None:
    """A colour; None when it is fully transparent, which is the same as no background."""
    color = parse_color(text)
    if color is None:
        raise InvalidField(
            "bg_color",
            "Give 3, 4, 6 or 8 hexadecimal digits or a CSS colour name.",
            reason=reasons.ERROR_REASON_INVALID_BG_COLOR,
        )
    return color if color.alpha else None


def _split(text: str) -> list[str]:
    return _SEPARATOR.split(text.strip(" \t,").lower())


def _length(text: str) -> compositor_pb2.Length | None:
    """A length; without a unit it is in pixels. None when it does not parse or is above 100 %."""
    match = _LENGTH.fullmatch(text)
    if match is None:
        return None
    if match[3] == "%":
        percent = float(text[:-1])
        return compositor_pb2.Length(percent=percent) if percent <= 100 else None
    return None if match[2] else compositor_pb2.Length(px=int(match[1]))


def _percent(text: str) -> float | None:
    match = _PERCENT.fullmatch(text)
    return float(match[1]) if match else None


def _is_zero(length: compositor_pb2.Length) -> bool:
    return length.px == 0 and length.percent == 0


def _is_margin(length: compositor_pb2.Length) -> bool:
    return length.px <= MAX_MARGIN_PX and length.percent <= MAX_MARGIN_PERCENT
