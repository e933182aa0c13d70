"""Colours of CSS, in every notation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matteworks_common.errors import InvalidField
from matteworks_edge.fields.css_colors import parse_css_color


@pytest.mark.parametrize(
    ("text", "rgba"),
    [
        ("#ff0000", (255, 0, 0, 255)),
        ("FFFFFF", (255, 255, 255, 255)),
        ("#0f08", (0, 255, 0, 136)),
        ("RebeccaPurple", (102, 51, 153, 255)),
        ("rgb(1, 2, 3)", (1, 2, 3, 255)),
        ("rgb(1 2 3)", (1, 2, 3, 255)),
        ("RGB(100% 0% 50%)", (255, 0, 128, 255)),
        ("rgba(1,2,3,.5)", (1, 2, 3, 128)),
        ("rgb(1 2 3 / 50%)", (1, 2, 3, 128)),
        ("rgb(300, -5, 3)", (255, 0, 3, 255)),
        ("hsl(120, 100%, 50%)", (0, 255, 0, 255)),
        ("hsl(120deg 100% 25%)", (0, 128, 0, 255)),
        ("hsl(0.5turn 100% 50%)", (0, 255, 255, 255)),
        ("hsl(200grad 100% 50%)", (0, 255, 255, 255)),
        ("hsl(-120, 100%, 50%)", (0, 0, 255, 255)),
        ("hsla(0, 100%, 50%, 0.25)", (255, 0, 0, 64)),
        ("hsl(0 0 100)", (255, 255, 255, 255)),
    ],
)
def test_a_colour_in_every_notation(text: str, rgba: tuple[int, int, int, int]) -> None:
    color = parse_css_color(text)
    assert color is not None
    assert (color.red, color.green, color.blue, color.alpha) == rgba


@pytest.mark.parametrize("text", ["transparent", "#12345600", "rgba(1,2,3,0)", "hsl(1 2% 3% / 0%)"])
def test_no_alpha_is_no_background(text: str) -> None:
    assert parse_css_color(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "", "rgb()", "rgb(1,2)", "rgb(1,2,3,4,5)", "rgb(1 2 3 4)", "rgb(1%,2,3)", "hsl(a, 1%, 1%)",
        "lab(1 2 3)", "rgb(1,2,3", "url(x)", "rgb(1e9,2,3)", "rgb(\uff11,2,3)", "nosuchcolour", "#12345",
        "rgb(1 2 / 3 4)", "hsl(1rad2 1% 1%)",
    ],
)  # fmt: skip
def test_what_is_no_colour_is_refused(text: str) -> None:
    with pytest.raises(InvalidField) as raised:
        parse_css_color(text)
    assert raised.value.field == "bg_color"


@given(st.text(max_size=120) | st.from_regex(r"(rgb|hsl)a?\([-0-9., %/a-z]{0,40}\)", fullmatch=True))
def test_any_text_is_a_colour_or_refused(text: str) -> None:
    try:
        color = parse_css_color(text)
    except InvalidField:
        return
    if color is not None:
        assert all(0 <= level <= 255 for level in (color.red, color.green, color.blue, color.alpha))
