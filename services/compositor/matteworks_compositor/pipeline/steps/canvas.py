"""canvas: the subject goes to its place on an empty canvas, its shadow below it."""

from __future__ import annotations

import cv2
import numpy as np

from matteworks_compositor.geometry import CanvasPlan
from matteworks_compositor.kernels.shadows.layer import lay_under
from matteworks_compositor.options.rules import is_matte_only
from matteworks_compositor.pipeline.job import Job, State, made


def apply(job: Job, state: State) -> None:
    """Reads `plan`; lets `alpha`, `colours` and `shadow` go; sets `canvas`: H×W for the bare matte, else
    H×W×4.
    """
    plan, alpha = made(state.plan), made(state.alpha)
    size, place = plan.canvas, plan.subject.slices
    if is_matte_only(job):
        state.canvas = np.zeros((size.height_px, size.width_px), np.uint8)
        state.canvas[place] = alpha
    else:
        state.canvas = np.zeros((size.height_px, size.width_px, 4), np.uint8)
        cv2.mixChannels([made(state.colours), alpha], [state.canvas[place]], [0, 0, 1, 1, 2, 2, 3, 3])
    state.alpha = state.colours = None
    _lay_shadow(state, plan)


def _lay_shadow(state: State, plan: CanvasPlan) -> None:
    if state.shadow is None or state.canvas is None or state.canvas.ndim == 2:
        return
    measured, placed = made(state.subject_box), plan.subject
    layer = state.shadow.rasterise(
        state.shadow_opacity_percent,
        canvas_width_px=plan.canvas.width_px,
        canvas_height_px=plan.canvas.height_px,
        origin_left=placed.left_px,
        origin_top=placed.top_px,
        scale_x=placed.width_px / measured.width_px,
        scale_y=placed.height_px / measured.height_px,
    )
    state.shadow = None
    lay_under(state.canvas, layer)
