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

__all__ = ["upsample_matte"]

# Alpha this close to an end is the network's rounding noise, not a soft edge.
END_MARGIN = 4
# Half width of the window over which alpha is taken to be linear in colour, in small-grid pixels.
WINDOW_RADIUS_PX = 3
# Variance of colour (0..1) below which a window has no edge worth following.
EDGE_VARIANCE = 1.5e-4
# Rows of the full picture refined at once: bounds the memory of a large picture.
STRIP_ROWS = 256


def upsample_matte(picture: NDArray[np.uint8], matte: NDArray[np.uint8]) -> NDArray[np.uint8]:
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
        shrunk: NDArray[np.uint8] = cv2.resize(cleaned, (width, height), interpolation=cv2.INTER_AREA)
        return _clean_ends(shrunk)
    enlarged: NDArray[np.uint8] = cv2.resize(cleaned, (width, height), interpolation=cv2.INTER_CUBIC)
    band = cv2.inRange(cleaned, 1, 254)
    if not band.any():
        return enlarged
    # One small pixel on each side: the enlargement's kernel spreads the band by that much.
    band = cv2.dilate(band, np.ones((5, 5), np.uint8))
    left, top, box_width, box_height = cv2.boundingRect(band)
    box = (slice(top, top + box_height), slice(left, left + box_width))
    guide = cv2.resize(picture, (small_width, small_height), interpolation=cv2.INTER_AREA)[box]
    slopes = _colour_slopes(guide, cleaned[box], band[box])
    _add_detail(enlarged, picture, slopes, guide, band, (left, top))
    return enlarged


def _clean_ends(matte: NDArray[np.uint8]) -> NDArray[np.uint8]:
    table = np.arange(256, dtype=np.uint8)
    table[:END_MARGIN] = 0
    table[256 - END_MARGIN :] = 255
    cleaned: NDArray[np.uint8] = cv2.LUT(matte, table)
    return cleaned


def _colour_slopes(
    guide: NDArray[np.uint8], matte: NDArray[np.uint8], band: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """How much alpha changes per level of each colour channel: h×w×3, zero outside the band."""
    side = 2 * WINDOW_RADIUS_PX + 1

    def mean(values: NDArray[np.float32]) -> NDArray[np.float32]:
        blurred: NDArray[np.float32] = cv2.blur(values, (side, side))
        return blurred

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


def _solve_symmetric(
    same: NDArray[np.float32], crossed: NDArray[np.float32], right: NDArray[np.float32]
) -> NDArray[np.float32]:
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
    scaled: NDArray[np.float32] = solution / np.maximum(determinant, np.float32(1e-12))[:, None]
    return scaled


def _add_detail(
    enlarged: NDArray[np.uint8],
    picture: NDArray[np.uint8],
    slopes: NDArray[np.float32],
    guide: NDArray[np.uint8],
    band: NDArray[np.uint8],
    origin: tuple[int, int],
) -> None:
    """Add slope · lost detail to `enlarged`, in place, at the pixels of the band only."""
    height, width = enlarged.shape
    step_x, step_y = band.shape[1] / width, band.shape[0] / height
    left, top = origin
    # What the small picture already explains is subtracted on the small grid, so that one
    # four-channel sample per pixel is enough.
    explained = -(slopes * guide.astype(np.float32)).sum(axis=2, keepdims=True)
    fields = np.concatenate((slopes, explained), axis=2)
    first = int(top / step_y)
    last = min(height, int(np.ceil((top + guide.shape[0]) / step_y)) + 1)
    for start in range(first, last, STRIP_ROWS):
        rows = slice(start, min(start + STRIP_ROWS, last))
        source_rows = np.minimum(
            ((np.arange(rows.start, rows.stop) + 0.5) * step_y).astype(np.intp), band.shape[0] - 1
        )
        strip_band = cv2.resize(
            band[source_rows[0] : source_rows[-1] + 1],
            (width, rows.stop - rows.start),
            interpolation=cv2.INTER_NEAREST,
        )
        y, x = np.nonzero(strip_band)
        if not len(y):
            continue
        sampled = _sample(
            fields, (x + 0.5) * step_x - 0.5 - left, (y + rows.start + 0.5) * step_y - 0.5 - top
        )
        colour = picture[rows][y, x].astype(np.float32)
        detail = (sampled[:, :3] * colour).sum(axis=1) + sampled[:, 3]
        target = enlarged[rows]
        target[y, x] = np.clip(target[y, x] + detail + 0.5, 0, 255).astype(np.uint8)


def _sample(
    fields: NDArray[np.float32], x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Bilinear samples of `fields` at n points: n×4."""
    count = len(x)
    columns = 1024
    padded = -(-count // columns) * columns
    where = np.zeros((2, padded), np.float32)
    where[0, :count], where[1, :count] = x, y
    grid = where.reshape(2, -1, columns)
    sampled = cv2.remap(fields, grid[0], grid[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    flat: NDArray[np.float32] = sampled.reshape(-1, fields.shape[2])[:count]
    return flat
