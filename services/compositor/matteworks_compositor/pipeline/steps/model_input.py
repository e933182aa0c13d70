"""model_input: the part of the picture where the subject may be, squeezed for the network."""

from __future__ import annotations

from matteworks_compositor.pipeline.job import Job, State, made
from matteworks_imaging.box import scale_box_outwards
from matteworks_imaging.network_view import network_view


def apply(job: Job, state: State) -> None:
    """Reads `picture`, `file_alpha`; sets `model_input`. Skipped when the caller or the file brought the
    matte.

    Each side is squeezed to 1024 px on its own, the aspect ratio is not kept; small pictures stay as
    they are. With a roi the network sees only the roi.
    """
    if job.brought_matte is not None or state.is_cut_out:
        return
    box = (slice(None), slice(None))
    if job.roi is not None:
        box = scale_box_outwards(job.roi, job.picture.size, state.working_size).slices
    region = made(state.picture)[box]
    alpha = None if state.file_alpha is None else state.file_alpha[box]
    state.model_input = network_view(region, alpha)
