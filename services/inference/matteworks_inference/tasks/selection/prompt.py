"""What somebody means in a picture, as networks of the SAM family are told it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["Prompt"]

Floats = npt.NDArray[np.float32]

# Labels of the family: beside, on, the two corners of a box, and nothing at all.
OUTSIDE, INSIDE, UPPER_LEFT, LOWER_RIGHT, NOTHING = 0.0, 1.0, 2.0, 3.0, -1.0
_NOWHERE: Final = (0.0, 0.0)


@dataclass(frozen=True)
class Prompt:
    """Places (x, y) on it and beside it, and a box (left, top, right, bottom), in pixels of the picture."""

    inside: Sequence[tuple[float, float]]
    outside: Sequence[tuple[float, float]]
    box: tuple[float, float, float, float] | None

    def coordinates(self, scale: tuple[float, float], *, pads: bool) -> tuple[Floats, Floats]:
        """Places (N×2, in the encoder's pixels) and labels (N). `pads` adds the place that a decoder wants
        where there is no box.
        """
        labels = [INSIDE] * len(self.inside) + [OUTSIDE] * len(self.outside)
        told = [*self.inside, *self.outside]
        if self.box is not None:
            left, top, right, bottom = self.box
            told += [(left, top), (right, bottom)]
            labels += [UPPER_LEFT, LOWER_RIGHT]
        scaled = [(x * scale[0], y * scale[1]) for x, y in told]
        if pads and self.box is None:
            scaled.append(_NOWHERE)
            labels.append(NOTHING)
        return np.array(scaled, np.float32), np.array(labels, np.float32)
