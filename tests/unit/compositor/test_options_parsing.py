"""Options from the wire: defaults, and numbers that nobody meant."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matteworks.compositor.v1 import compositor_pb2 as pb
from matteworks_common.errors import MatteworksError
from matteworks_compositor.options.model import (
    Holes,
    OutputFormat,
    RenderOptions,
    ShadowChoice,
    ShadowType,
    SubjectType,
)
from matteworks_compositor.options.parsing import parse_options
from matteworks_imaging.box import Box, Size
from matteworks_imaging.region import Length, Region, Unit, resolve_region

T = TypeVar("T")


def test_an_empty_message_is_the_defaults() -> None:
    assert parse_options(pb.RenderOptions()) == RenderOptions()


def test_unspecified_format_is_auto() -> None:
    assert parse_options(pb.RenderOptions(format=pb.OUTPUT_FORMAT_UNSPECIFIED)).format is OutputFormat.AUTO


def test_scale_alone_puts_the_subject_in_the_middle() -> None:
    assert parse_options(pb.RenderOptions(scale_percent=50)).share_percent == (50, 50)


def test_scale_with_the_original_position_keeps_the_place() -> None:
    message = pb.RenderOptions(scale_percent=50, position=pb.Position(original=pb.Position.Original()))
    assert parse_options(message).share_percent is None


def test_without_scale_the_place_is_kept() -> None:
    assert parse_options(pb.RenderOptions()).share_percent is None


def test_semitransparency_is_on_unless_switched_off() -> None:
    assert parse_options(pb.RenderOptions()).semitransparency
    assert not parse_options(pb.RenderOptions(semitransparency=False)).semitransparency


def test_opacity_zero_is_not_the_default() -> None:
    message = pb.RenderOptions(
        shadows=[pb.Shadow(shadow_type=pb.SHADOW_TYPE_DROP, opacity_percent=0), pb.Shadow(subject_type=4)]
    )
    shadows = parse_options(message).shadows
    assert shadows[SubjectType.UNSPECIFIED] == ShadowChoice(ShadowType.DROP, 0)
    assert shadows[SubjectType.CAR] == ShadowChoice(ShadowType.NONE, None)


def test_the_entry_of_a_type_wins_over_the_one_for_all() -> None:
    drop, cast = ShadowChoice(ShadowType.DROP), ShadowChoice(ShadowType.THREE_D)
    options = RenderOptions(shadows={SubjectType.UNSPECIFIED: drop, SubjectType.PERSON: cast})
    assert options.shadow_for(SubjectType.PERSON) == cast
    assert options.shadow_for(SubjectType.UNSPECIFIED) == drop
    only_cars = RenderOptions(shadows={SubjectType.CAR: drop})
    assert only_cars.shadow_for(SubjectType.PERSON) is None


@given(
    st.floats(), st.floats(), st.floats(), st.integers(-(2**31), 2**31 - 1), st.integers(-(2**63), 2**63 - 1)
)
def test_any_numbers_give_options_or_a_named_refusal(
    scale: float, horizontal: float, percent: float, px: int, pixels: int
) -> None:
    message = pb.RenderOptions(
        max_pixel_count=pixels,
        scale_percent=scale,
        position=pb.Position(
            share=pb.Position.FreeRoomShare(horizontal_percent=horizontal, vertical_percent=0)
        ),
        crop=pb.Crop(margin_top=pb.Length(percent=percent), margin_left=pb.Length(px=px)),
        roi=pb.Region(
            left=pb.Length(px=px),
            top=pb.Length(percent=percent),
            right=pb.Length(px=px),
            bottom=pb.Length(percent=percent),
        ),
    )
    outcome = _outcome(lambda: parse_options(message))
    if isinstance(outcome, MatteworksError):
        assert outcome.field
    else:
        assert outcome.scale_percent is not None
        assert 10 <= outcome.scale_percent <= 100


lengths = st.one_of(
    st.builds(Length, st.integers(0, 2**31 - 1).map(float), st.just(Unit.PX)),
    st.builds(Length, st.floats(0, 100), st.just(Unit.PERCENT)),
)


@given(st.builds(Region, lengths, lengths, lengths, lengths), st.integers(1, 9000), st.integers(1, 9000))
def test_a_region_is_inside_the_picture_or_refused(region: Region, width: int, height: int) -> None:
    size = Size(width, height)
    outcome = _outcome(lambda: resolve_region(region, size))
    if isinstance(outcome, MatteworksError):
        assert outcome.reason_name in {"INVALID_ROI", "ROI_EXCEEDS_BOUNDS", "ROI_REGION_EMPTY"}
    else:
        assert outcome.is_inside(size)


def test_percents_of_a_region_are_rounded_to_the_nearest_pixel() -> None:
    percent = [Length(value, Unit.PERCENT) for value in (0.0, 10.0, 50.0, 100.0)]
    assert resolve_region(Region(*percent), Size(101, 15)) == Box(0, 2, 51, 13)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (30_000, 1)])
def test_the_whole_picture_as_a_region_is_the_whole_picture(width: int, height: int) -> None:
    zero, full = Length(0, Unit.PERCENT), Length(100, Unit.PERCENT)
    assert resolve_region(Region(zero, zero, full, full), Size(width, height)) == Box(0, 0, width, height)


def _outcome(run: Callable[[], T]) -> T | MatteworksError:
    """What `run` returns, or the error that it raises."""
    try:
        return run()
    except MatteworksError as error:
        return error


def test_holes_are_as_the_network_says_unless_asked() -> None:
    assert parse_options(pb.RenderOptions()).holes is Holes.AS_FOUND
    assert parse_options(pb.RenderOptions(holes=pb.HOLES_CLEAR)).holes is Holes.CLEAR
    with pytest.raises(MatteworksError, match="not known"):
        parse_options(pb.RenderOptions(holes=9))  # type: ignore[arg-type]
