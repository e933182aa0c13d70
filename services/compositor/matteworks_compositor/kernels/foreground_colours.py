"""The subject's own colours at its soft edge, without the old background in them.

A pixel of the soft band shows `alpha·F + (1-alpha)·B`. Both F and B are smooth, so rough fields of
them are spread from the known colours over a small copy of the picture, then corrected at every
pixel of the band so that the mixture gives back the colour that was seen. Invariant: a pixel whose
alpha is 255 keeps its colour, and a pixel whose alpha is 0 becomes black, so nothing of a removed
background stays in the file and the encoder meets long even runs.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from matteworks_compositor.kernels.soft_pixels import sample_field, soft_strips
from matteworks_imaging.resampling import average_cells

__all__ = ["estimate_foreground"]

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

# The rough fields live on a copy no larger than this. Twice as large took nearly twice as long at 1 MP and
# brought the recomposed colours nearer by 0.1 of a level.
FIELD_SIDE_PX = 256
# Trust in the rough fields against the seen mixture.
FIELD_WEIGHT = 0.01
# A pixel tells the subject's colour from this alpha on, in full at 1 (and the rest's from one minus
# this down). Spreading boosts faint weights, so mixed pixels must weigh nothing at all.
LEAST_PURITY = 0.9


def estimate_foreground(picture: Bytes, alpha: Bytes, settled: Bytes | None = None) -> Bytes:
    """The colours to show with `alpha`: unchanged where it is 255, black where it is 0.

    `picture` is H×W×3 sRGB, `alpha` H×W. In the soft band the old background is taken out, except where
    `settled` (H×W) is neither 0 nor 255: such a pixel has the subject's own colour already.
    """
    # Blank memory costs nothing until it is written to: less than a copy of everything.
    result = np.zeros(picture.shape, np.uint8)
    cv2.copyTo(picture, alpha, result)
    left, top, width, height = cv2.boundingRect(cv2.inRange(alpha, 1, 254))
    if width == 0:
        return result
    # The fields need known colours on both sides of the band, hence the margin.
    margin = 8 + max(width, height) // 16
    first_row, first_column = max(0, top - margin), max(0, left - margin)
    box = (
        slice(first_row, min(alpha.shape[0], top + height + margin)),
        slice(first_column, min(alpha.shape[1], left + width + margin)),
    )
    cell = _cell_px(alpha[box])
    subject, rest = _rough_fields(picture[box], alpha[box], cell)
    step_x, step_y = np.float32(1 / cell[0]), np.float32(1 / cell[1])
    for strip in soft_strips(alpha, top, top + height, settled):
        x, y = (strip.x - np.float32(first_column)) * step_x, (strip.y - np.float32(first_row)) * step_y
        parts = (strip.read(picture), sample_field(subject, x, y), sample_field(rest, x, y))
        strip.write(result, _unmix(strip.read(alpha), *parts))
    return result


def _cell_px(alpha: Bytes) -> tuple[int, int]:
    """Width and height of the cells that the rough fields average: 1 or even, for `average_cells`."""
    height, width = alpha.shape
    side = -(-max(width, height) // FIELD_SIDE_PX)
    side += side % 2 if side > 1 else 0
    return min(side, width), min(side, height)


def _rough_fields(picture: Bytes, alpha: Bytes, cell: tuple[int, int]) -> tuple[Floats, Floats]:
    """Colour fields of the subject and of the rest, known everywhere, one value a cell."""
    small = average_cells(picture, cell).astype(np.float32)
    share = average_cells(alpha, cell).astype(np.float32) / np.float32(255)
    span = np.float32(1 - LEAST_PURITY)
    own = np.clip((share - np.float32(LEAST_PURITY)) / span, 0, 1)
    foreign = np.clip((span - share) / span, 0, 1)
    return _spread(small, own), _spread(small, foreign)


def _spread(colours: Floats, weight: Floats) -> Floats:
    """Fill a field from its weighted known colours, nearest and finest known values first."""
    height, width = weight.shape
    weighted = colours * weight[..., None]
    if max(height, width) <= 2:
        mean = weighted.sum(axis=(0, 1)) / max(float(weight.sum()), 1e-6)
        return np.broadcast_to(mean.astype(np.float32), colours.shape).copy()
    half = ((width + 1) // 2, (height + 1) // 2)
    coarse_weight = np.asarray(cv2.resize(weight, half, interpolation=cv2.INTER_AREA), np.float32)
    sums = np.asarray(cv2.resize(weighted, half, interpolation=cv2.INTER_AREA), np.float32)
    coarse = np.asarray(sums / np.maximum(coarse_weight, 1e-6)[..., None], np.float32)
    filled = _spread(coarse, np.minimum(coarse_weight * 4, np.float32(1)))
    below = np.asarray(cv2.resize(filled, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    return np.asarray(weighted + below * (1 - weight)[..., None], np.float32)


def _unmix(alpha: Bytes, seen: Bytes, subject: Floats, rest: Floats) -> Bytes:
    """The subject's colours (n×3) at n soft pixels: near `subject`, and such that mixed with `rest` by
    `alpha` they give what was `seen`. Uses up `rest`.
    """
    # By level of alpha: how much of the seen, the field's and the background's colour comes in. Three
    # equal columns, so that products run over long rows.
    share = np.repeat(np.linspace(0, 1, 256, dtype=np.float32)[:, None], 3, axis=1)
    other = 1 - share
    trust = share / (share * share + other * other + np.float32(FIELD_WEIGHT))
    colours = trust.take(alpha, axis=0)
    colours *= seen
    weight = (1 - trust * share).take(alpha, axis=0)
    weight *= subject
    colours += weight
    rest *= np.take(trust * other, alpha, axis=0, out=weight)
    colours -= rest
    return np.clip(np.rint(colours, out=colours), 0, 255, out=colours).astype(np.uint8)
