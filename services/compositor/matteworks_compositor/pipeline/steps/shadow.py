"""shadow: drawn before the canvas is planned, because a cropped canvas makes room for it; the step
`canvas` lays it under the subject once that is in its place."""

from __future__ import annotations

from dataclasses import replace

from matteworks_compositor.kernels.shadows.choice import draw_shadow, opacity_percent_for, resolve_kind
from matteworks_compositor.options.model import ShadowType
from matteworks_compositor.options.rules import is_matte_only
from matteworks_compositor.pipeline.job import Job, State, made


def apply(job: Job, state: State) -> None:
    """Reads `alpha`, `subject_box`, `search_box`, `subject_type`; sets `shadow`, `shadow_opacity_percent`.

    Of the picture's own shadow it only tells where it lies beside the subject's box. Skipped when no shadow
    is due to this type of subject, when it would be invisible, and for the bare matte, which is the subject's
    alone.
    """
    old, state.shadow = state.shadow, None
    choice = job.options.shadow_for(state.subject_type)
    kind = resolve_kind(choice, state.subject_type)
    if choice is None or kind is ShadowType.NONE or is_matte_only(job):
        return
    opacity_percent = opacity_percent_for(choice, state.subject_type)
    if opacity_percent == 0:
        return
    if kind is ShadowType.ORIGINAL:
        if old is not None and not old.is_empty:
            box = made(state.subject_box)
            state.shadow = replace(old, left=old.left - box.left_px, top=old.top - box.top_px)
            state.shadow_opacity_percent = float(opacity_percent)
        return
    # Below the searched region nothing is known: a subject that reaches its last row may go on.
    is_cut_below = made(state.subject_box).bottom_px >= state.search_box.bottom_px
    field = draw_shadow(kind, made(state.alpha), is_cut_below=is_cut_below)
    if not field.is_empty:
        state.shadow = field
        state.shadow_opacity_percent = float(opacity_percent)
