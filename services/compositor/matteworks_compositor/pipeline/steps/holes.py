"""holes: what the subject encloses is filled, or opened where the background shows through."""

from __future__ import annotations

import numpy as np

from matteworks_compositor.kernels.holes import clear_holes, fill_holes
from matteworks_compositor.options.model import Holes
from matteworks_compositor.pipeline.job import Job, State, made


def apply(job: Job, state: State) -> None:
    """Reads `picture`; changes `alpha`. Skipped unless the caller asked, or when the file is the matte.

    Where the file itself is transparent nothing is filled.
    """
    holes = job.options.holes
    if holes is Holes.AS_FOUND or state.is_cut_out:
        return
    alpha = made(state.alpha)
    if holes is Holes.CLEAR:
        state.alpha = clear_holes(made(state.picture), alpha)
        return
    filled = fill_holes(alpha)
    if state.file_alpha is not None:
        filled = np.minimum(filled, np.maximum(alpha, state.file_alpha))
    state.alpha = filled
