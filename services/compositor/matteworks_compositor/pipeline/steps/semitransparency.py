"""semitransparency: light passes through the windows of a car again."""

from __future__ import annotations

import numpy as np

from matteworks_compositor.kernels.car_glass import find_car_glass, let_light_through
from matteworks_compositor.options.model import SubjectType
from matteworks_compositor.pipeline.job import Job, State, made


def apply(job: Job, state: State) -> None:
    """Changes `picture`, `alpha` and `file_alpha` where windows were found with confidence.

    Skipped unless it is asked for (it is by default) and the subject is a car seen from outside. The
    windows get their final colours here and are marked in `file_alpha` as if the file had brought
    them partly transparent, so that `colours` does not take them for a soft edge.
    """
    if not job.options.semitransparency or state.subject_type is not SubjectType.CAR:
        return
    picture, alpha = made(state.picture), made(state.alpha)
    found = find_car_glass(picture, alpha)
    if not found.is_found:
        return
    state.picture, state.alpha = let_light_through(picture, alpha, found.glass)
    own = np.full(alpha.shape, 255, np.uint8) if state.file_alpha is None else state.file_alpha
    state.file_alpha = np.minimum(own, 255 - np.minimum(found.glass, np.uint8(254)))
