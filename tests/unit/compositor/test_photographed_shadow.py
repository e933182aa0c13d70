"""The picture's own shadow: found where a backdrop is plain, and not found elsewhere."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from matteworks_common.stages import Stages
from matteworks_compositor.kernels.shadows.photographed import photographed_shadow
from matteworks_compositor.options.model import (
    Channels,
    Color,
    CropMargins,
    OutputFormat,
    RenderOptions,
    ShadowChoice,
    ShadowType,
    SubjectType,
)
from matteworks_compositor.pipeline.job import Job, State
from matteworks_compositor.pipeline.pipeline import Pipeline, build_steps
from matteworks_imaging.decoding import Decoder
from matteworks_imaging.encoding import encode_png
from matteworks_imaging.limits import admit_file
from tests.unit.compositor.test_shadow_step import NoSegmenter

Bytes8 = NDArray[np.uint8]
Floats = NDArray[np.float32]
HEIGHT, WIDTH = 400, 520
SUBJECT = (slice(120, 300), slice(180, 320))
WHITE, ORANGE, BLUE = (246.0, 246.0, 244.0), (232.0, 112.0, 48.0), (90.0, 130.0, 190.0)
ORIGINAL = {SubjectType.UNSPECIFIED: ShadowChoice(ShadowType.ORIGINAL)}


def matte() -> Bytes8:
    alpha = np.zeros((HEIGHT, WIDTH), np.uint8)
    alpha[SUBJECT] = 255
    return alpha


def backdrop(colour: tuple[float, float, float]) -> Floats:
    """A sweep that is lit from the upper left."""
    y, x = np.mgrid[0 : 1 : HEIGHT * 1j, 0 : 1 : WIDTH * 1j]
    light = (1 - 0.12 * x - 0.1 * y * y)[..., None]
    return np.asarray(np.array(colour) * light, np.float32)


def cast(darkness: float = 0.5) -> Floats:
    """A soft shadow to the right of the subject and below it."""
    shadow = np.zeros((HEIGHT, WIDTH), np.float32)
    cv2.ellipse(shadow, (290, 300), (130, 30), 0, 0, 360, (darkness,), -1)
    return np.asarray(cv2.GaussianBlur(shadow, (0, 0), 9), np.float32)


def photo(behind: Floats, shadow: Floats, noise: float = 2.0) -> Bytes8:
    """A striped subject before `behind`, which `shadow` darkens."""
    picture = behind * (1 - shadow[..., None])
    picture[SUBJECT] = (150, 40, 60)
    picture[SUBJECT][::9] = (220, 200, 60)
    grain = np.random.default_rng(3).normal(0, noise, picture.shape)
    return np.clip(np.rint(picture + grain), 0, 255).astype(np.uint8)


def darkness_of(rgb: Bytes8, alpha: Bytes8) -> Floats:
    """The found field at the size of the picture; 0 everywhere when there is none."""
    field = photographed_shadow(rgb, alpha)
    if field.is_empty:
        return np.zeros(alpha.shape, np.float32)
    assert (field.left, field.top, field.width, field.height) == (0, 0, WIDTH, HEIGHT)
    return np.asarray(cv2.resize(field.darkness, (WIDTH, HEIGHT)), np.float32)


@pytest.mark.parametrize("colour", [WHITE, ORANGE, BLUE])
def test_a_shadow_on_a_plain_backdrop_is_measured(colour: tuple[float, float, float]) -> None:
    shadow = cast()
    found = darkness_of(photo(backdrop(colour), shadow), matte())
    beside = cv2.dilate(matte(), np.ones((9, 9), np.uint8)) == 0
    assert np.abs(found - shadow)[beside & (shadow > 0.05)].mean() < 0.02
    assert found[beside & (shadow < 0.002)].mean() < 0.002


def test_it_goes_on_under_the_soft_edge_of_the_subject() -> None:
    found = darkness_of(photo(backdrop(WHITE), cast()), matte())
    # The last rows of the subject, above the darkest part of its shadow.
    assert found[297:300, 240:300].min() > 0.35


def test_a_backdrop_with_a_texture_has_none() -> None:
    rng = np.random.default_rng(5)
    texture = cv2.GaussianBlur(rng.normal(0, 160, (HEIGHT, WIDTH, 1)), (0, 0), 3)[..., None]
    assert photographed_shadow(photo(backdrop(BLUE) + texture, cast()), matte()).is_empty


def test_before_black_no_shadow_can_be_told() -> None:
    assert photographed_shadow(photo(backdrop((30.0, 30.0, 30.0)), cast()), matte()).is_empty


def test_without_a_shadow_nothing_is_found() -> None:
    assert photographed_shadow(photo(backdrop(WHITE), np.zeros_like(cast())), matte()).is_empty


def test_a_shadow_that_does_not_touch_the_subject_is_not_its_own() -> None:
    shadow = np.zeros((HEIGHT, WIDTH), np.float32)
    cv2.circle(shadow, (450, 60), 35, (0.5,), -1)
    assert photographed_shadow(photo(backdrop(WHITE), cv2.GaussianBlur(shadow, (0, 0), 3)), matte()).is_empty


def test_a_thing_of_another_colour_is_no_shadow() -> None:
    picture = photo(backdrop(WHITE), np.zeros_like(cast()))
    picture[200:300, 320:400] = (60, 140, 60)
    assert darkness_of(picture, matte())[200:300, 330:400].max() < 0.02


def test_a_picture_that_is_all_subject_has_none() -> None:
    everywhere = np.full((HEIGHT, WIDTH), 255, np.uint8)
    assert photographed_shadow(photo(backdrop(WHITE), cast()), everywhere).is_empty


async def rendered(picture: Bytes8, **options: object) -> tuple[Bytes8, State]:
    """The pixels of the cut-out (R G B A), through every step."""
    job = Job(
        request_id="test",
        picture=admit_file(encode_png(picture)),
        options=RenderOptions(format=OutputFormat.PNG, **options),  # type: ignore[arg-type]
        declared_type=SubjectType.PRODUCT,
        brought_matte=matte(),
    )
    with ThreadPoolExecutor(1) as executor:
        state = await Pipeline(build_steps(Decoder(), NoSegmenter()), executor).run(job, Stages())
    decoded = cv2.imdecode(np.frombuffer(state.encoded, np.uint8), cv2.IMREAD_UNCHANGED)
    return np.asarray(decoded if decoded.ndim == 2 else decoded[..., [2, 1, 0, 3][: decoded.shape[2]]]), state


async def test_over_its_old_backdrop_the_cut_out_is_the_picture_again() -> None:
    flat = np.broadcast_to(np.array(WHITE, np.float32), (HEIGHT, WIDTH, 3))
    picture = photo(flat, cast(), noise=1)
    result, _ = await rendered(picture, shadows=ORIGINAL, bg_color=Color(246, 246, 244))
    difference = np.abs(result[..., :3].astype(np.float32) - picture)
    assert difference.mean() < 1.5
    assert np.quantile(difference, 0.999) < 12
    without, _ = await rendered(picture, bg_color=Color(246, 246, 244))
    assert np.abs(without[..., :3].astype(np.float32) - picture).mean() > 3


async def test_a_crop_makes_room_for_it_and_opacity_weakens_it() -> None:
    picture = photo(backdrop(WHITE), cast())
    plain, _ = await rendered(picture, crop=CropMargins())
    kept, state = await rendered(picture, crop=CropMargins(), shadows=ORIGINAL)
    assert plain.shape[:2] == (180, 140)
    assert kept.shape[1] > 200
    assert state.plan is not None
    left_px, top_px = state.plan.subject.left_px, state.plan.subject.top_px
    below = kept[top_px + 190, left_px + 110]
    assert below[:3].tolist() == [0, 0, 0]
    assert below[3] == pytest.approx(255 * cast()[310, 290], abs=8)
    half = {SubjectType.UNSPECIFIED: ShadowChoice(ShadowType.ORIGINAL, 50)}
    weak, _ = await rendered(picture, shadows=half)
    strong, _ = await rendered(picture, shadows=ORIGINAL)
    assert weak[310, 290, 3] == pytest.approx(strong[310, 290, 3] / 2, abs=2)


async def test_only_the_named_type_keeps_its_shadow_and_the_bare_matte_has_none() -> None:
    picture = photo(backdrop(WHITE), cast())
    cars = {SubjectType.CAR: ShadowChoice(ShadowType.ORIGINAL)}
    assert (await rendered(picture, shadows=cars))[0][310, 290, 3] == 0
    alone, _ = await rendered(picture, shadows=ORIGINAL, channels=Channels.ALPHA)
    assert alone[310, 290] == 0
