"""Coloured light of the old background taken from the subject, its brightness kept.

A colour of light is a direction: how much of it each channel gets. A pixel holds as much of it as can go
without another hue in its place: after that no channel that the light feeds more lies below one that it
feeds less. For a green screen this is the classic green minus the larger of red and blue.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Light", "light_of_colour", "light_of_screen", "take_out"]

Bytes8 = NDArray[np.uint8]

# A background is a coloured screen when its strongest channel leads the next by this many levels.
SCREEN_LEAD = 40
# Share of each channel in what the eye takes for brightness (Rec. 709).
LUMINANCE = np.array((0.2126, 0.7152, 0.0722), np.float32)


@dataclass(frozen=True, slots=True)
class Light:
    """Channels from the most to the least fed; `middle` is what the second gets of the first, 0 to 1.

    The last gets nothing: what all three get is grey. `strength` is the share that is taken out.
    """

    order: tuple[int, int, int]
    middle: float
    strength: float = 1.0


def light_of_colour(colour: tuple[int, int, int], strength: float = 1.0) -> Light | None:
    """The light of an sRGB colour; None for grey, which casts none."""
    first, second, last = (int(channel) for channel in np.argsort(colour, stable=True)[::-1])
    span = colour[first] - colour[last]
    if span <= 0:
        return None
    return Light((first, second, last), (colour[second] - colour[last]) / span, strength)


def light_of_screen(colour: tuple[int, int, int], strength: float = 1.0) -> Light | None:
    """The light of a background of this mean colour: its one strong channel; None when it has none."""
    light = light_of_colour(colour, strength)
    if light is None or colour[light.order[0]] - colour[light.order[1]] < SCREEN_LEAD:
        return None
    return Light(light.order, 0.0, strength)


def take_out(picture: Bytes8, light: Light) -> Bytes8:
    """`picture` (H×W×3 sRGB) without `light`. Pixels that hold none of it stay as they are.

    The caller asks for it, since a subject of the light's colour fades too.
    """
    channels = [np.ascontiguousarray(picture[..., channel]) for channel in range(3)]
    most, middle, least = (channels[channel] for channel in light.order)
    if light.middle == 0:
        spill = np.asarray(cv2.subtract(most, cv2.max(middle, least)), np.float32)
    else:
        room = cv2.subtract(most, least).astype(np.float32)
        if light.middle < 1:
            room = np.minimum(room, cv2.subtract(most, middle).astype(np.float32) / (1 - light.middle))
        spill = np.minimum(room, cv2.subtract(middle, least).astype(np.float32) / light.middle)
    spill *= np.float32(light.strength)
    # Taking light out darkens; the same grey is added to all channels.
    first, second, _ = light.order
    grey = np.rint(spill * (LUMINANCE[first] + light.middle * LUMINANCE[second])).astype(np.uint8)
    channels[first] = np.asarray(cv2.subtract(most, np.rint(spill).astype(np.uint8)), np.uint8)
    if light.middle > 0:
        share = np.rint(spill * np.float32(light.middle)).astype(np.uint8)
        channels[second] = np.asarray(cv2.subtract(middle, share), np.uint8)
    return np.asarray(cv2.merge([cv2.add(channel, grey) for channel in channels]), np.uint8)
