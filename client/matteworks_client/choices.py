"""What a caller may choose, in plain Python, and its translation to the wire."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol, TypeAlias, TypedDict, TypeVar

from matteworks.common.v1 import image_pb2
from matteworks.compositor.v1 import compositor_pb2

# A file's bytes, or where it lies.
Picture: TypeAlias = bytes | Path
# Pixels as an int, or a share as text such as "12.5%".
Length: TypeAlias = int | str
Format: TypeAlias = Literal[
    "auto", "png", "jpeg", "webp", "zip", "webp_lossless", "avif", "tiff", "bmp", "gif"
]
Channels: TypeAlias = Literal["rgba", "alpha"]
QualityName: TypeAlias = Literal["fast", "balanced", "best"]
HolesName: TypeAlias = Literal["keep", "clear"]
ShadowName: TypeAlias = Literal["none", "auto", "drop", "three_d", "car", "original"]
SubjectName: TypeAlias = Literal[
    "person",
    "product",
    "animal",
    "car",
    "car_interior",
    "car_part",
    "transportation",
    "graphics",
    "other",
]


class RenderChoices(TypedDict, total=False):
    """Everything about the result; what is left out is as the service documents it.

    `max_pixels`: larger pictures are made smaller. `encoding_quality`: 1 to 100, of lossy formats.
    `keep_metadata`: EXIF data and resolution stay. `despill_color`: red, green, blue of the light that
    `despill` takes out, and `despill_strength_percent` how much of it. `roi`: left, top, right, bottom of
    where the subject is looked for. `crop`: cut off the empty border; `crop_margin` is the room left
    (top, right, bottom, left). `crop_aspect_ratio`: width to height; crops, and adds room on two sides.
    `holes`: "keep" fills what the subject encloses, "clear" opens it where the background shows through.
    `scale_percent`: 10 to 100 of the canvas. `position`: "original", or percents of the free room
    (horizontal, vertical). `bg_color`: red, green, blue and perhaps alpha, 0 to 255.
    """

    format: Format
    channels: Channels
    max_pixels: int
    roi: tuple[Length, Length, Length, Length]
    crop: bool
    crop_margin: tuple[Length, Length, Length, Length]
    crop_aspect_ratio: tuple[int, int]
    scale_percent: float
    position: Literal["original"] | tuple[float, float]
    shadow: ShadowName
    shadow_opacity_percent: int
    semitransparency: bool
    despill: bool
    despill_color: tuple[int, int, int]
    despill_strength_percent: int
    encoding_quality: int
    keep_metadata: bool
    holes: HolesName
    bg_color: tuple[int, int, int] | tuple[int, int, int, int]
    bg_image: Picture


V = TypeVar("V", covariant=True)


class EnumNames(Protocol[V]):
    """A generated enum: its names, prefix included, with their values."""

    def items(self) -> Sequence[tuple[str, V]]: ...


def picture_bytes(picture: Picture) -> bytes:
    """The file's bytes. Raises OSError."""
    return picture.read_bytes() if isinstance(picture, Path) else picture


def render_options(choices: RenderChoices) -> compositor_pb2.RenderOptions:
    """The message for `choices`. Raises ValueError for a word or a length that cannot be meant."""
    options = compositor_pb2.RenderOptions(
        max_pixel_count=choices.get("max_pixels", 0),
        format=enum_value(compositor_pb2.OutputFormat, "OUTPUT_FORMAT", choices.get("format")),
        channels=enum_value(compositor_pb2.Channels, "CHANNELS", choices.get("channels")),
        # Optional fields: None leaves them absent, which is not the same as zero.
        scale_percent=choices.get("scale_percent"),
        semitransparency=choices.get("semitransparency"),
        despill=choices.get("despill"),
        despill_strength_percent=choices.get("despill_strength_percent"),
        encoding_quality=choices.get("encoding_quality"),
        keep_metadata=choices.get("keep_metadata"),
        holes=enum_value(compositor_pb2.Holes, "HOLES", choices.get("holes")),
    )
    if "despill_color" in choices:
        red, green, blue = choices["despill_color"]
        options.despill_color.CopyFrom(compositor_pb2.Color(red=red, green=green, blue=blue, alpha=255))
    if "roi" in choices:
        left, top, right, bottom = map(length, choices["roi"])
        options.roi.CopyFrom(compositor_pb2.Region(left=left, top=top, right=right, bottom=bottom))
    if choices.get("crop") or "crop_aspect_ratio" in choices:
        options.crop.CopyFrom(_crop(choices))
    if "position" in choices:
        options.position.CopyFrom(_position(choices["position"]))
    if "shadow" in choices:
        options.shadows.append(
            compositor_pb2.Shadow(
                shadow_type=enum_value(compositor_pb2.ShadowType, "SHADOW_TYPE", choices["shadow"]),
                opacity_percent=choices.get("shadow_opacity_percent"),
            )
        )
    if "bg_color" in choices and "bg_image" in choices:
        raise ValueError("give bg_color or bg_image, not both")
    if "bg_color" in choices:
        red, green, blue, *alpha = choices["bg_color"]
        options.bg_color.CopyFrom(
            compositor_pb2.Color(red=red, green=green, blue=blue, alpha=alpha[0] if alpha else 255)
        )
    if "bg_image" in choices:
        options.bg_image = picture_bytes(choices["bg_image"])
    return options


def enum_value(kind: EnumNames[V], prefix: str, name: str | None) -> V:
    """The value that `name` (lower case, without the prefix) means; None: UNSPECIFIED."""
    values = dict(kind.items())
    full_name = f"{prefix}_{(name or 'unspecified').upper()}"
    if full_name not in values:
        known = ", ".join(value.removeprefix(f"{prefix}_").lower() for value in values)
        raise ValueError(f"{name!r} is none of: {known}")
    return values[full_name]


def subject_type(name: SubjectName | None) -> image_pb2.SubjectType.ValueType:
    """None: detected by the service."""
    return enum_value(image_pb2.SubjectType, "SUBJECT_TYPE", name)


def quality(name: QualityName | None) -> image_pb2.Quality.ValueType:
    """None: the service's own setting."""
    return enum_value(image_pb2.Quality, "QUALITY", name)


def _crop(choices: RenderChoices) -> compositor_pb2.Crop:
    crop = compositor_pb2.Crop()
    if "crop_margin" in choices:
        top, right, bottom, left = map(length, choices["crop_margin"])
        crop = compositor_pb2.Crop(margin_top=top, margin_right=right, margin_bottom=bottom, margin_left=left)
    if "crop_aspect_ratio" in choices:
        width, height = choices["crop_aspect_ratio"]
        crop.aspect_ratio.CopyFrom(compositor_pb2.AspectRatio(width=width, height=height))
    return crop


def _position(position: Literal["original"] | tuple[float, float]) -> compositor_pb2.Position:
    if isinstance(position, str):
        return compositor_pb2.Position(original=compositor_pb2.Position.Original())
    horizontal, vertical = position
    return compositor_pb2.Position(
        share=compositor_pb2.Position.FreeRoomShare(horizontal_percent=horizontal, vertical_percent=vertical)
    )


def length(value: Length) -> compositor_pb2.Length:
    """Pixels, or a share as text. Raises ValueError."""
    if isinstance(value, int):
        return compositor_pb2.Length(px=value)
    if not value.endswith("%"):
        raise ValueError(f"{value!r} is not a length; give pixels as a number, or a share such as '10%'")
    return compositor_pb2.Length(percent=float(value.removesuffix("%")))
