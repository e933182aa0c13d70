"""An engine without networks: mattes by arithmetic, and failures on demand."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from matteworks_inference.engines.contract import EngineFacts, NetworkKey, Tensors
from matteworks_inference.networks.graph import MATTE, PIXELS, UPSCALED
from matteworks_inference.networks.registry import ModelEntry


@dataclass(frozen=True)
class FakeBatch:
    """What `FakeEngine.prepare` lays out."""

    key: NetworkKey
    items: tuple[npt.NDArray[Any], ...]


class FakeEngine:
    """Each matte is its picture's red channel, so every answer can be told apart from every other; larger
    pictures have each pixel several times.

    `gate`, when cleared, holds the device; each run takes `run_s` seconds; `failures` are raised by the
    next runs, first in, first out; `load_failure` is what loading raises. `runs` are the batches that ran,
    `discarded` those that were taken back.
    """

    def __init__(self, max_batch_items: int = 4) -> None:
        self.max_batch_items = max_batch_items
        self.gate = threading.Event()
        self.gate.set()
        self._never = threading.Event()
        self.has_begun = threading.Event()
        self.run_s = 0.0
        self.failures: list[Exception] = []
        self.runs: list[FakeBatch] = []
        self.discarded: list[FakeBatch] = []
        self.loaded: list[str] = []
        self._factors: dict[str, int] = {}
        self.load_failure: Exception | None = None
        self.is_closed = False

    def load(self, entry: ModelEntry, weights: Path) -> None:
        if self.load_failure is not None:
            raise self.load_failure
        self.loaded.append(entry.name)
        if entry.is_upscaler:
            self._factors[entry.name] = entry.factor

    def facts_of(self, model: str) -> EngineFacts:
        return EngineFacts("fake/none", "a test asked for it")

    def unload(self, model: str) -> None:
        self.loaded.remove(model)

    def most_items_of(self, key: NetworkKey) -> int:
        return self.max_batch_items

    def prepare(self, key: NetworkKey, items: Sequence[Tensors]) -> FakeBatch:
        return FakeBatch(key, tuple(np.array(item[PIXELS]) for item in items))

    def run(self, prepared: FakeBatch) -> list[Tensors]:
        self.runs.append(prepared)
        self.has_begun.set()
        self.gate.wait()
        self._never.wait(self.run_s)
        if self.failures:
            raise self.failures.pop(0)
        factor = self._factors.get(prepared.key.model)
        if factor is not None:
            return [{UPSCALED: item.repeat(factor, 0).repeat(factor, 1)} for item in prepared.items]
        return [{MATTE: np.ascontiguousarray(item[:, :, 0])} for item in prepared.items]

    def discard(self, prepared: FakeBatch) -> None:
        self.discarded.append(prepared)

    def close(self) -> None:
        self.is_closed = True
