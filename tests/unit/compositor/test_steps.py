"""Each step alone: its guard, and the fields that its docstring names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from matteworks_common.errors import InvalidPicture
from matteworks_compositor.geometry import CanvasPlan
from matteworks_compositor.options.model import Channels, Color, CropMargins, OutputFormat, RenderOptions
from matteworks_compositor.options.rules import backdrop_color, output_limits
from matteworks_compositor.pipeline.job import Job, State, made
from matteworks_compositor.pipeline.steps import (
    background,
    brought_matte,
    canvas,
    colours,
    decode,
    encode,
    matte,
    model_input,
    place,
    plan,
    subject_box,
    working_copy,
    working_copy_of_crop,
)
from matteworks_imaging.box import Box, Size
from matteworks_imaging.decoding import Decoder
from matteworks_imaging.limits import admit_file
from matteworks_imaging.region import Length, Unit
from tests.component.compositor.pictures import encoded, gradient

BROUGHT = np.full((4, 4), 255, np.uint8)


def job(width: int = 200, height: int = 100, format_: str = "PNG", **fields: Any) -> Job:
    options = RenderOptions(**fields.pop("options", {}))
    picture = admit_file(encoded(gradient(width, height), format_))
    return Job(request_id="r", picture=picture, options=options, **fields)


def working(width: int = 200, height: int = 100, **fields: Any) -> State:
    size = Size(width, height)
    state = State(picture=gradient(width, height), working_size=size, search_box=Box(0, 0, width, height))
    for name, value in fields.items():
        setattr(state, name, value)
    return state


def solid(box: Box, width: int = 200, height: int = 100) -> np.ndarray:
    alpha = np.zeros((height, width), np.uint8)
    alpha[box.slices] = 255
    return alpha


def test_decode_shrinks_a_jpeg_only_as_far_as_the_result_and_the_model_need() -> None:
    for limit, expected in ((0, Size(2200, 2200)), (250_000, Size(1100, 1100))):
        state = State()
        decode.apply(Decoder(), job(2200, 2200, "JPEG", options={"max_pixel_count": limit}), state)
        assert state.working_size == expected


def test_decode_keeps_every_pixel_when_the_crop_is_not_known_yet() -> None:
    state = State()
    crop = {"max_pixel_count": 250_000, "crop": CropMargins()}
    decode.apply(Decoder(), job(2200, 2200, "JPEG", options=crop), state)
    assert state.working_size == Size(2200, 2200)


def test_decode_keeps_the_pixels_of_a_small_roi_for_the_model() -> None:
    state = State()
    asked = job(2200, 2200, "JPEG", options={"max_pixel_count": 100_000}, roi=Box(0, 0, 600, 600))
    decode.apply(Decoder(), asked, state)
    assert state.working_size == Size(2200, 2200)


def test_decode_clears_what_a_file_hides_below_alpha_zero() -> None:
    pixels = np.dstack((gradient(20, 10), np.zeros((10, 20), np.uint8)))
    pixels[:5, :, 3] = 200
    state = State()
    hidden = Job(request_id="r", picture=admit_file(encoded(pixels)), options=RenderOptions())
    decode.apply(Decoder(), hidden, state)
    assert not made(state.picture)[5:].any()
    assert made(state.picture)[:5].any()


def test_model_input_is_skipped_for_a_brought_matte() -> None:
    state = working()
    model_input.apply(job(brought_matte=BROUGHT), state)
    assert state.model_input is None


def test_model_input_of_a_roi_is_the_roi() -> None:
    state = working()
    model_input.apply(job(roi=Box(50, 20, 30, 40)), state)
    assert np.array_equal(made(state.model_input), gradient(200, 100)[20:60, 50:80])


def test_model_input_squeezes_each_side_on_its_own() -> None:
    state = working(3000, 900)
    model_input.apply(job(3000, 900), state)
    assert made(state.model_input).shape == (900, 1024, 3)


@pytest.mark.parametrize(("level", "backdrop"), [(30, 255), (250, 64)])
def test_a_transparent_picture_is_shown_to_the_network_on_a_contrasting_ground(
    level: int, backdrop: int
) -> None:
    file_alpha = solid(Box(50, 20, 60, 40))
    picture = np.where(file_alpha[..., None] > 0, level, 0).astype(np.uint8).repeat(3, axis=2)
    state = working(picture=picture, file_alpha=file_alpha)
    model_input.apply(job(), state)
    assert made(state.model_input)[0, 0].tolist() == [backdrop] * 3


def test_working_copy_is_as_large_as_the_result() -> None:
    state = working()
    working_copy.apply(job(options={"max_pixel_count": 5000}), state)
    assert state.working_size == Size(100, 50)
    assert made(state.picture).shape == (50, 100, 3)
    assert state.search_box == Box(0, 0, 100, 50)


def test_working_copy_waits_for_the_matte_when_cropping() -> None:
    state = working()
    working_copy.apply(job(options={"max_pixel_count": 5000, "crop": CropMargins()}), state)
    assert state.working_size == Size(200, 100)


def test_the_working_copy_of_a_crop_keeps_the_pixels_that_the_crop_can_show() -> None:
    state = working(matte=solid(Box(20, 20, 20, 20), 100, 100))
    # The subject is 40 × 20: 800 pixels, allowed are 200, so half of each side remains.
    working_copy_of_crop.apply(job(options={"max_pixel_count": 200, "crop": CropMargins()}), state)
    assert state.working_size == Size(100, 50)
    unlimited = working(matte=solid(Box(20, 20, 20, 20), 100, 100))
    working_copy_of_crop.apply(job(options={"max_pixel_count": 900, "crop": CropMargins()}), unlimited)
    assert unlimited.working_size == Size(200, 100)


def test_brought_matte_is_taken_as_it_is() -> None:
    state = working()
    brought_matte.apply(Decoder(), job(brought_matte=BROUGHT), state)
    assert state.matte is BROUGHT
    skipped = working()
    brought_matte.apply(Decoder(), job(), skipped)
    assert skipped.matte is None


def test_matte_is_empty_outside_the_search_box_and_where_the_file_is() -> None:
    file_alpha = np.full((100, 200), 255, np.uint8)
    file_alpha[:, 60:] = 0
    state = working(matte=BROUGHT, search_box=Box(50, 20, 30, 40), file_alpha=file_alpha)
    matte.apply(job(roi=Box(50, 20, 30, 40)), state)
    assert np.array_equal(made(state.alpha), solid(Box(50, 20, 10, 40)))


def test_matte_refuses_a_network_that_is_sure_of_nothing() -> None:
    with pytest.raises(InvalidPicture):
        matte.apply(job(), working(matte=np.full((9, 9), 127, np.uint8)))


def test_subject_box_ignores_what_cannot_be_seen_and_cuts_to_the_rest() -> None:
    alpha = solid(Box(50, 20, 30, 40))
    alpha[0, 0] = 7
    state = working(alpha=alpha)
    subject_box.apply(job(400, 200), state)
    assert state.subject_box == Box(50, 20, 30, 40)
    assert state.foreground_box == Box(100, 40, 60, 80)
    assert made(state.alpha).shape == (40, 30)
    assert np.array_equal(made(state.picture), gradient(200, 100)[20:60, 50:80])


def test_subject_box_refuses_an_empty_matte() -> None:
    with pytest.raises(InvalidPicture) as raised:
        subject_box.apply(job(), working(alpha=np.full((100, 200), 7, np.uint8)))
    assert raised.value.reason_name == "UNKNOWN_FOREGROUND"


def test_colours_are_zero_below_alpha_zero_and_untouched_where_it_is_full() -> None:
    alpha = solid(Box(50, 20, 30, 40))
    state = working(alpha=alpha)
    colours.apply(job(), state)
    result = made(state.colours)
    assert not result[alpha == 0].any()
    assert np.array_equal(result[alpha == 255], gradient(200, 100)[alpha == 255])
    assert state.picture is None


def test_colours_are_not_made_for_the_bare_matte() -> None:
    state = working(alpha=solid(Box(50, 20, 30, 40)))
    colours.apply(job(options={"channels": Channels.ALPHA}), state)
    assert state.colours is None


def test_despill_takes_the_old_backgrounds_green_from_the_subject() -> None:
    picture = np.empty((100, 200, 3), np.uint8)
    picture[:] = (20, 220, 30)
    alpha = solid(Box(50, 20, 100, 60))
    picture[alpha > 0] = (120, 150, 120)
    plain, cleaned = (
        working(picture=picture.copy(), alpha=alpha),
        working(picture=picture.copy(), alpha=alpha),
    )
    colours.apply(job(), plain)
    colours.apply(job(options={"despill": True}), cleaned)
    before, after = (made(state.colours)[50, 100].astype(int) for state in (plain, cleaned))
    assert before.tolist() == [120, 150, 120]
    assert after[1] - after[0] < before[1] - before[0]


def test_plan_tells_a_limit_on_the_picture_itself() -> None:
    shrunk = working(100, 50, subject_box=Box(10, 10, 20, 20), foreground_box=Box(20, 20, 40, 40))
    plan.apply(job(options={"max_pixel_count": 5000}), shrunk)
    assert shrunk.is_shrunk
    whole = working(subject_box=Box(10, 10, 20, 20), foreground_box=Box(10, 10, 20, 20))
    plan.apply(job(), whole)
    assert not whole.is_shrunk
    assert whole.plan == CanvasPlan(Size(200, 100), Box(10, 10, 20, 20))


def test_margins_in_pixels_are_pixels_of_the_source_picture() -> None:
    margins = CropMargins(top=Length(20, Unit.PX), left=Length(50, Unit.PERCENT))
    state = working(100, 50, subject_box=Box(10, 10, 20, 20), foreground_box=Box(20, 20, 40, 40))
    plan.apply(job(options={"crop": margins}), state)
    assert made(state.plan).subject == Box(10, 10, 20, 20)


def test_place_leaves_a_subject_of_the_right_size_alone() -> None:
    alpha, pixels = solid(Box(0, 0, 5, 5), 10, 10), gradient(10, 10)
    state = State(alpha=alpha, colours=pixels, plan=CanvasPlan(Size(20, 20), Box(3, 3, 10, 10)))
    place.apply(job(), state)
    assert state.alpha is alpha
    assert state.colours is pixels


@pytest.mark.parametrize("side", [20, 150])
def test_place_scales_without_mixing_darkness_into_the_edge(side: int) -> None:
    alpha = solid(Box(15, 15, 30, 30), 60, 60)
    pixels = np.where(alpha[..., None] > 0, 200, 0).astype(np.uint8).repeat(3, axis=2)
    state = State(alpha=alpha, colours=pixels, plan=CanvasPlan(Size(200, 200), Box(0, 0, side, side)))
    place.apply(job(), state)
    seen = made(state.alpha) > 0
    assert made(state.colours)[seen].min() >= 190
    assert not made(state.colours)[~seen].any()


def test_canvas_puts_the_subject_at_its_place_and_nothing_elsewhere() -> None:
    state = State(
        alpha=np.full((10, 10), 255, np.uint8),
        colours=gradient(10, 10),
        plan=CanvasPlan(Size(30, 20), Box(5, 6, 10, 10)),
    )
    canvas.apply(job(), state)
    result = made(state.canvas)
    assert result.shape == (20, 30, 4)
    assert np.array_equal(result[6:16, 5:15, :3], gradient(10, 10))
    assert np.array_equal(result[..., 3], solid(Box(5, 6, 10, 10), 30, 20))


def test_background_is_skipped_when_nothing_goes_behind() -> None:
    pixels = np.zeros((9, 9, 4), np.uint8)
    state = State(canvas=pixels)
    background.apply(Decoder(), job(), state)
    assert state.canvas is pixels


@pytest.mark.parametrize(
    ("picture", "shown", "expected"),
    [
        (Size(900, 200), Size(300, 200), Box(300, 0, 300, 200)),
        (Size(200, 900), Size(300, 200), Box(0, 383, 200, 133)),
        (Size(300, 200), Size(300, 200), Box(0, 0, 300, 200)),
        (Size(1, 1), Size(300, 200), Box(0, 0, 1, 1)),
    ],
)
def test_the_middle_of_a_background_is_shown(picture: Size, shown: Size, expected: Box) -> None:
    assert background.middle_box(picture, shown) == expected


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (np.zeros((4, 4, 4), np.uint8), OutputFormat.PNG),
        (np.full((4, 4, 4), 255, np.uint8), OutputFormat.JPEG),
        (np.zeros((4, 4, 3), np.uint8), OutputFormat.JPEG),
        (np.zeros((4, 4), np.uint8), OutputFormat.PNG),
    ],
)
def test_auto_is_a_png_only_where_something_is_transparent(
    pixels: np.ndarray, expected: OutputFormat
) -> None:
    state = State(canvas=pixels)
    encode.apply(1, job(), state)
    assert state.encoded_format is expected
    assert state.canvas is None


@pytest.mark.parametrize(
    ("options", "pixels", "side"),
    [
        ({"max_png_pixel_count": 0}, 50_000_000, 1_000_000),
        ({"max_png_pixel_count": 0, "format": OutputFormat.PNG, "max_pixel_count": 99}, 99, 1_000_000),
        ({}, 10_000_000, 1_000_000),
        ({"format": OutputFormat.PNG, "bg_color": Color(1, 2, 3)}, 10_000_000, 1_000_000),
        ({"bg_color": Color(1, 2, 3)}, 50_000_000, 65_500),
        ({"bg_color": Color(1, 2, 3, 254)}, 10_000_000, 1_000_000),
        ({"bg_color": Color(1, 2, 3), "channels": Channels.ALPHA}, 10_000_000, 1_000_000),
        ({"format": OutputFormat.WEBP}, 50_000_000, 16_383),
        ({"format": OutputFormat.WEBP_LOSSLESS}, 50_000_000, 16_383),
        ({"format": OutputFormat.AVIF}, 50_000_000, 16_384),
        ({"format": OutputFormat.GIF}, 50_000_000, 65_535),
        ({"format": OutputFormat.BMP}, 50_000_000, 1_000_000),
        ({"format": OutputFormat.TIFF}, 50_000_000, 1_000_000),
        ({"format": OutputFormat.ZIP, "max_pixel_count": 99}, 99, 65_500),
    ],
)
def test_limits_follow_the_format(options: dict[str, Any], pixels: int, side: int) -> None:
    limits = output_limits(job(options={"max_png_pixel_count": 10_000_000, **options}))
    assert (limits.max_pixel_count, limits.max_side_px) == (pixels, side)


def test_a_half_transparent_colour_in_a_jpeg_is_laid_over_white() -> None:
    asked = job(options={"format": OutputFormat.JPEG, "bg_color": Color(0, 100, 255, 51)})
    assert backdrop_color(asked) == Color(204, 224, 255)


def test_a_step_in_the_wrong_order_is_found() -> None:
    with pytest.raises(RuntimeError):
        canvas.apply(job(), State())
