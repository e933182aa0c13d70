"""decode: the file becomes upright sRGB pixels, once."""

from __future__ import annotations

from matteworks_compositor.options.model import InputAlpha
from matteworks_compositor.options.rules import output_limits
from matteworks_compositor.pipeline.job import Job, State
from matteworks_imaging.box import Size, fit_within
from matteworks_imaging.decoding import Decoder
from matteworks_imaging.filters.colour_padding import blank_where_empty
from matteworks_imaging.network_view import LARGEST_SIDE_PX

# A model input that is this much below the largest side saves a whole step of shrink-on-load.
ENOUGH_FOR_THE_MODEL = 15 / 16


def apply(decoder: Decoder, job: Job, state: State) -> None:
    """Sets `picture`, `file_alpha`, `is_cut_out`, `working_size`, and `metadata` when they are kept.

    The picture is as large as the file, or smaller where both the result and the model need less.
    """
    useful = smallest_useful_size(job)
    # Where the result alone decides, the picture is made exactly as large as the result needs it.
    is_exact = useful == result_size(job)
    decoded = decoder.decode(
        job.picture,
        useful,
        reduced_to=useful if is_exact else None,
        with_metadata=job.options.keep_metadata,
    )
    state.picture, state.file_alpha = decoded.pixels, decoded.alpha
    state.metadata = decoded.metadata
    state.working_size = decoded.size
    if job.options.input_alpha is InputAlpha.DISCARDED:
        state.file_alpha = None
    elif decoded.alpha is not None:
        state.is_cut_out = job.options.input_alpha is InputAlpha.IS_MATTE and job.brought_matte is None
        # What a file hides below alpha 0 must not leak into the result through a change of size.
        blank_where_empty(state.picture, decoded.alpha)


def smallest_useful_size(job: Job) -> Size:
    """The size below which the result or the model's input would suffer."""
    source = job.picture.size
    needed = result_size(job)
    if job.brought_matte is not None:
        return needed
    region = source if job.roi is None else job.roi.size
    return Size(
        max(needed.width_px, _model_side(source.width_px, region.width_px)),
        max(needed.height_px, _model_side(source.height_px, region.height_px)),
    )


def result_size(job: Job) -> Size:
    """The size at which the result needs the picture."""
    if job.options.crop is not None or job.options.scale_percent is not None:
        return job.picture.size  # How much of the picture the result shows is known only with the matte.
    limits = output_limits(job)
    return fit_within(
        job.picture.size, limits.max_pixel_count, limits.max_side_px, limits.max_shorter_side_px
    )


def _model_side(source_px: int, region_px: int) -> int:
    if region_px <= LARGEST_SIDE_PX:
        return source_px
    return -(-int(source_px * LARGEST_SIDE_PX * ENOUGH_FOR_THE_MODEL) // region_px)
