"""working_copy_of_crop: as working_copy, for results whose scale follows from the subject's box."""

from __future__ import annotations

import cv2

from matteworks_compositor.options.rules import plan
from matteworks_compositor.pipeline.job import Job, State, made
from matteworks_compositor.pipeline.steps.subject_box import VISIBLE_ALPHA
from matteworks_compositor.pipeline.steps.working_copy import set_search_box, shrink_to
from matteworks_imaging.box import Box, Size, scale_box_outwards
from matteworks_imaging.resampling import array_size


def apply(job: Job, state: State) -> None:
    """Reads `matte`; changes `picture`, `file_alpha`, `working_size`, `search_box`.

    Skipped without crop and scale. The subject's box is read from the small matte, which is exact
    enough to decide how many pixels the result can show.
    """
    if job.options.crop is None and job.options.scale_percent is None:
        return
    matte = made(state.matte)
    rough = cv2.boundingRect(cv2.inRange(matte, VISIBLE_ALPHA, 255))
    if rough[2] == 0:
        return
    source = job.picture.size
    whole = Box(0, 0, source.width_px, source.height_px)
    is_whole = job.roi is None or job.brought_matte is not None or state.is_cut_out
    region = whole if is_whole or job.roi is None else job.roi
    inner = scale_box_outwards(Box(*rough), array_size(matte), region.size)
    subject = Box(
        region.left_px + inner.left_px, region.top_px + inner.top_px, inner.width_px, inner.height_px
    )
    wanted = plan(job, source, subject).subject
    factor = max(wanted.width_px / subject.width_px, wanted.height_px / subject.height_px)
    if factor >= 1:
        return
    shrink_to(state, Size(max(1, round(source.width_px * factor)), max(1, round(source.height_px * factor))))
    set_search_box(job, state)
