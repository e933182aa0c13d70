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

from matteworks_compositor.kernels.soft_pixels import sample_field, soft_strips
from matteworks_imaging.box import Size
from matteworks_imaging.resampling import average_cells, resize

__all__ = ["upsample_matte"]

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

# Alpha this close to an end is the network's rounding noise, not a soft edge.
END_MARGIN = 4
# Slopes vary slowly: they are fitted on every second pixel of the small grid, over this half width.
SLOPE_STEP = 2
WINDOW_RADIUS = 1
# Variance of colour (levels squared) below which a window has no edge worth following.
EDGE_VARIANCE = 3.25


def upsample_matte(picture: Bytes, matte: Bytes, guide: Bytes | None = None) -> Bytes:
    """The matte at the picture's size, its contour moved onto the picture's edges.

    `picture` is H×W×3 sRGB; `matte` is h×w, stretched over the whole picture. `guide` is the picture as
    the matte's maker saw it, h×w×3; without one the picture is squeezed once more. A matte of the
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
    left, top, box_width, box_height = cv2.boundingRect(band)
    if box_width == 0:
        return enlarged
    box = (slice(top, top + box_height), slice(left, left + box_width))
    if guide is None:
        guide = picture
    seen = resize(guide, Size(small_width, small_height))[box]
    cell = cell_x, cell_y = min(SLOPE_STEP, box_width), min(SLOPE_STEP, box_height)
    slopes = _colour_slopes(*(average_cells(image, cell) for image in (seen, cleaned[box], band[box])))
    small = seen.astype(np.float32)
    step_x, step_y = np.float32(small_width / width), np.float32(small_height / height)
    for strip in soft_strips(enlarged, int(top / step_y), int(np.ceil((top + box_height) / step_y)) + 1):
        # Soft pixels of the enlargement are all that can change: beyond them the network was sure.
        x, y = strip.x * step_x - np.float32(left), strip.y * step_y - np.float32(top)
        detail = strip.read(picture) - sample_field(small, x, y)
        detail *= sample_field(slopes, x * np.float32(1 / cell_x), y * np.float32(1 / cell_y))
        alpha = strip.read(enlarged) + detail.dot(np.ones(3, np.float32))
        strip.write(enlarged, np.clip(np.rint(alpha, out=alpha), 0, 255, out=alpha).astype(np.uint8))
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
    inside = np.flatnonzero(band)

    def mean(values: cv2.typing.MatLike) -> Floats:
        """Of the window around every pixel of the band: n×3."""
        blurred = np.asarray(cv2.boxFilter(values, cv2.CV_32F, (side, side)), np.float32)
        return blurred.reshape(-1, 3).take(inside, axis=0)

    def mean_product(one: cv2.typing.MatLike, other: cv2.typing.MatLike) -> Floats:
        return mean(cv2.multiply(one, other, dtype=cv2.CV_16U))

    rolled = np.empty_like(guide)
    cv2.mixChannels([guide], [rolled], [1, 0, 2, 1, 0, 2])
    alpha = cv2.merge([matte, matte, matte])
    centre = mean(guide)
    covariance = mean_product(guide, alpha) - centre * mean(alpha)
    same = mean_product(guide, guide) - centre * centre + np.float32(EDGE_VARIANCE)
    crossed = mean_product(guide, rolled) - centre * centre[:, (1, 2, 0)]
    slopes = np.zeros(guide.shape, np.float32)
    slopes.reshape(-1, 3)[inside] = _solve_symmetric(same, crossed, covariance)
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
