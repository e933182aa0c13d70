"""plan: crop, margins, scale and position become one fixed geometry."""

from __future__ import annotations

from matteworks_compositor.geometry import NO_MARGINS, Margins
from matteworks_compositor.options import rules
from matteworks_compositor.pipeline.job import Job, State, made
from matteworks_imaging.box import round_half_up


def apply(job: Job, state: State) -> None:
    """Reads `working_size`, `subject_box`, `foreground_box`, `shadow`; sets `plan`, `is_shrunk`.

    Without `scale` the canvas is measured in working pixels, so that the subject keeps them as they are.
    With it the working copy may be smaller than the canvas, as small as the scaled subject, and only the
    picture's own pixels tell how large the canvas must be.
    """
    room = _room_for_shadow(state)
    # What was asked for, measured on the picture itself: the working copy may have been shrunk already.
    asked = rules.plan(job, job.picture.size, made(state.foreground_box), _in_source_pixels(room, job, state))
    if job.options.scale_percent is None:
        state.plan = rules.plan(job, state.working_size, made(state.subject_box), room)
    else:
        state.plan = asked
    state.is_shrunk = state.plan.is_limited or asked.is_limited


def _in_source_pixels(room: Margins, job: Job, state: State) -> Margins:
    scale = job.picture.size.width_px / state.working_size.width_px
    return Margins(
        round_half_up(room.top_px * scale),
        round_half_up(room.right_px * scale),
        round_half_up(room.bottom_px * scale),
        round_half_up(room.left_px * scale),
    )


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
