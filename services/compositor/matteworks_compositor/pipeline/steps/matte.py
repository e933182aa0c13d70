"""matte: the small matte comes to the size of the working copy, along the picture's own edges."""

from __future__ import annotations

import cv2
import numpy as np

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.errors import InvalidPicture
from matteworks_compositor.kernels.matte_upsampling import upsample_matte
from matteworks_compositor.pipeline.job import Job, State, made

# A network that is sure of nothing has found nothing.
SURE_ALPHA = 128


def apply(job: Job, state: State) -> None:
    """Reads `picture`, `file_alpha`, `search_box`; lets `matte` and `model_input` go; sets `alpha`.

    Outside the search box alpha is 0. Where the file is transparent, so is the result. Raises
    InvalidPicture (UNKNOWN_FOREGROUND) when the network found nothing.
    """
    picture, matte = made(state.picture), made(state.matte)
    # What the network saw explains its matte best. Of a file with alpha it saw a backdrop too.
    guide = state.model_input if state.file_alpha is None else None
    state.model_input = None
    box = state.search_box.slices
    is_everywhere = state.search_box.size == state.working_size
    if job.brought_matte is not None or state.is_cut_out:
        # A file's own is changed in size with the picture.
        alpha = made(state.file_alpha).copy() if state.is_cut_out else upsample_matte(picture, matte)
        if not is_everywhere:
            inside = alpha[box].copy()
            alpha[:] = 0
            alpha[box] = inside
    elif int(matte.max(initial=0)) < SURE_ALPHA:
        raise unknown_foreground()
    elif is_everywhere:
        alpha = upsample_matte(picture, matte, guide)
    else:
        alpha = np.zeros(picture.shape[:2], np.uint8)
        alpha[box] = upsample_matte(picture[box], matte, guide)
    if state.file_alpha is not None and not state.is_cut_out:
        cv2.multiply(alpha, state.file_alpha, alpha, scale=1 / 255)
    state.matte, state.alpha = None, alpha


def unknown_foreground() -> InvalidPicture:
    """What is raised when there is nothing to cut out."""
    return InvalidPicture(
        reasons.ERROR_REASON_UNKNOWN_FOREGROUND,
        "No foreground was found. Send a picture whose subject stands out from its background.",
        field="image",
    )
