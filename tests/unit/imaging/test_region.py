"""One answer to which pixels a region covers, whoever asks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matteworks.compositor.v1 import compositor_pb2
from matteworks_common.errors import InvalidField
from matteworks_compositor.options.parsing import parse_options
from matteworks_imaging.box import Box, Size
from matteworks_imaging.region import Length, Region, Unit, resolve_region
from matteworks_removal.service import region_of

SIDES = st.integers(1, 300)
LENGTHS = st.one_of(
    st.integers(0, 320).map(lambda px: compositor_pb2.Length(px=px)),
    st.floats(0, 100).map(lambda percent: compositor_pb2.Length(percent=percent)),
    # Half pixels of common sizes: where ways of rounding differ.
    st.sampled_from([11.5, 12.5, 13.4, 0.5, 50.0]).map(
        lambda percent: compositor_pb2.Length(percent=percent)
    ),
)


def outcome(region: Region, picture: Size) -> Box | int:
    try:
        return resolve_region(region, picture)
    except InvalidField as error:
        return error.reason


@given(LENGTHS, LENGTHS, LENGTHS, LENGTHS, SIDES, SIDES)
def test_who_holds_credits_and_who_renders_agree(  # type: ignore[no-untyped-def]
    left, top, right, bottom, width_px: int, height_px: int
) -> None:
    wire = compositor_pb2.Region(left=left, top=top, right=right, bottom=bottom)
    rendered = parse_options(compositor_pb2.RenderOptions(roi=wire)).roi
    assert rendered is not None
    picture = Size(width_px, height_px)

    assert outcome(region_of(wire), picture) == outcome(rendered, picture)


@pytest.mark.parametrize(("near", "far", "width_px"), [(11.5, 12.5, 100), (12.5, 13.5, 100), (0.5, 1.5, 100)])
def test_halves_go_up_so_a_region_of_one_pixel_is_one_pixel(near: float, far: float, width_px: int) -> None:
    percent = [Length(value, Unit.PERCENT) for value in (near, 0, far, 100)]

    assert resolve_region(Region(*percent), Size(width_px, 10)).width_px == 1


def test_a_region_that_rounds_to_nothing_is_refused_before_credits_are_held() -> None:
    percent = [Length(value, Unit.PERCENT) for value in (12.5, 0, 13.4, 100)]

    with pytest.raises(InvalidField, match="at least one pixel"):
        resolve_region(Region(*percent), Size(100, 10))
