"""place: the subject gets the size that the plan gives it."""

from __future__ import annotations

from matteworks_compositor.pipeline.job import Job, State, made
from matteworks_imaging.filters.colour_padding import blank_where_empty, pad_colours
from matteworks_imaging.resampling import array_size, resize


def apply(_job: Job, state: State) -> None:
    """Reads `plan`; changes `alpha` and `colours` to the size of its subject."""
    size, alpha = made(state.plan).subject.size, made(state.alpha)
    if array_size(alpha) == size:
        return
    state.alpha = resize(alpha, size)
    if state.colours is not None:
        state.colours = resize(pad_colours(state.colours, alpha), size)
        blank_where_empty(state.colours, state.alpha)
