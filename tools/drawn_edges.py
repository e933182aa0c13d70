"""Subjects with difficult edges, drawn at full resolution, and backgrounds to lay them on.

Nothing is enlarged: every strand is drawn at the size of the picture, so its alpha is known exactly
there. Widths are shares of the longer side with a floor in pixels, as in photographs: a larger
picture of the same head shows its hairs wider. Everything is repeatable.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["BACKGROUNDS", "SUBJECTS", "Art"]

Bytes8 = NDArray[np.uint8]
Floats = NDArray[np.float32]
# Straight colours (H×W×3, known beyond the edge too) and alpha (H×W).
Art = tuple[Bytes8, Bytes8]

# Fractional bits of the coordinates that are drawn.
SHIFT = 4


def noise(width_px: int, height_px: int, cells: int, seed: int) -> Floats:
    """Smooth values from 0 to 1 with about `cells` ups and downs along the longer side."""
    random = np.random.default_rng(seed)
    longer = max(width_px, height_px)
    grid = (max(2, cells * height_px // longer), max(2, cells * width_px // longer))
    values = random.random(grid, np.float32)
    return np.asarray(cv2.resize(values, (width_px, height_px), interpolation=cv2.INTER_CUBIC), np.float32)


def fractal(width_px: int, height_px: int, seed: int) -> Floats:
    """Values around 0.5 with detail at every scale, like a photographed scene."""
    total = np.zeros((height_px, width_px), np.float32)
    for octave in range(9):
        total += noise(width_px, height_px, 3 << octave, seed + octave) * np.float32(0.62**octave)
    total -= total.min()
    total /= total.max()
    return total


def tinted(values: Floats, dark: tuple[int, int, int], bright: tuple[int, int, int]) -> Bytes8:
    """`values` from 0 to 1 as a scale between two colours."""
    low, high = np.array(dark, np.float32), np.array(bright, np.float32)
    return np.asarray(np.clip(low + values[..., None] * (high - low) + 0.5, 0, 255), np.uint8)


def _fixed(points: NDArray[np.floating]) -> NDArray[np.int32]:
    return np.asarray(np.rint(points * (1 << SHIFT)), np.int32)


def _strands(
    art: Art, roots: Floats, directions: Floats, length_px: float, widths_px: tuple[float, float], seed: int
) -> None:
    """Draw curved hairs from `roots` (n×2) along `directions` (n×2, unit) into `art`, in place.

    Each gets a tone of its own. Hairs thinner than a pixel are drawn one pixel wide and as faint.
    """
    colours, alpha = art
    height, width = alpha.shape
    random = np.random.default_rng(seed)
    base = colours[int(height * 0.55), width // 2].astype(np.float32)
    steps = np.linspace(0, 1, 24, dtype=np.float32)[:, None]
    for root, direction in zip(roots, directions, strict=True):
        across = np.array((-direction[1], direction[0]), np.float32)
        reach = length_px * random.uniform(0.5, 1.2)
        bend, wave = random.normal(0, 0.3), random.uniform(3, 8)
        path = root + direction * reach * steps
        path = path + across * reach * (bend * steps**2 + 0.03 * np.sin(wave * steps))
        hair_px = random.uniform(*widths_px)
        tone = tuple(float(value) for value in np.clip(base * random.uniform(0.7, 1.35), 0, 255))
        # The colour goes on beyond the strand's own soft edge.
        cv2.polylines(colours, [_fixed(path)], False, tone, round(hair_px) + 3, cv2.LINE_8, SHIFT)
        left, top = np.maximum(np.floor(path.min(axis=0)).astype(int) - 4, 0)
        right, bottom = np.minimum(np.ceil(path.max(axis=0)).astype(int) + 5, (width, height))
        if right <= left or bottom <= top:
            continue
        strand = np.zeros((bottom - top, right - left), np.uint8)
        strength = round(255 * min(1.0, hair_px))
        line = [_fixed(path - (left, top))]
        cv2.polylines(strand, line, False, strength, max(1, round(hair_px)), cv2.LINE_AA, SHIFT)
        place = (slice(top, bottom), slice(left, right))
        # Hairs cover each other as independent veils do.
        alpha[place] = 255 - cv2.multiply(255 - alpha[place], 255 - strand, scale=1 / 255)


def _blob(width_px: int, height_px: int, radius: float, wobble: float, seed: int) -> Floats:
    """Signed distance in pixels, positive inside, to a rounded outline in the middle."""
    y, x = np.mgrid[0:height_px, 0:width_px].astype(np.float32)
    x, y = x + np.float32(0.5 - width_px / 2), y + np.float32(0.5 - height_px * 0.55)
    side = min(width_px, height_px)
    angle = np.arctan2(y, x)
    random = np.random.default_rng(seed)
    outline = np.full_like(angle, radius * side)
    for lobe in range(2, 6):
        outline += np.float32(wobble * side / lobe) * np.cos(lobe * angle + np.float32(random.uniform(0, 6)))
    return np.asarray(outline - np.hypot(x, y), np.float32)


def _as_alpha(distance_px: Floats, softness_px: float) -> Bytes8:
    return np.asarray(np.clip(distance_px * np.float32(255 / softness_px) + 128, 0, 255), np.uint8)


def _around(width_px: int, height_px: int, count: int, radius: float, seed: int) -> tuple[Floats, Floats]:
    """Points on a circle in the middle and the directions outwards, a little disordered."""
    random = np.random.default_rng(seed)
    angles = random.uniform(0, 2 * np.pi, count)
    turned = angles + random.normal(0, 0.35, count)
    side = min(width_px, height_px)
    centre = np.array((width_px / 2, height_px * 0.55), np.float32)
    out = np.stack((np.cos(angles), np.sin(angles)), axis=1)
    directions = np.stack((np.cos(turned), np.sin(turned)), axis=1)
    return (centre + out * radius * side).astype(np.float32), directions.astype(np.float32)


def hair(width_px: int, height_px: int) -> Art:
    """A head with long, thin, loose strands."""
    longer = max(width_px, height_px)
    colours = tinted(noise(width_px, height_px, 7, 3), (74, 42, 22), (150, 96, 52))
    alpha = _as_alpha(_blob(width_px, height_px, 0.24, 0.012, 4), 1.6)
    roots, directions = _around(width_px, height_px, 900, 0.235, 5)
    _strands((colours, alpha), roots, directions, 0.11 * longer, (0.5, max(1.2, longer / 1900)), 6)
    return colours, alpha


def fur(width_px: int, height_px: int) -> Art:
    """A round animal with dense, short hairs along all of its outline."""
    longer = max(width_px, height_px)
    colours = tinted(noise(width_px, height_px, 30, 13), (150, 122, 88), (222, 200, 164))
    alpha = _as_alpha(_blob(width_px, height_px, 0.27, 0.015, 14), 2.0)
    roots, directions = _around(width_px, height_px, 5000, 0.262, 15)
    _strands((colours, alpha), roots, directions, 0.025 * longer, (0.6, max(1.5, longer / 1500)), 16)
    return colours, alpha


def smoke(width_px: int, height_px: int) -> Art:
    """A cloud that fades over a tenth of the picture, thicker here and thinner there."""
    longer = max(width_px, height_px)
    density = _blob(width_px, height_px, 0.24, 0.03, 24) / np.float32(0.11 * longer) + np.float32(0.5)
    density += (noise(width_px, height_px, 12, 25) - np.float32(0.5)) * np.float32(0.5)
    density = np.clip(density, 0, 1)
    colours = tinted(noise(width_px, height_px, 6, 26), (176, 180, 190), (236, 236, 240))
    smooth = density * density * (3 - 2 * density)
    return colours, np.rint(smooth * 255).astype(np.uint8)


def text(width_px: int, height_px: int) -> Art:
    """Letters of three sizes: hard, thin strokes and small counters."""
    alpha = np.zeros((height_px, width_px), np.uint8)
    unit = height_px / 1000
    for line, (words, scale, weight) in enumerate(
        (("Matte", 9.0, 34), ("edges 0123", 4.4, 14), ("follow the picture", 2.4, 6))
    ):
        origin = (round(width_px * 0.08), round(height_px * (0.36 + 0.24 * line)))
        cv2.putText(
            alpha,
            words,
            origin,
            cv2.FONT_HERSHEY_DUPLEX,
            scale * unit,
            255,
            max(1, round(weight * unit)),
            cv2.LINE_AA,
        )
    colours = tinted(noise(width_px, height_px, 4, 33), (160, 24, 40), (40, 40, 150))
    return colours, alpha


def leaf(width_px: int, height_px: int) -> Art:
    """A jagged outline with a soft edge of two pixels and veins in its colours."""
    angles = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    side = min(width_px, height_px)
    teeth = (
        0.018 * np.abs(((angles * 24 / np.pi) % 2) - 1)
        + 0.06 * np.cos(2 * angles)
        + 0.02 * np.cos(5 * angles + 1)
    )
    radius = (0.27 + teeth) * side
    outline = np.stack(
        (width_px / 2 + radius * np.cos(angles), height_px * 0.52 + radius * np.sin(angles)), axis=1
    )
    alpha = np.zeros((height_px, width_px), np.uint8)
    cv2.fillPoly(alpha, [_fixed(outline)], 255, cv2.LINE_AA, SHIFT)
    alpha = np.asarray(cv2.GaussianBlur(alpha, (0, 0), 0.8), np.uint8)
    colours = tinted(fractal(width_px, height_px, 43), (140, 30, 20), (230, 150, 60))
    return colours, alpha


def photographic(width_px: int, height_px: int) -> Bytes8:
    """Detail at every scale, patches of light, straight edges: the hard case for whoever follows edges."""
    picture = tinted(fractal(width_px, height_px, 53), (16, 40, 52), (196, 206, 168))
    random = np.random.default_rng(54)
    side = min(width_px, height_px)
    for _ in range(26):
        corner = random.uniform(0, 1, 2) * (width_px, height_px)
        tone = tuple(float(value) for value in random.uniform(20, 220, 3))
        if random.random() < 0.5:
            cv2.circle(
                picture,
                corner.astype(int).tolist(),
                int(side * random.uniform(0.01, 0.07)),
                tone,
                -1,
                cv2.LINE_AA,
            )
        else:
            other = random.uniform(0, 1, 2) * (width_px, height_px)
            cv2.line(
                picture,
                corner.astype(int).tolist(),
                other.astype(int).tolist(),
                tone,
                max(1, side // 160),
                cv2.LINE_AA,
            )
    # A lens is not sharp behind its subject; the sensor's noise is.
    picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), max(1.0, side / 900)), np.uint8)
    grain = random.normal(0, 2.0, picture.shape).astype(np.float32)
    return np.asarray(np.clip(picture + grain + 0.5, 0, 255), np.uint8)


def studio(width_px: int, height_px: int) -> Bytes8:
    """A plain backdrop, lighter in the middle."""
    y, x = np.mgrid[0:height_px, 0:width_px].astype(np.float32)
    glow = 1 - np.hypot(x / width_px - 0.5, y / height_px - 0.5).astype(np.float32)
    return tinted(np.asarray(glow, np.float32), (120, 126, 136), (226, 228, 232))


def green_screen(width_px: int, height_px: int) -> Bytes8:
    """An evenly lit green screen."""
    return tinted(noise(width_px, height_px, 3, 63), (34, 176, 54), (46, 204, 66))


SUBJECTS: dict[str, Callable[[int, int], Art]] = {
    "hair": hair,
    "fur": fur,
    "smoke": smoke,
    "text": text,
    "leaf": leaf,
}
BACKGROUNDS: dict[str, Callable[[int, int], Bytes8]] = {
    "photographic": photographic,
    "studio": studio,
    "green": green_screen,
}
