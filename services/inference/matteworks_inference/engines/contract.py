"""What runs networks, as the rest of the service sees it: named tensors in and out, batch by batch.

An engine knows networks by their key, and nothing of what their tensors mean; tasks do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy.typing as npt

from matteworks_inference.networks.registry import ModelEntry

__all__ = ["Engine", "EngineFacts", "EngineUnavailable", "NetworkKey", "Tensors"]

# The tensors of one item by the names that the network gives them, without the axis of the batch.
Tensors: TypeAlias = Mapping[str, npt.NDArray[Any]]


class EngineUnavailable(Exception):
    """The engine cannot be had as it was asked for; the message says what to do."""


@dataclass(frozen=True)
class NetworkKey:
    """What may share a batch: one network at one input size, so that all tensors have equal shapes."""

    model: str
    width_px: int
    height_px: int


@dataclass(frozen=True)
class EngineFacts:
    """Runtime and device, for example `onnxruntime/cpu`, and why they were chosen, for people."""

    label: str
    reason: str


class Engine(Protocol):
    """Runs the networks that it has loaded. `prepare` and `run` each have one calling thread."""

    def facts_of(self, model: str) -> EngineFacts:
        """What runs the loaded model of that name."""

    def load(self, entry: ModelEntry, weights: Path) -> None:
        """Make `entry` ready: warmed up, so that the first request is as fast as the next. Blocks."""

    def most_items_of(self, key: NetworkKey) -> int:
        """How many items of `key` may share a batch."""

    def prepare(self, key: NetworkKey, items: Sequence[Tensors]) -> Any:
        """Lay out the items, whose tensors have the shapes of the key."""

    def run(self, prepared: Any) -> list[Tensors]:
        """What the network answers to each item. Raises DeviceLost when the device is beyond use."""

    def discard(self, prepared: Any) -> None:
        """Take back what will not be run."""

    def unload(self, model: str) -> None:
        """Forget a loaded model and give its memory back."""

    def close(self) -> None:
        """Give everything back."""
