"""The shadow on its way through the real pipeline: canvas, crop, scale, position, background."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from tools.drawn_subjects import DRAWN_SUBJECTS

from matteworks_common.stages import Stages
from matteworks_compositor.inference_client import Segmentation
from matteworks_compositor.options.model import (
    Channels,
    Color,
    CropMargins,
    OutputFormat,
    Quality,
    RenderOptions,
    ShadowChoice,
    ShadowType,
    SubjectType,
)
from matteworks_compositor.pipeline.job import Job, State, made
from matteworks_compositor.pipeline.pipeline import Pipeline, build_steps
from matteworks_imaging.box import Size
from matteworks_imaging.decoding import Decoder
from matteworks_imaging.encoding import encode_png
from matteworks_imaging.limits import admit_file
from matteworks_imaging.region import Length, Unit

Bytes8 = NDArray[np.uint8]
SIDE_PX = 320
DROP = {SubjectType.UNSPECIFIED: ShadowChoice(ShadowType.DROP)}
PNG = RenderOptions(format=OutputFormat.PNG)


class NoSegmenter:
    """Every job here brings its matte."""

    async def segment(
        self, pixels: Bytes8, *, source_size: Size, model: str, quality: Quality, subject_type: SubjectType
    ) -> Segmentation:
        raise AssertionError("a brought matte needs no inference")


class Studio:
    """Renders cut-outs through the pipeline."""

    def __init__(self, executor: ThreadPoolExecutor) -> None:
        self._pipeline = Pipeline(build_steps(Decoder(), NoSegmenter()), executor)

    async def render(
        self,
        options: RenderOptions,
        subject: str = "bottle",
        subject_type: SubjectType = SubjectType.PRODUCT,
        rgba: Bytes8 | None = None,
    ) -> tuple[Bytes8, State]:
        """The pixels of the result, and the state that the steps left."""
        job = Job(
            request_id="test",
            picture=admit_file(encode_png(DRAWN_SUBJECTS[subject](SIDE_PX) if rgba is None else rgba)),
            options=options,
            declared_type=subject_type,
            brought_matte=np.full((1, 1), 255, np.uint8),
        )
        state = await self._pipeline.run(job, Stages())
        decoded = cv2.imdecode(np.frombuffer(state.encoded, np.uint8), cv2.IMREAD_UNCHANGED)
        return np.asarray(decoded, np.uint8), state


@pytest.fixture
def studio() -> Iterator[Studio]:
    with ThreadPoolExecutor(1) as executor:
        yield Studio(executor)


async def test_without_a_crop_the_canvas_stays_as_large_as_the_picture(studio: Studio) -> None:
    pixels, _ = await studio.render(replace(PNG, shadows=DROP))
    assert pixels.shape == (SIDE_PX, SIDE_PX, 4)


async def test_the_subject_is_the_same_with_and_without_its_shadow(studio: Studio) -> None:
    plain, _ = await studio.render(PNG)
    shaded, _ = await studio.render(replace(PNG, shadows=DROP))
    opaque = plain[..., 3] == 255
    np.testing.assert_array_equal(shaded[opaque], plain[opaque])
    assert (shaded[..., 3] >= plain[..., 3]).all()
    assert (shaded[..., 3] > plain[..., 3]).any()


async def test_on_a_transparent_background_the_shadow_is_black_with_alpha(studio: Studio) -> None:
    plain, _ = await studio.render(PNG)
    shaded, _ = await studio.render(replace(PNG, shadows=DROP))
    only_shadow = (plain[..., 3] == 0) & (shaded[..., 3] > 0)
    assert only_shadow.any()
    assert (shaded[only_shadow][:, :3] == 0).all()


async def test_opacity_0_gives_the_bytes_of_no_shadow(studio: Studio) -> None:
    _, without = await studio.render(PNG)
    invisible = {SubjectType.UNSPECIFIED: ShadowChoice(ShadowType.DROP, 0)}
    _, shaded = await studio.render(replace(PNG, shadows=invisible))
    assert shaded.encoded == without.encoded


async def test_shadow_alpha_scales_with_opacity(studio: Studio) -> None:
    plain, _ = await studio.render(PNG)
    empty = plain[..., 3] == 0
    shades = {}
    for opacity_percent in (30, 60):
        choice = {SubjectType.UNSPECIFIED: ShadowChoice(ShadowType.DROP, opacity_percent)}
        pixels, _ = await studio.render(replace(PNG, shadows=choice))
        shades[opacity_percent] = pixels[empty][:, 3].astype(float)
    assert np.abs(shades[60] - 2 * shades[30]).max() <= 2.0


@pytest.mark.parametrize("kind", [ShadowType.DROP, ShadowType.THREE_D])
async def test_a_crop_widens_the_canvas_to_hold_the_whole_shadow(studio: Studio, kind: ShadowType) -> None:
    tight = replace(PNG, crop=CropMargins())
    plain, _ = await studio.render(tight)
    shaded, state = await studio.render(replace(tight, shadows={SubjectType.UNSPECIFIED: ShadowChoice(kind)}))
    assert shaded.shape[0] > plain.shape[0]
    assert shaded.shape[1] > plain.shape[1]
    frame = np.concatenate((shaded[0], shaded[-1], shaded[:, 0], shaded[:, -1]))
    top_row_is_subject = made(state.plan).subject.top_px == 0
    assert frame[shaded.shape[1] if top_row_is_subject else 0 :, 3].max() <= 4


async def test_a_crop_margin_that_is_wide_enough_is_kept_as_it_was_asked(studio: Studio) -> None:
    wide = Length(100.0, Unit.PX)
    cropped = replace(PNG, crop=CropMargins(wide, wide, wide, wide))
    plain, _ = await studio.render(cropped)
    shaded, _ = await studio.render(replace(cropped, shadows=DROP))
    assert shaded.shape == plain.shape


async def test_scale_and_position_place_the_subject_as_if_it_had_no_shadow(studio: Studio) -> None:
    placed = replace(PNG, scale_percent=50.0, position_percent=(20.0, 80.0))
    _, without = await studio.render(placed)
    _, shaded = await studio.render(replace(placed, shadows=DROP))
    assert made(shaded.plan).subject == made(without.plan).subject


async def test_the_shadow_is_scaled_with_the_subject(studio: Studio) -> None:
    plain, _ = await studio.render(replace(PNG, scale_percent=40.0))
    shaded, state = await studio.render(replace(PNG, scale_percent=40.0, shadows=DROP))
    shadow_rows = np.flatnonzero(((shaded[..., 3] > 8) & (plain[..., 3] == 0)).any(axis=1))
    subject = made(state.plan).subject
    assert subject.top_px < shadow_rows.min()
    assert shadow_rows.max() < subject.bottom_px + 0.2 * subject.height_px


async def test_a_background_shows_through_the_shadow_and_is_darkened(studio: Studio) -> None:
    colour = Color(200, 120, 40)
    plain, _ = await studio.render(replace(PNG, bg_color=colour))
    shaded, _ = await studio.render(replace(PNG, bg_color=colour, shadows=DROP))
    cutout, _ = await studio.render(PNG)
    empty = cutout[..., 3] == 0
    assert (shaded[empty] <= plain[empty]).all()
    below = shaded[round(0.885 * SIDE_PX), SIDE_PX // 2].astype(float)
    assert below[2] < 180
    # The hue stays: all channels lose the same share.
    np.testing.assert_allclose(below[::-1] / (200, 120, 40), below[2] / 200, atol=0.03)


async def test_the_bare_matte_has_no_shadow(studio: Studio) -> None:
    matte = replace(PNG, channels=Channels.ALPHA)
    _, without = await studio.render(matte)
    _, shaded = await studio.render(replace(matte, shadows=DROP))
    assert shaded.encoded == without.encoded


async def test_a_car_shadow_is_not_drawn_for_a_product(studio: Studio) -> None:
    choice = {SubjectType.UNSPECIFIED: ShadowChoice(ShadowType.CAR)}
    _, without = await studio.render(PNG)
    _, product = await studio.render(replace(PNG, shadows=choice))
    assert product.encoded == without.encoded


async def test_auto_draws_the_floor_under_a_car(studio: Studio) -> None:
    auto = {SubjectType.UNSPECIFIED: ShadowChoice(ShadowType.AUTO)}
    pixels, _ = await studio.render(replace(PNG, shadows=auto), "car", SubjectType.CAR)
    assert pixels[round(0.71 * SIDE_PX), SIDE_PX // 2, 3] > 120


async def test_a_subject_that_the_frame_cuts_off_gets_no_shadow(studio: Studio) -> None:
    bust = np.zeros((SIDE_PX, SIDE_PX, 4), np.uint8)
    bust[60:, 50:190] = (90, 120, 160, 255)
    _, without = await studio.render(PNG, rgba=bust)
    _, shaded = await studio.render(replace(PNG, shadows=DROP), rgba=bust)
    assert shaded.encoded == without.encoded
