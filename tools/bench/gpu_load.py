"""What the GPU bench runs and writes: pictures, an engine without a network, a row of its table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from matteworks_inference.engines.contract import EngineFacts, NetworkKey, Tensors
from matteworks_inference.networks.graph import MATTE
from matteworks_inference.networks.registry import ModelEntry
from matteworks_inference.picture import MatteArray, PixelArray


@dataclass(frozen=True)
class Row:
    """A line of the table. `load` is items in a batch, or callers; times are of a batch, or of a call.

    `loop_ms` is processor time of the event loop for each picture.
    """

    path: str
    load: int
    pictures_per_s: float
    times_ms: Sequence[float]
    items_a_run: float
    loop_ms: float = 0.0

    def markdown(self) -> str:
        p50, p99 = np.percentile(self.times_ms, [50, 99])
        return (
            f"| {self.path} | {self.load} | {self.pictures_per_s:.1f} | {p50:.1f} | {p99:.1f} "
            f"| {self.items_a_run:.1f} |"
        )


@dataclass
class RunCounter:
    """What the queue reports: see QueueObserver."""

    run_s: list[float] = field(default_factory=list)
    item_count: int = 0

    def depth_changed(self, item_count: int) -> None:
        pass

    def item_dropped(self, reason: str) -> None:
        raise RuntimeError(f"the queue dropped an item: {reason}")

    def batch_finished(self, key: object, item_count: int, run_s: float) -> None:
        self.run_s.append(run_s)
        self.item_count += item_count


class NoNetwork:
    """An engine that answers at once with one and the same matte: what is left is the service."""

    def __init__(self, most_items: int) -> None:
        self._most_items = most_items
        self._mattes: dict[NetworkKey, MatteArray] = {}

    def facts_of(self, model: str) -> EngineFacts:
        return EngineFacts("none", "no network")

    def load(self, entry: ModelEntry, weights: Path) -> None:
        pass

    def most_items_of(self, key: NetworkKey) -> int:
        return self._most_items

    def prepare(self, key: NetworkKey, items: Sequence[Tensors]) -> tuple[NetworkKey, int]:
        return key, len(items)

    def run(self, prepared: tuple[NetworkKey, int]) -> list[Tensors]:
        key, count = prepared
        matte = self._mattes.setdefault(key, np.zeros((key.height_px, key.width_px), np.uint8))
        return [{MATTE: matte}] * count

    def discard(self, prepared: object) -> None:
        pass

    def unload(self, model: str) -> None:
        pass

    def close(self) -> None:
        pass


def drawn_pictures(width_px: int, height_px: int, count: int) -> list[PixelArray]:
    """Different pictures: a bright disk somewhere on a slope of colour, under noise."""
    rng = np.random.default_rng(7)
    rows, columns = np.mgrid[0:height_px, 0:width_px].astype(np.float32)
    pictures = []
    for _ in range(count):
        slope = rng.uniform(-0.5, 0.5, (2, 3))
        levels = 128 + 255 * (
            (rows / height_px - 0.5)[..., None] * slope[0] + (columns / width_px - 0.5)[..., None] * slope[1]
        )
        centre_y, centre_x = rng.uniform(0.3, 0.7, 2) * (height_px, width_px)
        radius_px = rng.uniform(0.15, 0.35) * min(width_px, height_px)
        levels[(rows - centre_y) ** 2 + (columns - centre_x) ** 2 < radius_px**2] += rng.uniform(-100, 100, 3)
        levels += rng.normal(0, 6, levels.shape)
        pictures.append(np.clip(levels, 0, 255).astype(np.uint8))
    return pictures
