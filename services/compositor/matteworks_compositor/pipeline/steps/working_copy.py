"""working_copy: the picture at the size at which the result needs it, so that later steps do no more."""

from __future__ import annotations

from matteworks_compositor.pipeline.job import Job, State, made
from matteworks_compositor.pipeline.steps.decode import result_size
from matteworks_imaging.box import Box, Size, scale_box_outwards
from matteworks_imaging.filters.colour_padding import pad_colours
from matteworks_imaging.resampling import resize


def apply(job: Job, state: State) -> None:
    """Reads `model_input`; changes `picture`, `file_alpha`, `working_size`; sets `search_box`.

    With crop or scale the size is not known yet: `working_copy_of_crop` comes after the matte.
    """
    shrink_to(state, result_size(job))
    set_search_box(job, state)


def shrink_to(state: State, size: Size) -> None:
    """Make the working copy `size` small. Never enlarges."""
    picture = made(state.picture)
    if size.pixel_count >= state.working_size.pixel_count:
        return
    if state.file_alpha is not None:
        picture = pad_colours(picture, state.file_alpha)
        state.file_alpha = resize(state.file_alpha, size)
    state.picture = resize(picture, size)
    state.working_size = size


def set_search_box(job: Job, state: State) -> None:
    """Where the subject may be, in the pixels of the working copy as it is now."""
    whole = Box(0, 0, state.working_size.width_px, state.working_size.height_px)
    state.search_box = (
        whole if job.roi is None else scale_box_outwards(job.roi, job.picture.size, state.working_size)
    )
