"""subject_box: finds where the subject is and forgets the rest of the picture."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from matteworks_compositor.pipeline.job import Job, State, made
from matteworks_compositor.pipeline.steps.matte import unknown_foreground
from matteworks_imaging.box import Box, scale_box_outwards

# Alpha below this, 3 %, is not seen: it neither belongs to the subject's box nor is kept outside it.
VISIBLE_ALPHA = 8
# A view keeps the whole picture in memory; a copy pays when it is this much smaller.
WORTH_COPYING = 0.7


def apply(job: Job, state: State) -> None:
    """Sets `subject_box`, `foreground_box`; cuts `picture`, `file_alpha`, `alpha` to the box.

    Raises InvalidPicture (UNKNOWN_FOREGROUND) when nothing is visible.
    """
    picture, alpha = made(state.picture), made(state.alpha)
    left_px, top_px, width_px, height_px = cv2.boundingRect(cv2.inRange(alpha, VISIBLE_ALPHA, 255))
    if width_px == 0:
        raise unknown_foreground()
    box = Box(left_px, top_px, width_px, height_px)
    state.subject_box = box
    state.foreground_box = scale_box_outwards(box, state.working_size, job.picture.size)
    is_worth_copying = box.size.pixel_count < WORTH_COPYING * state.working_size.pixel_count
    state.picture = _cut(picture, box, is_worth_copying)
    state.alpha = _cut(alpha, box, is_worth_copying)
    if state.file_alpha is not None:
        state.file_alpha = _cut(state.file_alpha, box, is_worth_copying)


def _cut(pixels: NDArray[np.uint8], box: Box, is_worth_copying: bool) -> NDArray[np.uint8]:
    cut = pixels[box.slices]
    return cut.copy() if is_worth_copying else cut
