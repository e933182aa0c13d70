"""colours: the subject's own colours at its soft edge, without the old background."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from matteworks_compositor.kernels.despill import Light, light_of_colour, light_of_screen, take_out
from matteworks_compositor.kernels.foreground_colours import estimate_foreground
from matteworks_compositor.options.rules import is_matte_only
from matteworks_compositor.pipeline.job import Job, State, made

Bytes8 = NDArray[np.uint8]

# Despilling works in floating point; strips bound its memory.
STRIP_ROWS = 256


def apply(job: Job, state: State) -> None:
    """Reads `alpha`; lets `picture` and `file_alpha` go; sets `colours`. Skipped for the bare matte.

    Where alpha is 0 the colours are 0: a removed background cannot be brought back from the result.
    """
    picture, alpha, file_alpha = made(state.picture), made(state.alpha), state.file_alpha
    state.picture, state.file_alpha = None, None
    if is_matte_only(job):
        return
    # A partly transparent pixel of the file has the subject's own colour already, and so has glass.
    colours = estimate_foreground(picture, alpha, settled=file_alpha)
    if job.options.despill and job.options.despill_strength_percent:
        light = _light(job, picture, alpha)
        if light is not None:
            for start in range(0, colours.shape[0], STRIP_ROWS):
                rows = slice(start, start + STRIP_ROWS)
                colours[rows] = take_out(colours[rows], light)
    state.colours = colours


def _light(job: Job, picture: Bytes8, alpha: Bytes8) -> Light | None:
    strength = job.options.despill_strength_percent / 100
    asked = job.options.despill_color
    if asked is not None:
        return light_of_colour((asked.red, asked.green, asked.blue), strength)
    outside = cv2.inRange(alpha, 0, 0)
    if not cv2.countNonZero(outside):
        return None
    red, green, blue = (round(value) for value in cv2.mean(picture, mask=outside)[:3])
    return light_of_screen((red, green, blue), strength)
