"""brought_matte: the caller's own matte takes the place of the network's."""

from __future__ import annotations

from matteworks_compositor.pipeline.job import Job, State
from matteworks_imaging.decoding import Decoder
from matteworks_imaging.limits import PictureFile


def apply(decoder: Decoder, job: Job, state: State) -> None:
    """Sets `matte`. Skipped when the inference service made it."""
    if job.brought_matte is None:
        return
    if isinstance(job.brought_matte, PictureFile):
        state.matte = decoder.decode_matte(job.brought_matte)
    else:
        state.matte = job.brought_matte
