"""The networks' mattes of the latest pictures, so that a second stroke or click costs no network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from matteworks_common.clock import Clock
from matteworks_common.kept import Kept
from matteworks_compositor.kernels.pointing.subjects import Sighting
from matteworks_compositor.options.model import SubjectType

__all__ = ["NetworkMatte", "keep_mattes"]

MAX_BYTES: Final = 64 * 1024 * 1024
KEPT_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class NetworkMatte:
    """What the networks said of a whole picture. `matte` is H×W, not to be written to; all 0 where they found
    nothing. `subject_type` with its `confidence`, 0 to 1, is of all that the matte holds.
    """

    matte: NDArray[np.uint8]
    sightings: tuple[Sighting, ...] = ()
    subject_type: SubjectType = SubjectType.UNSPECIFIED
    confidence: float = 0.0
    is_empty: bool = False


def keep_mattes(clock: Clock) -> Kept[NetworkMatte]:
    """By the content of the picture's file."""
    return Kept(clock, lambda known: known.matte.nbytes, max_bytes=MAX_BYTES, kept_s=KEPT_S)
