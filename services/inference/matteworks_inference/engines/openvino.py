"""OpenVINO on the CPU: the same finished graphs in 8 bits or bfloat16, several times as fast.

Compiled networks are kept in OpenVINO's own cache beside the finished graphs, so that a later start only
reads them. A network has one inference request, because the device runs one batch at a time; it reads the
batch's own buffer.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import openvino
import structlog

from matteworks_inference.engines.contract import EngineFacts, EngineUnavailable, NetworkKey, Tensors
from matteworks_inference.engines.slots import SlotPool
from matteworks_inference.networks.eight_bit import load_ranges, quantise
from matteworks_inference.networks.graph import PIXELS
from matteworks_inference.networks.graph_store import GraphStore, processor_features
from matteworks_inference.networks.registry import ModelEntry

# Processors with these add products of bytes in 32 bits; older ones in 16, where sums saturate.
_EXACT_BYTE_PRODUCTS: Final = {"avx512_vnni", "avx_vnni", "amx_int8"}
# A side of any length, as OpenVINO writes it.
_ANY: Final = -1
log = structlog.get_logger()


@dataclass(eq=False)
class _Slot:
    """The buffers of one batch by name, seen as arrays and as what a request reads."""

    key: NetworkKey
    item_count: int
    arrays: dict[str, npt.NDArray[Any]]
    tensors: dict[str, Any]


@dataclass
class _Network:
    entry: ModelEntry
    request: Any
    slots: SlotPool[tuple[NetworkKey, int], _Slot] = field(default_factory=SlotPool)


class OpenVinoEngine:
    """See `Engine`. Networks with measured ranges run in 8 bits. What is left of them, and the others, runs
    in bfloat16 where the network bears it and the processor has it, else in float32.

    docs/experiments/2026-11-eight-bits.md tells how far each network's mattes move in each precision.
    """

    def __init__(self, *, thread_count: int, max_batch_items: int, graphs: GraphStore) -> None:
        self._thread_count = thread_count
        self._max_batch_items = max_batch_items
        self._graphs = graphs
        self._networks: dict[str, _Network] = {}
        self._core = openvino.Core()
        self._has_bfloat16 = "BF16" in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        self._adds_without_saturation = bool(_EXACT_BYTE_PRODUCTS & set(processor_features().split()))

    def facts_of(self, model: str) -> EngineFacts:
        precision = self._precision_of(self._networks[model].entry)
        version = openvino.__version__.partition("-")[0]
        return EngineFacts(
            f"openvino/cpu/{precision}",
            f"MATTEWORKS_INFERENCE_ENGINE=openvino; OpenVINO {version} with {self._thread_count} threads",
        )

    def suits(self, entry: ModelEntry) -> bool:
        """Whether it can be faster than onnxruntime with the same answers: below float32 only."""
        return self._precision_of(entry) != "f32"

    def load(self, entry: ModelEntry, weights: Path) -> None:
        """Make `entry` ready. Raises EngineUnavailable, GraphError."""
        start_s = time.perf_counter()
        graph = self._graphs.finished(entry, weights, device="openvino", fixed_items=None, build=keep_graph)
        try:
            network = _Network(entry, self._compile(graph.path, entry).create_infer_request())
        except RuntimeError as error:
            raise EngineUnavailable(f"OpenVINO cannot open the network {graph.path}: {error}") from error
        self._networks[entry.name] = network
        loaded_s = time.perf_counter()
        width_px, height_px = min(entry.input_sizes_px, key=lambda size: size[0] * size[1])
        key = NetworkKey(entry.name, width_px, height_px)
        self.run(self.prepare(key, [{PIXELS: np.zeros((height_px, width_px, 3), np.uint8)}]))
        log.info(
            "model_loaded", model=entry.name, engine="openvino/cpu",
            precision=self._precision_of(entry), load_s=round(loaded_s - start_s, 3),
            warm_s=round(time.perf_counter() - loaded_s, 3), was_stored=graph.was_stored,
        )  # fmt: skip

    def most_items_of(self, key: NetworkKey) -> int:
        return self._most_items(self._networks[key.model].entry)

    def prepare(self, key: NetworkKey, items: Sequence[Tensors]) -> _Slot:
        network = self._networks[key.model]
        slot = network.slots.take((key, len(items))) or _make_slot(key, items)
        for index, item in enumerate(items):
            for name, array in slot.arrays.items():
                array[index] = item[name]
        return slot

    def run(self, prepared: _Slot) -> list[Tensors]:
        request = self._networks[prepared.key.model].request
        try:
            for name, tensor in prepared.tensors.items():
                request.set_tensor(name, tensor)
            request.infer()
            outputs = {port.get_any_name(): request.get_tensor(port).data for port in request.model_outputs}
            # Copies: the output buffers serve the next batch while these are still on their way out.
            return [
                {name: output[index].copy() for name, output in outputs.items()}
                for index in range(prepared.item_count)
            ]
        finally:
            self.discard(prepared)

    def discard(self, prepared: _Slot) -> None:
        slots = self._networks[prepared.key.model].slots
        slots.give_back((prepared.key, prepared.item_count), prepared)

    def unload(self, model: str) -> None:
        del self._networks[model]

    def close(self) -> None:
        self._networks.clear()

    def _most_items(self, entry: ModelEntry) -> int:
        return self._max_batch_items if entry.is_batch_free else 1

    def _precision_of(self, entry: ModelEntry) -> str:
        return "int8" if self._runs_in_8_bits(entry) else self._float_precision_of(entry)

    def _runs_in_8_bits(self, entry: ModelEntry) -> bool:
        return bool(entry.ranges_file) and self._adds_without_saturation

    def _float_precision_of(self, entry: ModelEntry) -> str:
        return "bf16" if self._has_bfloat16 and entry.bears_bfloat16 else "f32"

    def _compile(self, graph: Path, entry: ModelEntry) -> Any:
        model = self._core.read_model(graph)
        model.reshape({model.input(0): self._input_shape(entry)})
        if self._runs_in_8_bits(entry):
            quantise(model, load_ranges(entry.ranges_file))
        return self._core.compile_model(
            model,
            "CPU",
            {
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_PRECISION_HINT": self._float_precision_of(entry),
                "INFERENCE_NUM_THREADS": self._thread_count,
                # Pinned threads would sit on the cores that decoding wants.
                "ENABLE_CPU_PINNING": False,
                "CACHE_DIR": str(self._graphs.cache_beside(graph, "openvino")),
            },
        )

    def _input_shape(self, entry: ModelEntry) -> list[int]:
        """Sides that vary stay free: one compiled network serves them all, as fast as one for each."""
        sizes_px = {*entry.input_sizes_px, *entry.fine_input_sizes_px}
        items = 1 if self._most_items(entry) == 1 else _ANY
        if len(sizes_px) > 1:
            return [items, _ANY, _ANY, 3]
        ((width_px, height_px),) = sizes_px
        return [items, height_px, width_px, 3]


def _make_slot(key: NetworkKey, items: Sequence[Tensors]) -> _Slot:
    arrays = {name: np.zeros((len(items), *array.shape), array.dtype) for name, array in items[0].items()}
    tensors = {name: openvino.Tensor(array, shared_memory=True) for name, array in arrays.items()}
    return _Slot(key, len(items), arrays, tensors)


def keep_graph(finished: Path, target: Path, _fixed_items: int | None) -> None:
    """OpenVINO optimises when it compiles; what is stored is the finished graph as it is."""
    shutil.copyfile(finished, target)
