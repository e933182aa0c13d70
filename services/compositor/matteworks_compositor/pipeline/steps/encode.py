"""encode: the canvas becomes a file."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from matteworks_compositor.options.model import OutputFormat
from matteworks_compositor.pipeline.job import Job, State, made
from matteworks_imaging.encoding import encode_jpeg, encode_png, encode_webp, encode_zip


def apply(threads: int, job: Job, state: State) -> None:
    """Lets `canvas` go; sets `encoded`, `encoded_format`. Up to `threads` threads work on one picture.

    AUTO becomes PNG when a pixel is transparent or the result is the bare matte, else JPEG.
    """
    canvas, state.canvas = made(state.canvas), None
    format_ = job.options.format
    if format_ is OutputFormat.AUTO:
        format_ = OutputFormat.PNG if _needs_png(canvas) else OutputFormat.JPEG
        if format_ is OutputFormat.JPEG:
            canvas = canvas[..., :3]
    if format_ is OutputFormat.PNG:
        state.encoded = encode_png(canvas, threads)
    elif format_ is OutputFormat.JPEG:
        state.encoded = encode_jpeg(canvas)
    elif format_ is OutputFormat.WEBP:
        state.encoded = encode_webp(canvas)
    else:
        state.encoded = encode_zip(canvas, threads)
    state.encoded_format = format_


def _needs_png(canvas: NDArray[np.uint8]) -> bool:
    if canvas.ndim == 2:
        return True
    return canvas.shape[2] == 4 and int(canvas[..., 3].min()) < 255
