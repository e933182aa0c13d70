"""From the wire to checked options. Every number is checked here, once; unknown values are refused."""

from __future__ import annotations

import math
from enum import IntEnum
from typing import TypeVar

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.common.v1 import image_pb2
from matteworks.compositor.v1 import compositor_pb2, edit_pb2
from matteworks_common.errors import InvalidField, Reason
from matteworks_compositor.options.model import (
    ZERO_LENGTH,
    Channels,
    Color,
    CropMargins,
    Holes,
    InputAlpha,
    OutputFormat,
    RenderOptions,
    ShadowChoice,
    ShadowType,
    SubjectType,
)
from matteworks_imaging.box import Size
from matteworks_imaging.region import Length, Region, Unit, invalid_region

__all__ = [
    "parse_aspect_ratio",
    "parse_choice",
    "parse_margins",
    "parse_options",
    "parse_percentage",
    "parse_region",
]

MAX_MARGIN_PX = 500
MAX_MARGIN_PERCENT = 50.0
MIN_SCALE_PERCENT = 10.0
# Levels between the strongest and the weakest channel from which light has a colour.
LEAST_CHROMA = 40
MAX_RATIO_PART = 10_000
MAX_RATIO = 20

Choice = TypeVar("Choice", bound=IntEnum)


def parse_options(message: compositor_pb2.RenderOptions) -> RenderOptions:
    """Check `message` and put it into our own words.

    Raises InvalidField with the reason of the first field that is wrong. The background picture is
    not part of it.
    """
    for name in ("max_pixel_count", "max_png_pixel_count"):
        if getattr(message, name) < 0:
            raise InvalidField(name, "Use 0 for no limit of your own, or the number of pixels.")
    has_position = message.HasField("position")
    return RenderOptions(
        max_pixel_count=message.max_pixel_count,
        format=parse_choice(
            "format", message.format, OutputFormat, OutputFormat.AUTO, reasons.ERROR_REASON_INVALID_FORMAT
        ),
        channels=parse_choice(
            "channels", message.channels, Channels, Channels.RGBA, reasons.ERROR_REASON_INVALID_CHANNELS
        ),
        roi=parse_region(message.roi) if message.HasField("roi") else None,
        crop=parse_margins(message.crop) if message.HasField("crop") else None,
        scale_percent=_parse_scale(message) if message.HasField("scale_percent") else None,
        is_position_original=has_position and message.position.WhichOneof("place") == "original",
        position_percent=_parse_position(message.position) if has_position else None,
        shadows=_parse_shadows(message),
        semitransparency=message.semitransparency if message.HasField("semitransparency") else True,
        bg_color=_parse_color(message.bg_color) if message.HasField("bg_color") else None,
        despill=message.despill,
        despill_color=_parse_despill_color(message) if message.HasField("despill_color") else None,
        despill_strength_percent=parse_percentage(message, "despill_strength_percent", 0, 100) or 0,
        max_png_pixel_count=message.max_png_pixel_count,
        encoding_quality=parse_percentage(message, "encoding_quality", 1, None),
        keep_metadata=message.keep_metadata,
        max_size=_parse_max_size(message.max_size) if message.HasField("max_size") else None,
        input_alpha=parse_choice("input_alpha", message.input_alpha, InputAlpha, InputAlpha.MULTIPLIED),
        holes=parse_choice("holes", message.holes, Holes, Holes.AS_FOUND),
    )


def _parse_max_size(message: image_pb2.Size) -> Size:
    if message.width_px < 1 or message.height_px < 1:
        raise InvalidField("max_size", "Give a width and a height of 1 pixel or more.")
    return Size(message.width_px, message.height_px)


def parse_choice(
    field: str,
    number: int,
    kind: type[Choice],
    default: Choice,
    reason: Reason = reasons.ERROR_REASON_INVALID_ARGUMENT,
) -> Choice:
    """The value of `kind` with this number; 0 is `default`. Raises InvalidField for unknown numbers."""
    if number == 0:
        return default
    try:
        return kind(number)
    except ValueError:
        raise InvalidField(field, "This value is not known.", reason=reason) from None


def parse_region(message: compositor_pb2.Region) -> Region:
    """Corners of a rectangle. Raises InvalidField (INVALID_ROI)."""

    def parse(name: str, length: compositor_pb2.Length) -> Length:
        parsed = _parse_length(length)
        if parsed is None or (parsed.unit is Unit.PERCENT and parsed.value > 100):
            raise invalid_region(f"Give {name} in pixels, or as a percentage from 0 to 100.")
        return parsed

    return Region(
        left=parse("left", message.left),
        top=parse("top", message.top),
        right=parse("right", message.right),
        bottom=parse("bottom", message.bottom),
    )


def parse_margins(message: compositor_pb2.Crop) -> CropMargins:
    """Room around the subject. Raises InvalidField (INVALID_CROP_MARGIN)."""

    def parse(name: str) -> Length:
        if not message.HasField(name):  # type: ignore[arg-type]
            return ZERO_LENGTH
        parsed = _parse_length(getattr(message, name))
        limit = MAX_MARGIN_PX if parsed and parsed.unit is Unit.PX else MAX_MARGIN_PERCENT
        if parsed is None or parsed.value > limit:
            raise InvalidField(
                f"crop.{name}",
                f"Give a margin from 0 to {MAX_MARGIN_PX} px or from 0 to {MAX_MARGIN_PERCENT:.0f} %.",
                reason=reasons.ERROR_REASON_INVALID_CROP_MARGIN,
            )
        return parsed

    return CropMargins(
        top=parse("margin_top"),
        right=parse("margin_right"),
        bottom=parse("margin_bottom"),
        left=parse("margin_left"),
        aspect_ratio=parse_aspect_ratio(message.aspect_ratio) if message.HasField("aspect_ratio") else None,
    )


def parse_aspect_ratio(message: compositor_pb2.AspectRatio) -> tuple[int, int]:
    """Width and height. Raises InvalidField for what is no ratio of a picture."""
    sides = (message.width, message.height)
    if not all(1 <= side <= MAX_RATIO_PART for side in sides) or max(sides) > MAX_RATIO * min(sides):
        raise InvalidField(
            "aspect_ratio",
            f"Give two numbers from 1 to {MAX_RATIO_PART}, one at most {MAX_RATIO} times the other.",
        )
    return sides


def _parse_length(message: compositor_pb2.Length) -> Length | None:
    """None when there is no value, or one that is negative or not finite."""
    unit = message.WhichOneof("value")
    if unit == "px":
        return Length(float(message.px), Unit.PX) if message.px >= 0 else None
    if unit == "percent" and math.isfinite(message.percent) and message.percent >= 0:
        return Length(message.percent, Unit.PERCENT)
    return None


def _parse_scale(message: compositor_pb2.RenderOptions) -> float:
    if not MIN_SCALE_PERCENT <= message.scale_percent <= 100:
        raise InvalidField(
            "scale_percent", "Give a scale from 10 to 100 percent.", reason=reasons.ERROR_REASON_INVALID_SCALE
        )
    return message.scale_percent


def _parse_position(message: compositor_pb2.Position) -> tuple[float, float] | None:
    if message.WhichOneof("place") != "share":
        return None
    share = (message.share.horizontal_percent, message.share.vertical_percent)
    if not all(0 <= percent <= 100 for percent in share):
        raise InvalidField(
            "position", "Give a position from 0 to 100 percent.", reason=reasons.ERROR_REASON_INVALID_POSITION
        )
    return share


def _parse_shadows(message: compositor_pb2.RenderOptions) -> dict[SubjectType, ShadowChoice]:
    shadows = {}
    for shadow in message.shadows:
        subject_type = parse_choice(
            "shadows.subject_type", shadow.subject_type, SubjectType, SubjectType.UNSPECIFIED
        )
        kind = parse_choice(
            "shadows.shadow_type",
            shadow.shadow_type,
            ShadowType,
            ShadowType.NONE,
            reasons.ERROR_REASON_INVALID_SHADOW_TYPE,
        )
        opacity = shadow.opacity_percent if shadow.HasField("opacity_percent") else None
        if opacity is not None and not 0 <= opacity <= 100:
            raise InvalidField(
                "shadows.opacity_percent",
                "Give an opacity from 0 to 100 percent.",
                reason=reasons.ERROR_REASON_INVALID_SHADOW_OPACITY,
            )
        shadows[subject_type] = ShadowChoice(kind, opacity)
    return shadows


def parse_percentage(
    message: compositor_pb2.RenderOptions | edit_pb2.EditOutput, name: str, least: int, default: int | None
) -> int | None:
    """The field `name`, `least` to 100; `default` when it is absent. Raises InvalidField."""
    if not message.HasField(name):  # type: ignore[arg-type]
        return default
    value: int = getattr(message, name)
    if not least <= value <= 100:
        raise InvalidField(name, f"Give a whole number from {least} to 100.")
    return value


def _parse_despill_color(message: compositor_pb2.RenderOptions) -> Color:
    color = _parse_color(message.despill_color, "despill_color", reasons.ERROR_REASON_INVALID_ARGUMENT)
    channels = (color.red, color.green, color.blue)
    if max(channels) - min(channels) < LEAST_CHROMA:
        raise InvalidField("despill_color", "Give a colour; grey light leaves no cast to take out.")
    return color


def _parse_color(
    message: compositor_pb2.Color,
    field: str = "bg_color",
    reason: Reason = reasons.ERROR_REASON_INVALID_BG_COLOR,
) -> Color:
    channels = (message.red, message.green, message.blue, message.alpha)
    if not all(0 <= value <= 255 for value in channels):
        raise InvalidField(field, "Give channels from 0 to 255.", reason=reason)
    return Color(*channels)
