"""Geometry is exact, stays inside, and never divides by what a caller sent."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matteworks_compositor.geometry import CanvasPlan, Margins, Placement, plan_canvas
from matteworks_imaging.box import Box, Size, fit_within, round_half_up, scale_box_outwards

sides = st.integers(1, 30_000)
sizes = st.builds(Size, sides, sides)
percents = st.floats(0, 100)
NO_LIMIT = {"max_pixel_count": 10**12, "max_side_px": 10**6}


@st.composite
def boxes_in(draw: st.DrawFn, size: Size) -> Box:
    left = draw(st.integers(0, size.width_px - 1))
    top = draw(st.integers(0, size.height_px - 1))
    return Box(
        left, top, draw(st.integers(1, size.width_px - left)), draw(st.integers(1, size.height_px - top))
    )


@st.composite
def scenes(draw: st.DrawFn) -> tuple[Size, Box]:
    size = draw(sizes)
    return size, draw(boxes_in(size))


def whole(size: Size) -> Box:
    return Box(0, 0, size.width_px, size.height_px)


@pytest.mark.parametrize(("value", "expected"), [(0.5, 1), (1.5, 2), (2.4999, 2), (-0.5, 0), (-0.6, -1)])
def test_halves_are_rounded_up(value: float, expected: int) -> None:
    assert round_half_up(value) == expected


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_length_that_is_not_finite_is_an_error(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        round_half_up(value)
    with pytest.raises(ValueError, match="finite"):
        plan_canvas(Size(9, 9), Box(0, 0, 3, 3), Placement(scale_percent=value), **NO_LIMIT)
    with pytest.raises(ValueError, match="finite"):
        plan_canvas(Size(9, 9), Box(0, 0, 3, 3), Placement(share_percent=(50, value)), **NO_LIMIT)


@pytest.mark.parametrize(("width", "height"), [(0, 1), (1, 0), (-5, 5)])
def test_empty_sizes_and_boxes_cannot_be_made(width: int, height: int) -> None:
    with pytest.raises(ValueError, match="at least one pixel"):
        Size(width, height)
    with pytest.raises(ValueError, match="at least one pixel"):
        Box(0, 0, width, height)


@pytest.mark.parametrize(
    ("size", "limit", "expected"),
    [
        (Size(2000, 1000), 250_000, Size(707, 353)),
        (Size(500, 500), 250_000, Size(500, 500)),
        (Size(4000, 2500), 10_000_000, Size(4000, 2500)),
        (Size(3872, 2592), 10_000_000, Size(3865, 2587)),
        (Size(8660, 5773), 10_000_000, Size(3873, 2581)),
        (Size(1_000_000, 1), 1000, Size(1000, 1)),
        (Size(3, 3), 1, Size(1, 1)),
    ],
)
def test_known_sizes_fit_as_documented(size: Size, limit: int, expected: Size) -> None:
    assert fit_within(size, limit, 10**6) == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (Size(2400, 1600), Size(1620, 1080)),
        (Size(1600, 2400), Size(1080, 1620)),
        (Size(4000, 1000), Size(1920, 480)),
        (Size(1920, 1080), Size(1920, 1080)),
        (Size(300, 200), Size(300, 200)),
    ],
)
def test_a_box_bounds_both_sides_whichever_way_the_picture_lies(size: Size, expected: Size) -> None:
    assert fit_within(size, 50_000_000, 1920, 1080) == expected


@given(sizes, st.integers(1, 60_000_000), st.integers(1, 70_000))
def test_a_fitted_size_keeps_both_limits_and_never_grows(size: Size, pixels: int, side: int) -> None:
    fitted = fit_within(size, pixels, side)
    assert fitted.pixel_count <= pixels
    assert fitted.longer_side_px <= side
    assert fitted.width_px <= size.width_px
    assert fitted.height_px <= size.height_px


@given(sizes, st.integers(10_000, 60_000_000))
def test_a_fitted_size_keeps_the_aspect_ratio_to_a_pixel(size: Size, pixels: int) -> None:
    fitted = fit_within(size, pixels, 10**6)
    if fitted == size or min(fitted.width_px, fitted.height_px) == 1:
        return
    factor = math.sqrt(pixels / size.pixel_count)
    assert -1e-6 <= size.width_px * factor - fitted.width_px < 1 + 1e-6
    assert -1e-6 <= size.height_px * factor - fitted.height_px < 1 + 1e-6


@given(scenes(), sizes)
def test_a_box_carried_to_another_scale_stays_inside_and_covers_at_least_itself(
    scene: tuple[Size, Box], target: Size
) -> None:
    source, box = scene
    carried = scale_box_outwards(box, source, target)
    assert carried.is_inside(target)
    assert carried.left_px * source.width_px <= box.left_px * target.width_px
    assert carried.right_px * source.width_px >= box.right_px * target.width_px or (
        carried.right_px == target.width_px
    )
    assert scale_box_outwards(box, source, source) == box


@given(scenes())
def test_without_choices_the_subject_stays_exactly_where_it_was(scene: tuple[Size, Box]) -> None:
    size, box = scene
    assert plan_canvas(size, box, Placement(), **NO_LIMIT) == CanvasPlan(size, box)


@given(scenes())
def test_a_crop_without_margins_is_the_subjects_box(scene: tuple[Size, Box]) -> None:
    size, box = scene
    plan = plan_canvas(size, box, Placement(margins=Margins()), **NO_LIMIT)
    assert plan == CanvasPlan(box.size, whole(box.size))


@given(scenes(), st.tuples(*[st.integers(0, 500)] * 4))
def test_margins_are_exact(scene: tuple[Size, Box], margins: tuple[int, int, int, int]) -> None:
    size, box = scene
    top, right, bottom, left = margins
    plan = plan_canvas(size, box, Placement(margins=Margins(top, right, bottom, left)), **NO_LIMIT)
    assert plan.canvas == Size(box.width_px + left + right, box.height_px + top + bottom)
    assert plan.subject == Box(left, top, box.width_px, box.height_px)


@given(scenes(), st.integers(0, 400))
def test_room_for_a_shadow_widens_a_crop_only_where_the_margin_is_smaller(
    scene: tuple[Size, Box], room: int
) -> None:
    size, box = scene
    placement = Placement(margins=Margins(top_px=200))
    plan = plan_canvas(size, box, placement, room=Margins(top_px=room, bottom_px=room), **NO_LIMIT)
    assert plan.canvas.height_px == box.height_px + max(200, room) + room
    unchanged = plan_canvas(size, box, Placement(), room=Margins(room, room, room, room), **NO_LIMIT)
    assert unchanged.canvas == size


@given(
    scenes(),
    st.one_of(st.none(), st.builds(Margins, *[st.integers(0, 500)] * 4)),
    st.one_of(st.none(), st.floats(10, 100)),
    st.one_of(st.none(), st.tuples(percents, percents)),
    st.integers(1, 50_000_000),
)
def test_whatever_is_asked_the_subject_is_inside_and_the_canvas_within_its_limits(
    scene: tuple[Size, Box],
    margins: Margins | None,
    scale: float | None,
    share: tuple[float, float] | None,
    pixels: int,
) -> None:
    size, box = scene
    plan = plan_canvas(
        size, box, Placement(margins, scale, share), max_pixel_count=pixels, max_side_px=16_383
    )
    assert plan.subject.is_inside(plan.canvas)
    assert plan.canvas.pixel_count <= pixels
    assert plan.canvas.longer_side_px <= 16_383


@given(scenes(), st.floats(10, 100))
def test_a_scaled_subject_fills_its_share_of_one_side_and_no_more_of_the_other(
    scene: tuple[Size, Box], scale: float
) -> None:
    size, box = scene
    plan = plan_canvas(size, box, Placement(scale_percent=scale), **NO_LIMIT)
    wide = plan.subject.width_px - size.width_px * scale / 100
    high = plan.subject.height_px - size.height_px * scale / 100
    assert wide <= 1
    assert high <= 1
    assert abs(wide) <= 1 or abs(high) <= 1


@given(scenes(), st.tuples(percents, percents))
def test_the_free_room_is_shared_as_asked(scene: tuple[Size, Box], share: tuple[float, float]) -> None:
    size, box = scene
    plan = plan_canvas(size, box, Placement(share_percent=share), **NO_LIMIT)
    free_x = size.width_px - box.width_px
    assert abs(plan.subject.left_px - free_x * share[0] / 100) <= 0.5 + 1e-6
    if share[1] == 100:
        assert plan.subject.bottom_px == size.height_px


@given(scenes())
def test_a_scaled_subject_with_its_original_position_keeps_its_middle_where_that_fits(
    scene: tuple[Size, Box],
) -> None:
    size, box = scene
    plan = plan_canvas(size, box, Placement(scale_percent=10), **NO_LIMIT)
    middle = plan.subject.left_px + plan.subject.width_px / 2
    wanted = box.left_px + box.width_px / 2
    is_at_the_edge = plan.subject.left_px == 0 or plan.subject.right_px == size.width_px
    assert is_at_the_edge or abs(middle - wanted) <= 0.5
