"""encode: the canvas becomes a file."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from matteworks_compositor.options.model import OutputFormat
from matteworks_compositor.pipeline.job import Job, State, made
from matteworks_imaging.encoding import (
    encode_avif,
    encode_bmp,
    encode_gif,
    encode_jpeg,
    encode_lossless_webp,
    encode_png,
    encode_tiff,
    encode_webp,
    encode_zip,
)
from matteworks_imaging.metadata import Metadata

Bytes8 = NDArray[np.uint8]


def apply(threads: int, job: Job, state: State) -> None:
    """Reads `metadata`; lets `canvas` go; sets `encoded`, `encoded_format`. Up to `threads` threads work
    on one picture.

    AUTO becomes PNG when a pixel is transparent or the result is the bare matte, else JPEG.
    """
    canvas, state.canvas = made(state.canvas), None
    format_ = job.options.format
    if format_ is OutputFormat.AUTO:
        format_ = OutputFormat.PNG if _needs_png(canvas) else OutputFormat.JPEG
        if format_ is OutputFormat.JPEG:
            canvas = canvas[..., :3]
    state.encoded = encode_as(format_, canvas, threads, job.options.encoding_quality, state.metadata)
    state.encoded_format = format_


def encode_as(
    format_: OutputFormat, canvas: Bytes8, threads: int, quality: int | None, metadata: Metadata | None
) -> bytes:
    """`canvas` as a file of `format_`, which is not AUTO; flat formats take no alpha."""
    match format_:
        case OutputFormat.PNG:
            return encode_png(canvas, threads, metadata)
        case OutputFormat.JPEG:
            return encode_jpeg(canvas, quality, metadata)
        case OutputFormat.WEBP:
            return encode_webp(canvas, quality, metadata)
        case OutputFormat.WEBP_LOSSLESS:
            return encode_lossless_webp(canvas, metadata)
        case OutputFormat.AVIF:
            return encode_avif(canvas, quality, metadata)
        case OutputFormat.TIFF:
            return encode_tiff(canvas, metadata)
        case OutputFormat.BMP:
            return encode_bmp(canvas)
        case OutputFormat.GIF:
            return encode_gif(canvas)
        case _:
            return encode_zip(canvas, threads, quality)


def _needs_png(canvas: Bytes8) -> bool:
    if canvas.ndim == 2:
        return True
    return canvas.shape[2] == 4 and int(canvas[..., 3].min()) < 255
