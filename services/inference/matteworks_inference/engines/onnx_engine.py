"""Networks in onnxruntime, wherever they are placed.

What differs between a CPU and a GPU is the placement: providers, batch sizes, whose memory a batch lies in.
Buffers are allocated once and bound to the session, so a batch costs one copy in and one out.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import onnxruntime
import structlog

from matteworks_inference.engines.contract import EngineFacts, NetworkKey, Tensors
from matteworks_inference.networks.registry import ModelEntry

log = structlog.get_logger()


class Slot(Protocol):
    """The memory of one batch, bound to its network. `room` is how many items the device computes."""

    key: NetworkKey
    room: int

    def fill(self, items: Sequence[Tensors]) -> None:
        """Lay out up to `room` items; called from the preparing thread."""

    def run(self) -> list[Tensors]:
        """The answers to the items of the last `fill`; called from the device's thread."""

    def release(self) -> None:
        """Nobody uses the slot any more."""


class PlacedNetwork(Protocol):
    """A network that is open. `label` is where; `was_stored`: an earlier start finished its graph."""

    label: str
    was_stored: bool

    def slot(self, key: NetworkKey, room: int) -> Slot:
        """A slot that nobody uses. Thread-safe."""


class Placement(Protocol):
    """Where onnxruntime runs networks, and how."""

    def open(self, entry: ModelEntry, weights: Path, most_items: int) -> PlacedNetwork:
        """Raises EngineUnavailable, GraphError."""

    def facts_of(self, network: PlacedNetwork) -> EngineFacts:
        """What runs it."""

    def room_for(self, entry: ModelEntry, item_count: int, most_items: int) -> int:
        """How many items the device computes when it is given `item_count`."""

    def warm(self, network: PlacedNetwork, entry: ModelEntry, rooms: Sequence[int]) -> None:
        """Run what must have run once for the first request to be as fast as the next."""

    def judge(self, error: Exception) -> Exception:
        """What a failure of a run means: itself, or DeviceLost."""


@dataclass
class _Loaded:
    entry: ModelEntry
    network: PlacedNetwork


class OnnxRuntimeEngine:
    """See `Engine`. `max_batch_items` bounds a batch."""

    def __init__(self, placement: Placement, *, max_batch_items: int) -> None:
        self._placement = placement
        self._max_batch_items = max_batch_items
        self._loaded: dict[str, _Loaded] = {}

    def facts_of(self, model: str) -> EngineFacts:
        return self._placement.facts_of(self._loaded[model].network)

    def load(self, entry: ModelEntry, weights: Path) -> None:
        """Make `entry` ready. Raises EngineUnavailable, GraphError."""
        start_s = time.perf_counter()
        most_items = self._most_items(entry)
        network = self._placement.open(entry, weights, most_items)
        loaded_s = time.perf_counter()
        self._placement.warm(network, entry, rooms_of(self._placement, entry, most_items))
        self._loaded[entry.name] = _Loaded(entry, network)
        log.info(
            "model_loaded",
            model=entry.name,
            engine=network.label,
            load_s=round(loaded_s - start_s, 3),
            warm_s=round(time.perf_counter() - loaded_s, 3),
            was_stored=network.was_stored,
        )

    def most_items_of(self, key: NetworkKey) -> int:
        return self._most_items(self._loaded[key.model].entry)

    def prepare(self, key: NetworkKey, items: Sequence[Tensors]) -> Slot:
        loaded = self._loaded[key.model]
        room = self._placement.room_for(loaded.entry, len(items), self._most_items(loaded.entry))
        try:
            slot = loaded.network.slot(key, room)
        except Exception as error:
            raise self._placement.judge(error) from error
        try:
            slot.fill(items)
        except Exception as error:
            slot.release()
            raise self._placement.judge(error) from error
        return slot

    def run(self, prepared: Slot) -> list[Tensors]:
        try:
            return prepared.run()
        except Exception as error:
            raise self._placement.judge(error) from error
        finally:
            prepared.release()

    def discard(self, prepared: Slot) -> None:
        prepared.release()

    def unload(self, model: str) -> None:
        del self._loaded[model]

    def close(self) -> None:
        self._loaded.clear()

    def _most_items(self, entry: ModelEntry) -> int:
        return self._max_batch_items if entry.is_batch_free else 1


def rooms_of(placement: Placement, entry: ModelEntry, most_items: int) -> list[int]:
    """Every number of items that the device computes for batches of up to `most_items`, smallest first."""
    return sorted({placement.room_for(entry, count, most_items) for count in range(1, most_items + 1)})


def session_options(thread_count: int) -> Any:
    """Options that every session has, wherever it runs."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = thread_count
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # Threads that spin while they wait take the cores from decoding and from the other services.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Plans of memory are kept per shape and beside each other; the shared arena needs none.
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    return options
