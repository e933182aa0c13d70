"""Subjects drawn by code, for contact sheets and tests: no photograph, no licence, every edge known.

Each function returns an RGBA picture, H×W×4 uint8, straight alpha, anti-aliased, with room around the
subject. Coordinates are shares of the picture's sides, so a subject looks the same at any size.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["DRAWN_SUBJECTS", "Canvas"]

Bytes8 = NDArray[np.uint8]
Point = tuple[float, float]
Colour = tuple[int, int, int]

# Shapes are drawn this much larger and averaged down.
SUPERSAMPLING = 4


class Canvas:
    """An empty picture to paint shapes on; positions are shares of its sides, 0 left or top to 1."""

    def __init__(self, width_px: int, height_px: int) -> None:
        self.width_px, self.height_px = width_px, height_px
        self._paint = np.zeros((height_px * SUPERSAMPLING, width_px * SUPERSAMPLING, 4), np.uint8)

    def polygon(self, points: list[Point], colour: Colour) -> None:
        """Fill the polygon."""
        corners = np.array([self._pixel(point) for point in points], np.int32)
        cv2.fillPoly(self._paint, [corners], (*colour, 255))

    def ellipse(self, centre: Point, radius_x: float, radius_y: float, colour: Colour) -> None:
        """Fill the ellipse; the radii are shares of the width and of the height."""
        axes = (round(radius_x * self._paint.shape[1]), round(radius_y * self._paint.shape[0]))
        cv2.ellipse(self._paint, self._pixel(centre), axes, 0, 0, 360, (*colour, 255), cv2.FILLED)

    def limb(self, start: Point, end: Point, thickness: float, colour: Colour) -> None:
        """Draw a line with round ends; the thickness is a share of the width."""
        width = max(1, round(thickness * self._paint.shape[1]))
        cv2.line(self._paint, self._pixel(start), self._pixel(end), (*colour, 255), width)

    def finish(self) -> Bytes8:
        """The picture, averaged down; colours are not darkened by the emptiness around them."""
        size = (self.width_px, self.height_px)
        premultiplied = self._paint.astype(np.float32)
        premultiplied[..., :3] *= premultiplied[..., 3:] / 255
        small = cv2.resize(premultiplied, size, interpolation=cv2.INTER_AREA)
        alpha = small[..., 3:]
        small[..., :3] = np.where(alpha > 0, small[..., :3] * 255 / np.maximum(alpha, 1e-3), 0)
        return np.rint(np.clip(small, 0, 255)).astype(np.uint8)

    def _pixel(self, point: Point) -> tuple[int, int]:
        rows, columns = self._paint.shape[:2]
        return round(point[0] * columns), round(point[1] * rows)


def bottle(side_px: int = 480) -> Bytes8:
    """A bottle with a round base: one small contact."""
    canvas = Canvas(side_px, side_px)
    canvas.ellipse((0.5, 0.84), 0.11, 0.03, (20, 70, 52))
    canvas.polygon([(0.39, 0.42), (0.61, 0.42), (0.61, 0.84), (0.39, 0.84)], (24, 84, 62))
    canvas.polygon([(0.39, 0.42), (0.46, 0.28), (0.54, 0.28), (0.61, 0.42)], (30, 96, 72))
    canvas.polygon([(0.46, 0.12), (0.54, 0.12), (0.54, 0.28), (0.46, 0.28)], (34, 104, 80))
    canvas.polygon([(0.39, 0.52), (0.61, 0.52), (0.61, 0.72), (0.39, 0.72)], (228, 220, 196))
    return canvas.finish()


def parcel(side_px: int = 480) -> Bytes8:
    """A box seen from its corner: three contacts at different heights in the picture."""
    canvas = Canvas(side_px, side_px)
    canvas.polygon([(0.20, 0.40), (0.48, 0.50), (0.48, 0.86), (0.20, 0.70)], (176, 128, 78))
    canvas.polygon([(0.48, 0.50), (0.82, 0.38), (0.82, 0.68), (0.48, 0.86)], (204, 154, 98))
    canvas.polygon([(0.20, 0.40), (0.54, 0.30), (0.82, 0.38), (0.48, 0.50)], (226, 182, 128))
    return canvas.finish()


def ball(side_px: int = 480) -> Bytes8:
    """A ball: a contact of one point, and all else overhanging."""
    canvas = Canvas(side_px, side_px)
    canvas.ellipse((0.5, 0.55), 0.28, 0.28, (200, 52, 44))
    canvas.ellipse((0.42, 0.46), 0.09, 0.09, (232, 120, 108))
    return canvas.finish()


def dog(side_px: int = 480) -> Bytes8:
    """Four legs, the far pair higher in the picture than the near one."""
    canvas = Canvas(side_px, side_px)
    fur, shade = (166, 112, 64), (132, 86, 48)
    canvas.limb((0.36, 0.55), (0.35, 0.78), 0.05, shade)
    canvas.limb((0.70, 0.55), (0.71, 0.78), 0.05, shade)
    canvas.limb((0.29, 0.55), (0.27, 0.84), 0.06, fur)
    canvas.limb((0.64, 0.55), (0.63, 0.84), 0.06, fur)
    canvas.ellipse((0.48, 0.50), 0.26, 0.12, fur)
    canvas.ellipse((0.22, 0.33), 0.11, 0.09, fur)
    canvas.limb((0.72, 0.46), (0.86, 0.30), 0.035, fur)
    canvas.limb((0.30, 0.45), (0.22, 0.36), 0.10, fur)
    return canvas.finish()


def person(side_px: int = 480) -> Bytes8:
    """Someone who stands with the feet apart."""
    canvas = Canvas(side_px, side_px)
    cloth, trousers, skin = (48, 84, 140), (54, 52, 60), (216, 168, 136)
    canvas.limb((0.46, 0.52), (0.42, 0.86), 0.065, trousers)
    canvas.limb((0.54, 0.52), (0.59, 0.88), 0.065, trousers)
    canvas.limb((0.41, 0.88), (0.39, 0.885), 0.04, (40, 30, 26))
    canvas.limb((0.60, 0.90), (0.63, 0.905), 0.04, (40, 30, 26))
    canvas.polygon([(0.40, 0.24), (0.60, 0.24), (0.58, 0.56), (0.42, 0.56)], cloth)
    canvas.limb((0.41, 0.27), (0.34, 0.52), 0.045, cloth)
    canvas.limb((0.59, 0.27), (0.66, 0.50), 0.045, cloth)
    canvas.ellipse((0.5, 0.15), 0.06, 0.075, skin)
    return canvas.finish()


def car(side_px: int = 480) -> Bytes8:
    """A car from the side: two tyres, daylight under the sill, dark windows in light paint."""
    canvas = Canvas(side_px, side_px)
    paint, glass, rubber = (206, 208, 212), (34, 38, 46), (26, 26, 28)
    canvas.polygon(
        [(0.05, 0.66), (0.06, 0.54), (0.22, 0.50), (0.92, 0.50), (0.95, 0.56), (0.95, 0.66)], paint
    )
    canvas.polygon([(0.20, 0.52), (0.34, 0.37), (0.66, 0.37), (0.82, 0.52)], paint)
    canvas.polygon([(0.26, 0.50), (0.365, 0.395), (0.49, 0.395), (0.49, 0.50)], glass)
    canvas.polygon([(0.52, 0.50), (0.52, 0.395), (0.64, 0.395), (0.745, 0.50)], glass)
    for centre in (0.24, 0.76):
        canvas.ellipse((centre, 0.66), 0.075, 0.075, rubber)
        canvas.ellipse((centre, 0.66), 0.042, 0.042, (168, 170, 176))
    return canvas.finish()


DRAWN_SUBJECTS: dict[str, Callable[[int], Bytes8]] = {
    "bottle": bottle,
    "parcel": parcel,
    "ball": ball,
    "dog": dog,
    "person": person,
    "car": car,
}
