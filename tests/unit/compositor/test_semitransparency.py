"""The semitransparency step: for cars, when asked, through the real pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from matteworks_compositor.options.model import Channels, OutputFormat, RenderOptions, SubjectType
from tests.unit.compositor.test_shadow_step import SIDE_PX, Studio

PNG = RenderOptions(format=OutputFormat.PNG)
WINDOW = (round(0.45 * SIDE_PX), round(0.42 * SIDE_PX))
DOOR = (round(0.6 * SIDE_PX), round(0.5 * SIDE_PX))


@pytest.fixture
def studio() -> Iterator[Studio]:
    with ThreadPoolExecutor(1) as executor:
        yield Studio(executor)


async def test_windows_of_a_car_are_partly_transparent_by_default(studio: Studio) -> None:
    pixels, _ = await studio.render(PNG, "car", SubjectType.CAR)
    assert 0.45 * 255 <= pixels[WINDOW][3] <= 0.67 * 255
    assert pixels[DOOR][3] == 255


async def test_switched_off_they_stay_opaque(studio: Studio) -> None:
    pixels, _ = await studio.render(replace(PNG, semitransparency=False), "car", SubjectType.CAR)
    assert pixels[WINDOW][3] == 255


@pytest.mark.parametrize("subject_type", [t for t in SubjectType if t is not SubjectType.CAR])
async def test_nothing_but_a_car_gets_windows(studio: Studio, subject_type: SubjectType) -> None:
    _, asked = await studio.render(PNG, "car", subject_type)
    _, refused = await studio.render(replace(PNG, semitransparency=False), "car", subject_type)
    assert asked.encoded == refused.encoded


async def test_a_car_whose_windows_are_not_found_is_left_unchanged(studio: Studio) -> None:
    _, asked = await studio.render(PNG, "ball", SubjectType.CAR)
    _, refused = await studio.render(replace(PNG, semitransparency=False), "ball", SubjectType.CAR)
    assert asked.encoded == refused.encoded


async def test_the_bare_matte_shows_the_windows_too(studio: Studio) -> None:
    """Matte and picture, put together elsewhere, must give what the finished cut-out shows."""
    matte, _ = await studio.render(replace(PNG, channels=Channels.ALPHA), "car", SubjectType.CAR)
    cutout, _ = await studio.render(PNG, "car", SubjectType.CAR)
    assert matte[WINDOW] == cutout[WINDOW][3] < 255


async def test_the_glass_keeps_a_dark_tint(studio: Studio) -> None:
    """The estimate of true colours must not take a window for a soft edge and fill it with paint."""
    pixels, _ = await studio.render(PNG, "car", SubjectType.CAR)
    assert pixels[WINDOW][:3].max() < 60
