"""background: a colour or a picture goes behind the subject and its shadow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from matteworks_compositor.kernels.flattening import flatten_onto, put_color_under
from matteworks_compositor.options.model import Color
from matteworks_compositor.options.rules import WHITE, backdrop_color, is_matte_only
from matteworks_compositor.pipeline.job import Job, State, made
from matteworks_imaging.box import Box, Size, round_half_up
from matteworks_imaging.decoding import Decoder
from matteworks_imaging.limits import PictureFile
from matteworks_imaging.resampling import array_size, resize

Bytes8 = NDArray[np.uint8]


def apply(decoder: Decoder, job: Job, state: State) -> None:
    """Changes `canvas`: H×W×3 on an opaque background, H×W×4 on a partly transparent colour.

    Skipped when nothing goes behind the subject. A background picture is centred and fills the canvas,
    its aspect ratio kept; transparent parts of it are white.
    """
    if is_matte_only(job):
        return
    canvas, color = made(state.canvas), backdrop_color(job)
    size = array_size(canvas)
    if job.background is not None:
        state.canvas = flatten_onto(_fill_with_picture(decoder, job.background, size), canvas)
    elif color is not None and color.alpha == 255:
        state.canvas = flatten_onto(_fill_with_color(color, size), canvas)
    elif color is not None:
        put_color_under(canvas, color)


def _fill_with_color(color: Color, size: Size) -> Bytes8:
    canvas = np.empty((size.height_px, size.width_px, 3), np.uint8)
    canvas[0] = (color.red, color.green, color.blue)
    canvas[1:] = canvas[0]
    return canvas


def _fill_with_picture(decoder: Decoder, file: PictureFile, size: Size) -> Bytes8:
    """The picture of `file`, its middle cut to the canvas's aspect ratio, at `size`."""
    scale = max(size.width_px / file.size.width_px, size.height_px / file.size.height_px)
    covering = Size(
        max(size.width_px, round_half_up(file.size.width_px * scale)),
        max(size.height_px, round_half_up(file.size.height_px * scale)),
    )
    decoded = decoder.decode(file, covering)
    pixels = decoded.pixels
    if decoded.alpha is not None:
        rgba = np.dstack((pixels, decoded.alpha))
        pixels = flatten_onto(_fill_with_color(WHITE, decoded.size), rgba)
    middle = middle_box(array_size(pixels), size)
    filled = resize(pixels[middle.slices], size)
    return filled if filled.flags.writeable and filled.flags.c_contiguous else filled.copy()


def middle_box(picture: Size, canvas: Size) -> Box:
    """The largest box in the middle of `picture` with the aspect ratio of `canvas`."""
    scale = min(picture.width_px / canvas.width_px, picture.height_px / canvas.height_px)
    width_px = min(picture.width_px, max(1, round_half_up(canvas.width_px * scale)))
    height_px = min(picture.height_px, max(1, round_half_up(canvas.height_px * scale)))
    return Box((picture.width_px - width_px) // 2, (picture.height_px - height_px) // 2, width_px, height_px)
