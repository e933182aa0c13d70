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

from matteworks_compositor.matte_upsampling import sample_field

__all__ = ["despill", "estimate_foreground"]

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

# The rough fields live on a copy no larger than this. Twice as large took nearly twice as long at 1 MP and
# brought the recomposed colours nearer by 0.1 of a level.
FIELD_SIDE_PX = 256
# Pixels corrected at once: bounds the memory of a large picture.
CHUNK_PIXELS = 1 << 18
# Rows that are searched for soft pixels at once.
STRIP_ROWS = 512
# Trust in the rough fields against the seen mixture.
FIELD_WEIGHT = 0.01
# A pixel tells the subject's colour from this alpha on, in full at 1 (and the rest's from one minus
# this down). Spreading boosts faint weights, so mixed pixels must weigh nothing at all.
LEAST_PURITY = 0.9
# A background is a coloured screen when its strongest channel leads the next by this many levels.
SCREEN_LEAD = 40
# Share of each channel in what the eye takes for brightness (Rec. 709).
LUMINANCE = np.array((0.2126, 0.7152, 0.0722), np.float32)


def estimate_foreground(picture: Bytes, alpha: Bytes) -> Bytes:
    """The colours to show with `alpha`: unchanged where it is 255, black where it is 0.

    `picture` is H×W×3 sRGB, `alpha` H×W. In the soft band the old background is taken out.
    """
    band = cv2.inRange(alpha, 1, 254)
    result = np.zeros_like(picture)
    cv2.copyTo(picture, alpha, result)
    left, top, width, height = cv2.boundingRect(band)
    if width == 0:
        return result
    # The fields need known colours on both sides of the band, hence the margin.
    margin = 8 + max(width, height) // 16
    box = (
        slice(max(0, top - margin), min(alpha.shape[0], top + height + margin)),
        slice(max(0, left - margin), min(alpha.shape[1], left + width + margin)),
    )
    _correct_band(result[box], picture[box], alpha[box], *_rough_fields(picture[box], alpha[box]))
    return result


def despill(picture: Bytes, alpha: Bytes, background_hint: tuple[int, int, int] | None = None) -> Bytes:
    """The picture without the background's cast on the subject, luminance kept.

    The cast's colour is `background_hint` (sRGB) or else the mean colour where `alpha` is 0. A
    background without one strong channel leaves the picture unchanged; so do pixels in which that
    channel does not lead. The caller asks for it, since a subject of the screen's colour fades too.
    """
    if background_hint is None:
        outside = cv2.inRange(alpha, 0, 0)
        if not cv2.countNonZero(outside):
            return picture.copy()
        colour = np.array(cv2.mean(picture, mask=outside)[:3])
    else:
        colour = np.array(background_hint, np.float64)
    screen = int(colour.argmax())
    first, second = (channel for channel in range(3) if channel != screen)
    if colour[screen] - max(colour[first], colour[second]) < SCREEN_LEAD:
        return picture.copy()
    limit = cv2.max(np.ascontiguousarray(picture[..., first]), np.ascontiguousarray(picture[..., second]))
    spill = cv2.subtract(np.ascontiguousarray(picture[..., screen]), limit)
    # Taking spill s from one channel darkens by s·luminance; the same grey is added to all.
    grey = cv2.LUT(spill, np.rint(np.arange(256) * LUMINANCE[screen]).astype(np.uint8))
    channels = [np.ascontiguousarray(picture[..., channel]) for channel in range(3)]
    channels[screen] = np.asarray(cv2.subtract(channels[screen], spill), np.uint8)
    return np.asarray(cv2.merge([cv2.add(channel, grey) for channel in channels]), np.uint8)


def _rough_fields(picture: Bytes, alpha: Bytes) -> tuple[Floats, Floats]:
    """Colour fields of the subject and of the rest, known everywhere, on a small grid."""
    height, width = alpha.shape
    scale = min(1.0, FIELD_SIDE_PX / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.float32)
    share = np.asarray(cv2.resize(alpha, size, interpolation=cv2.INTER_AREA), np.float32) / np.float32(255)
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


def _correct_band(result: Bytes, picture: Bytes, alpha: Bytes, subject: Floats, rest: Floats) -> None:
    """Write the corrected subject colours into `result`, in place, at the band's pixels."""
    height, width = alpha.shape
    step_x, step_y = subject.shape[1] / width, subject.shape[0] / height
    for start in range(0, height, STRIP_ROWS):
        strip = slice(start, start + STRIP_ROWS)
        band = cv2.inRange(alpha[strip], 1, 254)
        if not cv2.countNonZero(band):
            continue
        everywhere = np.asarray(cv2.findNonZero(band)).reshape(-1, 2)
        for first in range(0, len(everywhere), CHUNK_PIXELS):
            x, y = everywhere[first : first + CHUNK_PIXELS].T
            y = y + start
            where = (
                ((x + np.float32(0.5)) * np.float32(step_x) - np.float32(0.5)).astype(np.float32),
                ((y + np.float32(0.5)) * np.float32(step_y) - np.float32(0.5)).astype(np.float32),
            )
            f, b = sample_field(subject, *where), sample_field(rest, *where)
            share = alpha[y, x].astype(np.float32)[:, None] * np.float32(1 / 255)
            other = 1 - share
            residual = picture[y, x] - share * f - other * b
            f += residual * (share / (share * share + other * other + np.float32(FIELD_WEIGHT)))
            np.clip(np.rint(f, out=f), 0, 255, out=f)
            result[y, x] = f.astype(np.uint8)
