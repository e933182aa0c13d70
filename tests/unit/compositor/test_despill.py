"""Coloured light goes, brightness stays, and what holds none of the light is not touched."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matteworks_compositor.kernels.despill import Light, light_of_colour, light_of_screen, take_out

LUMINANCE = np.array((0.2126, 0.7152, 0.0722))
LIGHTS = [
    (0, 255, 0),
    (0, 60, 255),
    (255, 20, 30),
    (255, 140, 0),
    (250, 240, 20),
    (200, 0, 220),
    (0, 200, 200),
]
channel = st.integers(0, 255)


def light(colour: tuple[int, int, int], strength: float = 1.0) -> Light:
    found = light_of_colour(colour, strength)
    assert found is not None
    return found


@pytest.mark.parametrize("colour", LIGHTS)
def test_a_grey_subject_in_coloured_light_becomes_grey(colour: tuple[int, int, int]) -> None:
    lit = np.full((20, 20, 3), 100.0) + 0.3 * (np.array(colour) - min(colour))
    clean = take_out(lit.round().astype(np.uint8), light(colour))
    assert np.ptp(clean.astype(int), axis=2).max() <= 2


@pytest.mark.parametrize("colour", LIGHTS)
def test_brightness_is_kept(colour: tuple[int, int, int]) -> None:
    noise = np.random.default_rng(1).integers(30, 180, (40, 40, 3), np.uint8)
    clean = take_out(noise, light(colour))
    assert np.abs(clean @ LUMINANCE - noise @ LUMINANCE).max() <= 1.5


@pytest.mark.parametrize("screen", [(0, 255, 0), (30, 180, 60)])
def test_pixels_in_which_the_screens_channel_does_not_lead_stay(screen: tuple[int, int, int]) -> None:
    skin = np.full((10, 10, 3), (210, 160, 140), np.uint8)
    assert (take_out(skin, light(screen)) == skin).all()
    found = light_of_screen(screen)
    assert found is not None
    assert (take_out(skin, found) == skin).all()


def test_half_the_strength_takes_out_half() -> None:
    lit = np.full((4, 4, 3), (100, 160, 100), np.uint8)
    leads = [
        int(np.ptp(take_out(lit, light((0, 255, 0), strength))[0, 0].astype(int)))
        for strength in (0.0, 0.5, 1.0)
    ]
    assert leads == [60, 30, 0]


def test_a_grey_background_casts_no_light() -> None:
    assert light_of_screen((120, 125, 118)) is None
    assert light_of_colour((9, 9, 9)) is None


@given(colour=st.tuples(channel, channel, channel), pixel=st.tuples(channel, channel, channel))
def test_no_light_leaves_more_colour_than_there_was(
    colour: tuple[int, int, int], pixel: tuple[int, int, int]
) -> None:
    found = light_of_colour(colour)
    if found is None:
        return
    before = np.full((1, 1, 3), pixel, np.uint8)
    after = take_out(before, found)
    assert np.ptp(after[0, 0].astype(int)) <= np.ptp(before[0, 0].astype(int)) + 2
