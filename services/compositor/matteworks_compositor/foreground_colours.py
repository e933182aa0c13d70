"""The subject's own colours at its soft edge, without the old background in them.

A pixel of the soft band shows `alpha·F + (1-alpha)·B`. Both F and B are smooth, so rough fields of
them are spread from the known colours over a small copy of the picture, then corrected at every
pixel of the band so that the mixture gives back exactly the colour that was seen.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["despill", "estimate_foreground"]

# The rough fields live on a copy no larger than this; they are smooth, so more shows nothing.
FIELD_SIDE_PX = 512
# Rows of the full picture corrected at once: bounds the memory of a large picture.
STRIP_ROWS = 256
# Strength of the rough fields against the seen mixture in the correction.
FIELD_WEIGHT = 0.02


def estimate_foreground(picture: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The colours to show with `alpha`: unchanged where it is 255, black where it is 0.

    `picture` is H×W×3 sRGB, `alpha` H×W. In the soft band the old background is removed.
    """
    band = cv2.inRange(alpha, 1, 254)
    result = picture.copy()
    result[alpha == 0] = 0
    left, top, width, height = cv2.boundingRect(band)
    if width == 0:
        return result
    # The fields need known colours on both sides of the band, hence the margin.
    margin = 8 + max(width, height) // 16
    left, top, right, bottom = (
        max(0, left - margin),
        max(0, top - margin),
        min(alpha.shape[1], left + width + margin),
        min(alpha.shape[0], top + height + margin),
    )
    box = (slice(top, bottom), slice(left, right))
    subject, rest = _rough_fields(picture[box], alpha[box])
    _correct_band(result[box], picture[box], alpha[box], band[box], np.concatenate((subject, rest), axis=2))
    return result


def despill(
    picture: NDArray[np.uint8],
    alpha: NDArray[np.uint8],
    background_hint: tuple[int, int, int] | None = None,
) -> NDArray[np.uint8]:
    """The picture without the background's colour cast on the subject's edges, luminance kept.

    The cast's colour is `background_hint` (sRGB) or else the mean colour where `alpha` is 0. A
    background without a strong colour leaves the picture unchanged.
    """
    if background_hint is None:
        if not (alpha == 0).any():
            return picture.copy()
        colour = np.array(cv2.mean(picture, mask=cv2.inRange(alpha, 0, 0))[:3], np.float32)
    else:
        colour = np.array(background_hint, np.float32)
    dominant = int(colour.argmax())
    others = [channel for channel in range(3) if channel != dominant]
    if colour[dominant] - colour[others].max() < 40:
        return picture.copy()
    values = picture.astype(np.float32)
    limit = values[..., others].max(axis=2)
    excess = np.maximum(values[..., dominant] - limit, 0)
    luminance = np.array((0.2126, 0.7152, 0.0722), np.float32)
    values[..., dominant] -= excess
    values += (excess * luminance[dominant])[..., None]
    return np.clip(values + 0.5, 0, 255).astype(np.uint8)


def _rough_fields(
    picture: NDArray[np.uint8], alpha: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Colour fields of the subject and of the rest, known everywhere, on a small grid."""
    height, width = alpha.shape
    scale = min(1.0, FIELD_SIDE_PX / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    share = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    # High powers: a pixel that is nearly all subject speaks louder than many mixed ones.
    subject = _spread(small, share**8)
    rest = _spread(small, (1 - share) ** 8)
    return subject, rest


def _spread(colours: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fill a field from its weighted known colours, nearest and finest known values first."""
    height, width = weight.shape
    weighted = colours * weight[..., None]
    if max(height, width) <= 2:
        mean = weighted.sum(axis=(0, 1)) / max(float(weight.sum()), 1e-6)
        return np.broadcast_to(mean.astype(np.float32), colours.shape).copy()
    half = ((width + 1) // 2, (height + 1) // 2)
    coarse_weight = cv2.resize(weight, half, interpolation=cv2.INTER_AREA)
    coarse = (
        cv2.resize(weighted, half, interpolation=cv2.INTER_AREA) / np.maximum(coarse_weight, 1e-6)[..., None]
    )
    filled = _spread(coarse, np.minimum(coarse_weight * 4, 1))
    below = cv2.resize(filled, (width, height), interpolation=cv2.INTER_LINEAR)
    result: NDArray[np.float32] = weighted + below * (1 - weight)[..., None]
    return result


def _correct_band(
    result: NDArray[np.uint8],
    picture: NDArray[np.uint8],
    alpha: NDArray[np.uint8],
    band: NDArray[np.uint8],
    fields: NDArray[np.float32],
) -> None:
    """Write the corrected subject colours into `result`, in place, at the band's pixels."""
    height, width = alpha.shape
    step_x, step_y = fields.shape[1] / width, fields.shape[0] / height
    for start in range(0, height, STRIP_ROWS):
        rows = slice(start, min(start + STRIP_ROWS, height))
        y, x = np.nonzero(band[rows])
        if not len(y):
            continue
        where_x, where_y = (x + 0.5) * step_x - 0.5, (y + start + 0.5) * step_y - 0.5
        sampled = np.concatenate(
            [_sample(fields[..., :3], where_x, where_y), _sample(fields[..., 3:], where_x, where_y)], axis=1
        )
        subject, rest = sampled[:, :3], sampled[:, 3:]
        share = alpha[rows][y, x].astype(np.float32)[:, None] / 255
        residual = picture[rows][y, x] - share * subject - (1 - share) * rest
        subject = subject + residual * share / (share**2 + (1 - share) ** 2 + np.float32(FIELD_WEIGHT))
        result[rows][y, x] = np.clip(subject + 0.5, 0, 255).astype(np.uint8)


def _sample(
    field: NDArray[np.float32], x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Bilinear samples of a three-channel field at n points: n×3."""
    count, columns = len(x), 1024
    where = np.zeros((2, -(-count // columns) * columns), np.float32)
    where[0, :count], where[1, :count] = x, y
    grid = where.reshape(2, -1, columns)
    field = np.ascontiguousarray(field)
    sampled = cv2.remap(field, grid[0], grid[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    flat: NDArray[np.float32] = sampled.reshape(-1, 3)[:count]
    return flat
