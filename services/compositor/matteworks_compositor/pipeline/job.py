"""One call on its way through the pipeline: what was asked, and what has been made of it so far.

The request is frozen. The state is small, and each step's docstring names the fields that it touches.
All pixels are numpy uint8, sRGB, straight alpha, rows from top to bottom, channels R G B.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from matteworks_compositor.geometry import CanvasPlan
from matteworks_compositor.inference_client import Segmentation
from matteworks_compositor.options.model import OutputFormat, Quality, RenderOptions, SubjectType
from matteworks_imaging.box import Box, Size
from matteworks_imaging.limits import PictureFile
from matteworks_imaging.metadata import Metadata

if TYPE_CHECKING:
    from matteworks_compositor.kernels.shadows.layer import ShadowField

__all__ = ["Job", "State", "made"]

Bytes8 = NDArray[np.uint8]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Job:
    """One request, checked. Nothing changes it.

    `declared_type` is what the caller said of the subject, OTHER or UNSPECIFIED included.
    `brought_matte` is the caller's own matte (any size, stretched over the whole picture); None: the
    inference service is asked, with `model` (empty: its choice) and `quality`.
    `known` is what the network said of the same picture and roi a moment ago; it is not asked again.
    `roi` is the part of the picture, in its own pixels, where the subject may be; None: all of it.
    """

    request_id: str
    picture: PictureFile
    options: RenderOptions
    declared_type: SubjectType = SubjectType.UNSPECIFIED
    model: str = ""
    quality: Quality = Quality.UNSPECIFIED
    brought_matte: Bytes8 | PictureFile | None = None
    known: Segmentation | None = None
    background: PictureFile | None = None
    roi: Box | None = None


@dataclass(slots=True)
class State:
    """What the steps have made so far. None: not made yet, or made and no longer needed.

    Sizes and boxes are in *working pixels* unless they say otherwise: the pixels of the copy that the
    pipeline works on, which is the picture itself or, when the result will be smaller, a shrunken copy.
    """

    # After decode: H×W×3, the working copy. After subject_box: only the subject's box of it.
    picture: Bytes8 | None = None
    # EXIF data and resolution of the file, when the result is to keep them.
    metadata: Metadata | None = None
    # Alpha that the file itself had, H×W like `picture`; None when it was opaque.
    file_alpha: Bytes8 | None = None
    # Whether that alpha is the matte, so that no network is asked.
    is_cut_out: bool = False
    # Size of the working copy.
    working_size: Size = field(default_factory=lambda: Size(1, 1))
    # Where the subject may be, in working pixels; the whole working copy without a roi.
    search_box: Box = field(default_factory=lambda: Box(0, 0, 1, 1))

    # h×w×3, what the network sees: the search box squeezed to at most 1024 × 1024. Until matte.
    model_input: Bytes8 | None = None
    # What the network said, for further results of the same picture.
    segmentation: Segmentation | None = None
    # The matte as it came, stretched over the search box (over the whole picture when brought).
    matte: Bytes8 | None = None
    # Finest type of the subject; the caller's word wins over the detector's.
    subject_type: SubjectType = SubjectType.UNSPECIFIED
    # Confidence in the detected type, 0 to 1; 0 when nothing was detected.
    subject_confidence: float = 0.0
    # Name of the model that made the matte.
    model: str = ""
    # Time that the inference service spent, by its own stages, in seconds.
    upstream_stages: tuple[tuple[str, float], ...] = ()

    # The subject's box in working pixels, and in the pixels of the picture after orientation.
    subject_box: Box | None = None
    foreground_box: Box | None = None
    # After matte: H×W. After subject_box: h×w, only the subject's box of it. After place: at the size
    # of `plan.subject`.
    alpha: Bytes8 | None = None
    # The subject's own colours, the size of `alpha`, 0 where alpha is 0.
    colours: Bytes8 | None = None

    # Darkness around the subject, measured in the pixels of `alpha` before it is placed.
    shadow: ShadowField | None = None
    # 0 invisible to 100.
    shadow_opacity_percent: float = 0.0

    # Geometry of the result, computed once, never changed.
    plan: CanvasPlan | None = None
    # Whether the result is smaller than asked, because of a limit on pixels or sides.
    is_shrunk: bool = False
    # The whole canvas: H×W×4 while it is transparent, H×W×3 once a background lies below, H×W for the
    # bare matte.
    canvas: Bytes8 | None = None

    # The encoded result and what it is.
    encoded: bytes = b""
    encoded_format: OutputFormat = OutputFormat.AUTO


def made(value: T | None) -> T:
    """`value`, which an earlier step has made. RuntimeError when the steps are in a wrong order."""
    if value is None:
        raise RuntimeError("a step needs something that no earlier step has made")
    return value
