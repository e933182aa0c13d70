"""Upscale: decode, let a network draw what has detail, fit it to the picture, encode. Knows no wire."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from matteworks_common.context import current_call
from matteworks_common.errors import InvalidField, overloaded
from matteworks_common.stages import Stages
from matteworks_compositor.compositor import OUTPUT_WEIGHTS
from matteworks_compositor.editing.workbench import Edited, EditOutput, Workbench
from matteworks_compositor.kernels.enlarging import OVERSHOOT_LEVELS, enlarge, first_guess
from matteworks_compositor.kernels.tiling import Place, Tiling, detail_of, lay_tiles, with_rim
from matteworks_compositor.options.model import OutputFormat
from matteworks_compositor.upscaling_client import FACTOR, TileSource
from matteworks_imaging.box import Box, Size, round_half_up
from matteworks_imaging.decoding import Decoded
from matteworks_imaging.filters.colour_padding import blank_where_empty, pad_colours
from matteworks_imaging.header import MAX_PIXELS
from matteworks_imaging.limits import PictureFile

__all__ = ["Bounds", "Enlarged", "Enlarger", "enlarged_size"]

Bytes8 = NDArray[np.uint8]
FACTORS: Final = (2, 4)
MOST_TIMES: Final = 8
MAX_SIDE_PX: Final = 16_384
# Tiles under way for one picture: enough to fill a batch, and few beside those of others.
TILES_IN_FLIGHT: Final = 4
# What is held for a pixel of the result, in the units of Admission (12 bytes).
RESULT_WEIGHT: Final = 2
# After so many tiles their pace tells how long the rest takes.
_TRIAL_TILES: Final = 8


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most that a side may measure; 0: whatever the other gives. One is above 0."""

    width_px: int
    height_px: int


@dataclass(frozen=True, slots=True)
class Enlarged:
    """The result. `model` drew its details; empty: the filter made all of it."""

    edited: Edited
    model: str


class Enlarger:
    """Enlarges pictures on the `bench`.

    `network_pixels`: with more pixels than these in tiles that have detail, the filter alone is used.
    """

    def __init__(self, bench: Workbench, tiles: TileSource, *, network_pixels: float) -> None:
        self._bench = bench
        self._tiles = tiles
        self._network_pixels = network_pixels

    async def enlarge(
        self, file: PictureFile, wanted: int | Bounds, output: EditOutput, stages: Stages
    ) -> Enlarged:
        """The picture as large as `wanted`. AUTO: a WebP file of a transparent picture, else a JPEG file.

        Raises InvalidField (see `enlarged_size`), FailedPrecondition (TOOL_UNAVAILABLE), LimitExceeded
        (OVERLOADED; also when the network is too slow for the time that is left), InvalidPicture
        (FAILED_TO_READ_IMAGE; RESOLUTION_TOO_HIGH for a result that no message can hold).
        """
        size = enlarged_size(file.size, wanted)
        model = await self._tiles.model()
        bench = self._bench
        async with bench.admit_weight([file], _weight(size, output)):
            decoded, layers = await bench.compute("decode", stages, lambda: self._layers(file, output))
            with stages.measure("draw"):
                drawn = await self._draw(layers)
            canvas = await bench.compute("enlarge", stages, lambda: _together(layers, drawn, size))
            if output.format is OutputFormat.AUTO:
                is_flat = canvas.shape[2] == 3 or output.is_opaque
                output = replace(output, format=OutputFormat.JPEG if is_flat else OutputFormat.WEBP)
            whole = Box(0, 0, size.width_px, size.height_px)
            edited = await bench.compute(
                "encode", stages, lambda: bench.encode(canvas, decoded, output, whole)
            )
        return Enlarged(edited, model if any(layer.areas for layer in layers) else "")

    def _layers(self, file: PictureFile, output: EditOutput) -> tuple[Decoded, list[_Layer]]:
        """The picture's colours, and its alpha where it has one, with what the network is to draw of them."""
        decoded = self._bench.decode(file, output)
        pictures = [decoded.pixels]
        if decoded.alpha is not None:
            # What lies below alpha 0 would come out at the edges.
            colours = decoded.pixels.copy()
            blank_where_empty(colours, decoded.alpha)
            pictures = [pad_colours(colours, decoded.alpha), decoded.alpha[..., None]]
        layers = [_Layer(pixels, self._areas(pixels)) for pixels in pictures]
        if sum(area.size.pixel_count for layer in layers for area in layer.areas.values()) > (
            self._network_pixels
        ):
            layers = [_Layer(layer.pixels, {}) for layer in layers]
        return decoded, layers

    def _areas(self, pixels: Bytes8) -> Mapping[Place, Box]:
        # What the network drew is held whole, FACTOR times as large as the picture.
        if pixels.shape[0] * pixels.shape[1] * FACTOR**2 > MAX_PIXELS:
            return {}
        return Tiling(Size(pixels.shape[1], pixels.shape[0])).with_detail(detail_of(pixels))

    async def _draw(self, layers: list[_Layer]) -> list[dict[Place, Bytes8]]:
        """The tiles of each layer as the network draws them. One that fails ends the others."""
        drawn: list[dict[Place, Bytes8]] = [{} for _ in layers]
        free = asyncio.Semaphore(TILES_IN_FLIGHT)
        pace = _Pace(sum(len(layer.areas) for layer in layers))

        async def draw(layer: _Layer, place: Place, target: dict[Place, Bytes8]) -> None:
            async with free:
                tile = with_rim(layer.pixels, layer.areas[place])
                answer = await self._tiles.upscale(tile)
                target[place] = answer[..., : layer.pixels.shape[2]]
                pace.check()

        try:
            async with asyncio.TaskGroup() as group:
                for layer, target in zip(layers, drawn, strict=True):
                    for place in layer.areas:
                        group.create_task(draw(layer, place, target))
        except ExceptionGroup as failures:
            first = failures.exceptions[0]
            raise first from first.__cause__
        return drawn


@dataclass(frozen=True, eq=False)
class _Layer:
    """`pixels` (H×W×3 or H×W×1) and the tiles of them that the network draws."""

    pixels: Bytes8
    areas: Mapping[Place, Box]


class _Pace:
    """Ends what cannot end in time, so that nobody waits for nothing."""

    def __init__(self, tile_count: int) -> None:
        self._left = tile_count
        self._done = 0
        self._start_s = time.perf_counter()

    def check(self) -> None:
        """A tile is there. Raises LimitExceeded (OVERLOADED) when the others come too late."""
        self._left -= 1
        self._done += 1
        call = current_call.get()
        left_s = call.remaining_s() if call else None
        if left_s is None or self._done < _TRIAL_TILES:
            return
        needed_s = (time.perf_counter() - self._start_s) / self._done * self._left
        if needed_s > left_s:
            raise overloaded("The network is too busy to draw this picture in time.", needed_s)


def enlarged_size(picture: Size, wanted: int | Bounds) -> Size:
    """What `picture` measures afterwards.

    Raises InvalidField: a factor other than 2 and 4, bounds that the picture fills already or that are
    more than 8 times as large, a side of more than 16384 or a result of more than 50 million pixels.
    """
    if isinstance(wanted, int):
        if wanted not in FACTORS:
            raise InvalidField("factor", "Give 2 or 4; for another size, bounds.")
        size = Size(picture.width_px * wanted, picture.height_px * wanted)
        return _checked(size, "factor")
    across_px, down_px = wanted.width_px, wanted.height_px
    if not (0 <= across_px <= MAX_SIDE_PX and 0 <= down_px <= MAX_SIDE_PX) or across_px == down_px == 0:
        raise InvalidField("bounds", f"Give a width, a height or both, of 1 to {MAX_SIDE_PX} pixels.")
    times = min(
        across_px / picture.width_px if across_px else float("inf"),
        down_px / picture.height_px if down_px else float("inf"),
    )
    size = Size(
        max(1, round_half_up(picture.width_px * times)), max(1, round_half_up(picture.height_px * times))
    )
    if times <= 1 or size == picture:
        raise InvalidField(
            "bounds",
            f"Ask for more than the picture has, {picture.width_px} × {picture.height_px} pixels.",
        )
    if times > MOST_TIMES:
        raise InvalidField(
            "bounds",
            f"Ask for at most {MOST_TIMES} times the picture, "
            f"{picture.width_px * MOST_TIMES} × {picture.height_px * MOST_TIMES} pixels.",
        )
    return _checked(size, "bounds")


def _checked(size: Size, field: str) -> Size:
    if size.pixel_count > MAX_PIXELS or size.longer_side_px > MAX_SIDE_PX:
        raise InvalidField(
            field,
            f"The result would have {size.width_px} × {size.height_px} pixels; stay within "
            f"{MAX_PIXELS // 1_000_000} megapixels in all and {MAX_SIDE_PX} pixels a side.",
        )
    return size


def _weight(size: Size, output: EditOutput) -> int:
    return -(-size.pixel_count // 1_000_000) * max(RESULT_WEIGHT, OUTPUT_WEIGHTS.get(output.format, 1))


def _together(layers: list[_Layer], drawn: list[dict[Place, Bytes8]], size: Size) -> Bytes8:
    """All channels at `size`; nothing is left of the colours where nothing is seen."""
    results = []
    for layer, tiles in zip(layers, drawn, strict=True):
        canvas: Bytes8 | None = None
        if tiles:
            tiling = Tiling(Size(layer.pixels.shape[1], layer.pixels.shape[0]))
            factored = Size(tiling.size.width_px * FACTOR, tiling.size.height_px * FACTOR)
            canvas = first_guess(layer.pixels, factored)
            lay_tiles(canvas, tiling, tiles, FACTOR)
        # An alpha of 3 in 255 around a subject is a rim that people see: it stays within its neighbours.
        overshoot = OVERSHOOT_LEVELS if layer.pixels.shape[2] == 3 else 0
        results.append(enlarge(layer.pixels, size, canvas, overshoot))
    if len(results) == 1:
        return results[0]
    colours, alpha = results
    blank_where_empty(colours, alpha[..., 0])
    return np.asarray(cv2.merge((*cv2.split(colours), alpha[..., 0])), np.uint8)
