"""Bringing a matte from the network's resolution to the picture's, along the picture's own edges.

Inside the soft band alpha is, locally, close to a linear function of colour. The slopes of that
function are fitted on the small grid, where they cost little, and applied to the detail that the
small grid lost: `alpha = enlarged(matte) + slope · (picture - enlarged(small picture))`.
Invariant: where the picture holds no detail beyond the small grid, the result is the plain
enlargement of the matte, so this step can never blur an edge; and outside the soft band the result
is exactly 0 or 255.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["sample_field", "upsample_matte"]

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

# Alpha this close to an end is the network's rounding noise, not a soft edge.
END_MARGIN = 4
# Slopes vary slowly: they are fitted on every second pixel of the small grid, over this half width.
SLOPE_STEP = 2
WINDOW_RADIUS = 1
# Variance of colour (0..1) below which a window has no edge worth following.
EDGE_VARIANCE = 5e-5
# Rows of the full picture refined at once: bounds the memory of a large picture.
STRIP_ROWS = 256


def upsample_matte(picture: Bytes, matte: Bytes) -> Bytes:
    """The matte at the picture's size, its contour moved onto the picture's edges.

    `picture` is H×W×3 sRGB; `matte` is h×w, stretched over the whole picture. A matte of the
    picture's size is returned with only its ends cleaned; a larger one is averaged down.
    """
    height, width = picture.shape[:2]
    small_height, small_width = matte.shape[:2]
    cleaned = _clean_ends(matte)
    if (small_height, small_width) == (height, width):
        return cleaned
    if small_height >= height and small_width >= width:
        shrunk = np.asarray(cv2.resize(cleaned, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        return _clean_ends(shrunk)
    enlarged = np.asarray(cv2.resize(cleaned, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
    band = _soft_band(cleaned)
    if not band.any():
        return enlarged
    left, top, box_width, box_height = cv2.boundingRect(band)
    box = (slice(top, top + box_height), slice(left, left + box_width))
    guide = np.asarray(
        cv2.resize(picture, (small_width, small_height), interpolation=cv2.INTER_AREA), np.uint8
    )[box]
    coarse = (max(1, box_width // SLOPE_STEP), max(1, box_height // SLOPE_STEP))
    slopes = _colour_slopes(
        *(
            np.asarray(cv2.resize(image, coarse, interpolation=cv2.INTER_AREA), np.uint8)
            for image in (guide, cleaned[box], band[box])
        )
    )
    slopes = np.asarray(cv2.resize(slopes, (box_width, box_height)), np.float32)
    _add_detail(enlarged, picture, slopes, guide, band, (left, top))
    return enlarged


def _clean_ends(matte: Bytes) -> Bytes:
    table = np.arange(256, dtype=np.uint8)
    table[:END_MARGIN] = 0
    table[256 - END_MARGIN :] = 255
    return np.asarray(cv2.LUT(matte, table), np.uint8)


def _soft_band(matte: Bytes) -> Bytes:
    """255 where the enlarged matte can be soft: at soft pixels, and on both sides of hard steps."""
    around = np.ones((3, 3), np.uint8)
    steps = cv2.subtract(cv2.dilate(matte, around), cv2.erode(matte, around))
    return np.asarray(cv2.dilate(cv2.inRange(steps, 1, 255), around), np.uint8)


def _colour_slopes(guide: Bytes, matte: Bytes, band: Bytes) -> Floats:
    """How much alpha changes per level of each colour channel: h×w×3, zero outside the band."""
    side = 2 * WINDOW_RADIUS + 1

    def mean(values: Floats) -> Floats:
        return np.asarray(cv2.blur(values, (side, side)), np.float32)

    inside = band != 0
    colour = guide.astype(np.float32) * np.float32(1 / 255)
    alpha = matte.astype(np.float32) * np.float32(1 / 255)
    centre = mean(colour)[inside]
    alpha_centre = mean(alpha)[inside]
    covariance = mean(colour * alpha[..., None])[inside] - centre * alpha_centre[:, None]
    same = mean(colour * colour)[inside] - centre * centre + np.float32(EDGE_VARIANCE)
    crossed = mean(colour * colour[..., (1, 2, 0)])[inside] - centre * centre[:, (1, 2, 0)]
    solved = _solve_symmetric(same, crossed, covariance)
    slopes = np.zeros(guide.shape, np.float32)
    slopes[inside] = solved
    return slopes


def _solve_symmetric(same: Floats, crossed: Floats, right: Floats) -> Floats:
    """Solve n symmetric 3×3 systems; `crossed` holds the entries rg, gb, br."""
    rr, gg, bb = same.T
    rg, gb, br = crossed.T
    c_rr, c_rg, c_rb = gg * bb - gb * gb, br * gb - rg * bb, rg * gb - br * gg
    c_gg, c_gb, c_bb = rr * bb - br * br, rg * br - rr * gb, rr * gg - rg * rg
    determinant = rr * c_rr + rg * c_rg + br * c_rb
    x, y, z = right.T
    solution = np.stack(
        (c_rr * x + c_rg * y + c_rb * z, c_rg * x + c_gg * y + c_gb * z, c_rb * x + c_gb * y + c_bb * z),
        axis=1,
    )
    scaled: Floats = solution / np.maximum(determinant, np.float32(1e-12))[:, None]
    return scaled


def sample_field(field: Floats, x: Floats, y: Floats) -> Floats:
    """Bilinear samples of `field` (h×w×c, at most four channels) at n points: n×c."""
    count, columns = len(x), 1024
    where = np.zeros((2, -(-count // columns) * columns), np.float32)
    where[0, :count], where[1, :count] = x, y
    grid = where.reshape(2, -1, columns)
    sampled = cv2.remap(field, grid[0], grid[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(sampled, np.float32).reshape(-1, field.shape[2])[:count]


def _add_detail(
    enlarged: Bytes, picture: Bytes, slopes: Floats, guide: Bytes, band: Bytes, origin: tuple[int, int]
) -> None:
    """Add slope · lost detail to `enlarged`, in place, at the pixels of the band only."""
    height, width = enlarged.shape
    step_x, step_y = band.shape[1] / width, band.shape[0] / height
    left, top = origin
    # What the small picture already explains is subtracted on the small grid, so that one
    # four-channel sample per pixel is enough.
    explained = -(slopes * guide).sum(axis=2, keepdims=True)
    fields = np.concatenate((slopes, explained), axis=2)
    first = int(top / step_y)
    last = min(height, int(np.ceil((top + guide.shape[0]) / step_y)) + 1)
    for start in range(first, last, STRIP_ROWS):
        stop = min(start + STRIP_ROWS, last)
        # Soft pixels of the enlargement are all that can change: beyond them the network was sure.
        soft = cv2.inRange(enlarged[start:stop], 1, 254)
        if not cv2.countNonZero(soft):
            continue
        x, y = np.asarray(cv2.findNonZero(soft)).reshape(-1, 2).T
        y = y + start
        where_x = ((x + np.float32(0.5)) * np.float32(step_x) - np.float32(0.5 + left)).astype(np.float32)
        where_y = ((y + np.float32(0.5)) * np.float32(step_y) - np.float32(0.5 + top)).astype(np.float32)
        sampled = sample_field(fields, where_x, where_y)
        detail = np.einsum("nc,nc->n", sampled[:, :3], picture[y, x].astype(np.float32)) + sampled[:, 3]
        enlarged[y, x] = np.clip(np.rint(enlarged[y, x] + detail), 0, 255).astype(np.uint8)
