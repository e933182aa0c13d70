"""model_input: the part of the picture where the subject may be, squeezed for the network."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from matteworks_compositor.pipeline.job import Job, State, made
from matteworks_compositor.resampling import resize
from matteworks_imaging.box import Size, scale_box_outwards

LARGEST_SIDE_PX = 1024

# What a network sees behind a picture that is partly transparent, and behind one that is bright.
LIGHT_BACKDROP, DARK_BACKDROP, BRIGHT_MEAN = 255, 64, 190


def apply(job: Job, state: State) -> None:
    """Reads `picture`, `file_alpha`; sets `model_input`. Skipped when the caller brought the matte.

    Each side is squeezed to 1024 px on its own, the aspect ratio is not kept; small pictures stay as
    they are. With a roi the network sees only the roi.
    """
    if job.brought_matte is not None:
        return
    box = (slice(None), slice(None))
    if job.roi is not None:
        box = scale_box_outwards(job.roi, job.picture.size, state.working_size).slices
    region = made(state.picture)[box]
    size = Size(min(region.shape[1], LARGEST_SIDE_PX), min(region.shape[0], LARGEST_SIDE_PX))
    squeezed = resize(region, size)
    if state.file_alpha is not None:
        squeezed = _on_backdrop(squeezed, resize(state.file_alpha[box], size))
    state.model_input = squeezed


def _on_backdrop(pixels: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    brightness = float(np.mean(cv2.mean(pixels, mask=cv2.inRange(alpha, 128, 255))[:3]))
    backdrop = DARK_BACKDROP if brightness > BRIGHT_MEAN else LIGHT_BACKDROP
    share = alpha.astype(np.float32)[..., None] / 255
    mixed: NDArray[np.uint8] = (pixels * share + backdrop * (1 - share) + 0.5).astype(np.uint8)
    return mixed
