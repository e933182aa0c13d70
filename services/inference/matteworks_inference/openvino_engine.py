"""OpenVINO on the CPU: the same finished graphs, faster where the processor multiplies bfloat16.

Compiled networks are kept in OpenVINO's own cache beside the finished graphs, so that a later start only
reads them. Each slot has an inference request of its own, whose input is the slot's buffer.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino
import structlog

from matteworks_inference.engine import EngineFacts, EngineUnavailable, MatteArray, NetworkKey, PixelArray
from matteworks_inference.graph_store import GraphStore
from matteworks_inference.models.registry import ModelEntry

log = structlog.get_logger()


@dataclass(eq=False)
class _Slot:
    """One buffer and the request that reads it."""

    key: NetworkKey
    pixels: npt.NDArray[np.uint8]
    request: Any
    item_count: int = 0


@dataclass
class _Network:
    entry: ModelEntry
    # By width, height, items: OpenVINO compiles for fixed shapes.
    compiled: dict[tuple[int, int, int], Any] = field(default_factory=dict)
    free_slots: dict[tuple[NetworkKey, int], list[_Slot]] = field(default_factory=dict)


class OpenVinoEngine:
    """See `Engine`. Networks that bear it run in bfloat16 where the processor has it, the others in float32.

    Measured as mean distance of mattes in levels of 255: ISNet moves by 0.01 to 0.24, which nobody sees;
    U2-Net-p by up to 10 and MODNet by up to 6, so those stay in float32.
    """

    def __init__(self, *, thread_count: int, max_batch_items: int, graphs: GraphStore) -> None:
        self._thread_count = thread_count
        self._max_batch_items = max_batch_items
        self._graphs = graphs
        self._networks: dict[str, _Network] = {}
        self._core = openvino.Core()
        self._has_bfloat16 = "BF16" in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        # Slots go back from the device's thread and are taken by the preparing one.
        self._lock = threading.Lock()

    def facts_of(self, model: str) -> EngineFacts:
        precision = self._precision_of(self._networks[model].entry)
        version = openvino.__version__.partition("-")[0]
        return EngineFacts(
            f"openvino/cpu/{precision}",
            f"MATTEWORKS_INFERENCE_ENGINE=openvino; OpenVINO {version} with {self._thread_count} threads",
        )

    def suits(self, entry: ModelEntry) -> bool:
        """Whether it can be faster than onnxruntime with the same answers: in bfloat16 only."""
        return self._precision_of(entry) == "bf16"

    def load(self, entry: ModelEntry, weights: Path) -> None:
        """Make `entry` ready. Raises EngineUnavailable, GraphError."""
        start_s = time.perf_counter()
        graph = self._graphs.finished(entry, weights, device="openvino", fixed_items=None, build=_keep)
        network = _Network(entry)
        try:
            for width_px, height_px in {*entry.input_sizes_px, *entry.fine_input_sizes_px}:
                for item_count in range(1, self._most_items(entry) + 1):
                    network.compiled[width_px, height_px, item_count] = self._compile(
                        graph.path, (item_count, height_px, width_px, 3), self._precision_of(entry)
                    )
        except RuntimeError as error:
            raise EngineUnavailable(f"OpenVINO cannot open the network {graph.path}: {error}") from error
        self._networks[entry.name] = network
        loaded_s = time.perf_counter()
        for width_px, height_px, item_count in network.compiled:
            key = NetworkKey(entry.name, width_px, height_px)
            self.run(self.prepare(key, [np.zeros((height_px, width_px, 3), np.uint8)] * item_count))
        log.info(
            "model_loaded", model=entry.name, engine="openvino/cpu",
            precision=self._precision_of(entry), load_s=round(loaded_s - start_s, 3),
            warm_s=round(time.perf_counter() - loaded_s, 3), was_stored=graph.was_stored,
        )  # fmt: skip

    def most_items_of(self, key: NetworkKey) -> int:
        return self._most_items(self._networks[key.model].entry)

    def prepare(self, key: NetworkKey, items: Sequence[PixelArray]) -> _Slot:
        network = self._networks[key.model]
        with self._lock:
            free = network.free_slots.get((key, len(items)))
            slot = free.pop() if free else None
        if slot is None:
            pixels = np.zeros((len(items), key.height_px, key.width_px, 3), np.uint8)
            request = network.compiled[key.width_px, key.height_px, len(items)].create_infer_request()
            request.set_input_tensor(openvino.Tensor(pixels, shared_memory=True))
            slot = _Slot(key, pixels, request)
        for index, item in enumerate(items):
            slot.pixels[index] = item
        slot.item_count = len(items)
        return slot

    def run(self, prepared: _Slot) -> list[MatteArray]:
        try:
            prepared.request.infer()
            # Copies: the output buffer serves the next batch while these are still on their way out.
            mattes = prepared.request.get_output_tensor().data
            return [matte.copy() for matte in mattes[: prepared.item_count]]
        finally:
            self.discard(prepared)

    def discard(self, prepared: _Slot) -> None:
        free_slots = self._networks[prepared.key.model].free_slots
        with self._lock:
            free_slots.setdefault((prepared.key, len(prepared.pixels)), []).append(prepared)

    def unload(self, model: str) -> None:
        del self._networks[model]

    def close(self) -> None:
        self._networks.clear()

    def _most_items(self, entry: ModelEntry) -> int:
        return self._max_batch_items if entry.is_batch_free else 1

    def _precision_of(self, entry: ModelEntry) -> str:
        return "bf16" if self._has_bfloat16 and entry.bears_bfloat16 else "f32"

    def _compile(self, graph: Path, shape: tuple[int, int, int, int], precision: str) -> Any:
        model = self._core.read_model(graph)
        model.reshape({model.input(0): shape})
        return self._core.compile_model(
            model,
            "CPU",
            {
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_PRECISION_HINT": precision,
                "INFERENCE_NUM_THREADS": self._thread_count,
                # Pinned threads would sit on the cores that decoding wants.
                "ENABLE_CPU_PINNING": False,
                "CACHE_DIR": str(graph.parent / "openvino"),
            },
        )


def _keep(finished: Path, target: Path, _fixed_items: int | None) -> None:
    """OpenVINO optimises when it compiles; what is stored is the finished graph as it is."""
    shutil.copyfile(finished, target)
