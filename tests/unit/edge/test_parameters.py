"""Structured values: typed, or refused with the parameter's own reason; never anything else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.compositor.v1 import compositor_pb2
from matteworks_common.errors import InvalidField
from matteworks_edge.fields import parameters
from matteworks_edge.fields.colors import CSS_COLORS, parse_color
from matteworks_imaging.box import Size
from matteworks_imaging.region import resolve_region
from matteworks_removal.service import region_of

PARSERS: dict[str, tuple[Callable[[str], object], int]] = {
    "roi": (parameters.parse_roi, reasons.ERROR_REASON_INVALID_ROI),
    "crop_margin": (parameters.parse_crop_margin, reasons.ERROR_REASON_INVALID_CROP_MARGIN),
    "scale": (parameters.parse_scale, reasons.ERROR_REASON_INVALID_SCALE),
    "position": (parameters.parse_position, reasons.ERROR_REASON_INVALID_POSITION),
    "bg_color": (parameters.parse_bg_color, reasons.ERROR_REASON_INVALID_BG_COLOR),
    "format": (parameters.parse_format, reasons.ERROR_REASON_INVALID_FORMAT),
    "channels": (parameters.parse_channels, reasons.ERROR_REASON_INVALID_CHANNELS),
}
NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.floats().map(str),
    st.sampled_from(["nan", "inf", "1e309", "\uff11", "2147483648", "0x10", "1_0", "+1", "-0"]),
)
VALUES = st.one_of(
    st.text(max_size=60),
    st.lists(st.tuples(NUMBERS, st.sampled_from(["", "px", "%", " ", "em"])).map("".join), max_size=6).map(
        " ".join
    ),
    st.text("0123456789% px,.", max_size=40),
)


@pytest.mark.parametrize("name", PARSERS)
@given(text=VALUES)
def test_any_text_is_a_value_or_the_parameters_own_error(name: str, text: str) -> None:
    parse, reason = PARSERS[name]
    try:
        parse(text)
    except InvalidField as error:
        found = (error.field, error.reason)
    else:
        return
    assert found == (name, reason)


@given(st.floats(0, 100), st.floats(0, 100))
def test_a_position_is_never_outside_the_canvas(horizontal: float, vertical: float) -> None:
    text = f"{horizontal:.3f}% {vertical:.3f}%"
    share = parameters.parse_position(text).share
    assert 0 <= share.horizontal_percent <= 100
    assert 0 <= share.vertical_percent <= 100


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 0 100% 100%", None),
        ("0% 0% 100% 100%", None),
        ("0px,0px,100%,100%", None),
        ("1 2 3 4", [("px", 1), ("px", 2), ("px", 3), ("px", 4)]),
        (" 1px, 2.5%  30% 4 ", [("px", 1), ("percent", 2.5), ("percent", 30), ("px", 4)]),
        ("1PX 2 3 4", [("px", 1), ("px", 2), ("px", 3), ("px", 4)]),
    ],
)
def test_a_region_is_read_with_and_without_units(text: str, expected: list[tuple[str, float]] | None) -> None:
    region = parameters.parse_roi(text)
    if expected is None:
        assert region is None
        return
    assert region is not None
    sides = (region.left, region.top, region.right, region.bottom)
    assert [(side.WhichOneof("value"), getattr(side, str(side.WhichOneof("value")))) for side in sides] == (
        expected
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0 0 100 50", None),
        ("50% 50% 100 50", None),
        ("0 0 101 50", reasons.ERROR_REASON_ROI_EXCEEDS_BOUNDS),
        ("0 51 10 52", reasons.ERROR_REASON_ROI_EXCEEDS_BOUNDS),
        ("60% 0 50 50", reasons.ERROR_REASON_INVALID_ROI),
        ("50 0 50% 50", reasons.ERROR_REASON_ROI_REGION_EMPTY),
        ("0 0 0.1% 50", reasons.ERROR_REASON_ROI_REGION_EMPTY),
    ],
)
def test_a_region_is_held_against_its_picture(text: str, reason: int | None) -> None:
    region = parameters.parse_roi(text)
    assert region is not None
    picture = Size(100, 50)
    if reason is None:
        resolve_region(region_of(region), picture)
        return
    with pytest.raises(InvalidField) as caught:
        resolve_region(region_of(region), picture)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("text", "sides"),
    [("5", (5, 5, 5, 5)), ("1 2", (1, 2, 1, 2)), ("1 2 3 4", (1, 2, 3, 4)), ("500px", (500,) * 4)],
)
def test_margins_are_given_in_the_order_of_css(text: str, sides: tuple[int, ...]) -> None:
    crop = parameters.parse_crop_margin(text)
    found = (crop.margin_top, crop.margin_right, crop.margin_bottom, crop.margin_left)
    assert tuple(side.px for side in found) == sides


@pytest.mark.parametrize(
    ("text", "percent"), [("original", None), ("10%", 10), ("100", 100), ("33.3%", 33.3)]
)
def test_scale(text: str, percent: float | None) -> None:
    assert parameters.parse_scale(text) == percent


@pytest.mark.parametrize("text", ["true", "TRUE", "1", " yes "])
def test_booleans_come_in_any_letter_case(text: str) -> None:
    assert parameters.parse_boolean("crop", text) is True


@pytest.mark.parametrize(
    ("text", "rgba"),
    [
        ("f00", (255, 0, 0, 255)),
        ("#F00", (255, 0, 0, 255)),
        ("f008", (255, 0, 0, 136)),
        ("81d4fa", (129, 212, 250, 255)),
        ("81d4fa77", (129, 212, 250, 119)),
        ("RebeccaPurple", (102, 51, 153, 255)),
        ("transparent", (0, 0, 0, 0)),
        ("00000000", (0, 0, 0, 0)),
    ],
)
def test_colours_are_read_as_clients_write_them(text: str, rgba: tuple[int, ...]) -> None:
    color = parse_color(text)
    assert color is not None
    assert (color.red, color.green, color.blue, color.alpha) == rgba


@pytest.mark.parametrize("text", ["", "#", "#red", "12345", "ff ff ff", "rgb(1,2,3)", "\uff46\uff46\uff46"])
def test_other_texts_are_no_colour(text: str) -> None:
    assert parse_color(text) is None


def test_all_named_colours_of_css_are_known() -> None:
    assert len(CSS_COLORS) == 148
    assert all(parse_color(name) is not None for name in CSS_COLORS)


def test_a_fully_transparent_colour_is_no_background() -> None:
    assert parameters.parse_bg_color("0f00") is None
    assert parameters.parse_bg_color("0f01") == compositor_pb2.Color(green=255, alpha=17)


@pytest.mark.parametrize("text", ["Car_Interior", "graphics", "graphic", "person"])
def test_known_types_are_told_apart(text: str) -> None:
    assert parameters.parse_subject_type(text) != 0


def test_unknown_types_count_as_auto() -> None:
    assert parameters.parse_subject_type("dragon") == 0
    assert parameters.parse_type_level("7") == "1"
