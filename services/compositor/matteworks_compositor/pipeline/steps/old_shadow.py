"""old_shadow: the picture's own shadow is measured while all of the picture is there."""

from __future__ import annotations

from matteworks_compositor.kernels.shadows.photographed import photographed_shadow
from matteworks_compositor.options.model import ShadowType
from matteworks_compositor.options.rules import is_matte_only
from matteworks_compositor.pipeline.job import Job, State, made


def apply(job: Job, state: State) -> None:
    """Reads `picture`, `alpha`; sets `shadow`, in pixels of the working copy until the step `shadow`.

    Skipped unless the caller asked for this type of subject, for files with alpha, whose backdrop is gone
    already, and for the bare matte.
    """
    choice = job.options.shadow_for(state.subject_type)
    if choice is None or choice.kind is not ShadowType.ORIGINAL or is_matte_only(job):
        return
    if state.file_alpha is None:
        state.shadow = photographed_shadow(made(state.picture), made(state.alpha))
