"""plan: crop, margins, scale and position become one fixed geometry."""

from __future__ import annotations

from matteworks_compositor import output_rules
from matteworks_compositor.geometry import NO_MARGINS, Margins
from matteworks_compositor.job import Job, State, made


def apply(job: Job, state: State) -> None:
    """Reads `working_size`, `subject_box`, `foreground_box`, `shadow`; sets `plan`, `is_shrunk`."""
    state.plan = output_rules.plan(job, state.working_size, made(state.subject_box), _room_for_shadow(state))
    # The working copy may have been shrunk already; what was asked for is measured on the picture itself.
    asked = output_rules.plan(job, job.picture.size, made(state.foreground_box))
    state.is_shrunk = state.plan.is_limited or asked.is_limited


def _room_for_shadow(state: State) -> Margins:
    """What the visible part of the shadow needs around the subject's box, in working pixels."""
    if state.shadow is None:
        return NO_MARGINS
    subject = made(state.subject_box)
    left, top, right, bottom = state.shadow.visible_box(state.shadow_opacity_percent)
    return Margins(
        top_px=max(0, -top),
        right_px=max(0, right - subject.width_px),
        bottom_px=max(0, bottom - subject.height_px),
        left_px=max(0, -left),
    )
