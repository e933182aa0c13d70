"""Every choice about the result, in this service's own words: frozen, checked, free of the wire."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from matteworks_imaging.box import Size
from matteworks_imaging.region import Length, Region, Unit

__all__ = [
    "Channels",
    "Color",
    "CropMargins",
    "Holes",
    "InputAlpha",
    "OutputFormat",
    "Quality",
    "RenderOptions",
    "ShadowChoice",
    "ShadowType",
    "SubjectType",
]


class SubjectType(IntEnum):
    """What a subject is; numbers as in `matteworks.common.v1.SubjectType`."""

    UNSPECIFIED = 0
    PERSON = 1
    PRODUCT = 2
    ANIMAL = 3
    CAR = 4
    CAR_INTERIOR = 5
    CAR_PART = 6
    TRANSPORTATION = 7
    GRAPHICS = 8
    OTHER = 9


class Quality(IntEnum):
    """How much time a matte may cost; numbers as in `matteworks.common.v1.Quality`."""

    UNSPECIFIED = 0
    FAST = 1
    BALANCED = 2
    BEST = 3


class OutputFormat(IntEnum):
    """File type of the result; numbers as in `matteworks.compositor.v1.OutputFormat`."""

    AUTO = 1
    PNG = 2
    JPEG = 3
    WEBP = 4
    ZIP = 5
    WEBP_LOSSLESS = 6
    AVIF = 7
    TIFF = 8
    BMP = 9
    GIF = 10

    @property
    def is_flat(self) -> bool:
        """Whether it cannot hold partly transparent pixels."""
        return self in (OutputFormat.JPEG, OutputFormat.BMP, OutputFormat.GIF)


class Channels(IntEnum):
    """What a result holds; numbers as in `matteworks.compositor.v1.Channels`."""

    RGBA = 1
    ALPHA = 2


class InputAlpha(IntEnum):
    """What becomes of a file's own alpha; numbers as in `matteworks.compositor.v1.InputAlpha`."""

    MULTIPLIED = 1
    IS_MATTE = 2
    DISCARDED = 3


class Holes(IntEnum):
    """What becomes of enclosed regions; numbers as in `matteworks.compositor.v1.Holes`."""

    AS_FOUND = 0
    KEEP = 1
    CLEAR = 2


class ShadowType(IntEnum):
    """Kinds of shadow; numbers as in `matteworks.compositor.v1.ShadowType`."""

    NONE = 1
    AUTO = 2
    DROP = 3
    THREE_D = 4
    CAR = 5
    ORIGINAL = 6


ZERO_LENGTH = Length(0.0, Unit.PX)


@dataclass(frozen=True, slots=True)
class CropMargins:
    """Room around the subject's box; percents are of its width (left, right) and height (top, bottom).

    `aspect_ratio`: width and height of what is cut out, by more room on two sides; None: as it comes.
    """

    top: Length = ZERO_LENGTH
    right: Length = ZERO_LENGTH
    bottom: Length = ZERO_LENGTH
    left: Length = ZERO_LENGTH
    aspect_ratio: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Color:
    """An sRGB colour, straight alpha, each 0 to 255."""

    red: int
    green: int
    blue: int
    alpha: int = 255


@dataclass(frozen=True, slots=True)
class ShadowChoice:
    """A shadow. `opacity_percent` None: 100 for the original one, else 90 for cars and 50 for others."""

    kind: ShadowType
    opacity_percent: int | None = None


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """The zero value is a PNG or JPEG of the picture's own size, nothing behind the subject.

    `max_pixel_count` 0: as many as the format allows. `position_percent` None with
    `is_position_original`: where the subject was; None without: the default, which is the original
    place, or the centre when `scale_percent` is given. `shadows`: by subject type, UNSPECIFIED for all
    that have no entry of their own. `bg_color` None or alpha 0: nothing behind.
    `max_png_pixel_count` 0: a PNG has no limit of its own. `encoding_quality` 1 to 100, None: the format's
    own. `despill_color` None: the light of the old background. `max_size`: a box that the result fits into,
    turned to its orientation.
    """

    max_pixel_count: int = 0
    format: OutputFormat = OutputFormat.AUTO
    channels: Channels = Channels.RGBA
    roi: Region | None = None
    crop: CropMargins | None = None
    scale_percent: float | None = None
    is_position_original: bool = False
    position_percent: tuple[float, float] | None = None
    shadows: Mapping[SubjectType, ShadowChoice] = field(default_factory=dict)
    semitransparency: bool = True
    bg_color: Color | None = None
    despill: bool = False
    despill_color: Color | None = None
    despill_strength_percent: int = 100
    max_png_pixel_count: int = 0
    encoding_quality: int | None = None
    keep_metadata: bool = False
    max_size: Size | None = None
    input_alpha: InputAlpha = InputAlpha.MULTIPLIED
    holes: Holes = Holes.AS_FOUND

    @property
    def share_percent(self) -> tuple[float, float] | None:
        """Share of the free room left of and above the subject; None: the subject keeps its place."""
        if self.position_percent is not None or self.is_position_original:
            return self.position_percent
        return (50.0, 50.0) if self.scale_percent is not None else None

    def shadow_for(self, subject_type: SubjectType) -> ShadowChoice | None:
        """The shadow that a subject of this type gets; None: no shadow was asked for it.

        The entry of the type itself wins over the one for all.
        """
        effective = SubjectType.OTHER if subject_type is SubjectType.UNSPECIFIED else subject_type
        return self.shadows.get(effective, self.shadows.get(SubjectType.UNSPECIFIED))
