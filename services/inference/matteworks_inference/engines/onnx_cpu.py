"""Networks on the processor, by onnxruntime: they read and write the host's memory in place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnxruntime

from matteworks_inference.engines.contract import EngineFacts, EngineUnavailable, NetworkKey, Tensors
from matteworks_inference.engines.onnx_engine import PlacedNetwork, Slot, session_options
from matteworks_inference.engines.slots import SlotPool
from matteworks_inference.networks.graph import PIXELS
from matteworks_inference.networks.graph_store import GraphStore
from matteworks_inference.networks.registry import ModelEntry


class CpuPlacement:
    """See `Placement`."""

    def __init__(self, thread_count: int, graphs: GraphStore) -> None:
        self._thread_count = thread_count
        self._graphs = graphs
        _share_arena()

    def open(self, entry: ModelEntry, weights: Path, most_items: int) -> PlacedNetwork:
        # A single fixed size lets the runtime plan memory and fold every shape computation.
        fixed_items = 1 if most_items == 1 else None
        graph = self._graphs.finished(
            entry, weights, device="cpu", fixed_items=fixed_items, build=self._optimise
        )
        options = self._options(fixed_items)
        # It was optimised when it was stored; doing it again costs seconds at every start.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            session = self._session(graph.path, options)
        except Exception as error:
            raise EngineUnavailable(f"onnxruntime cannot open the network {graph.path}: {error}") from error
        return _HostNetwork(session, graph.was_stored)

    def facts_of(self, network: PlacedNetwork) -> EngineFacts:
        runtime = f"onnxruntime {onnxruntime.__version__} with {self._thread_count} threads"
        return EngineFacts(network.label, f"MATTEWORKS_INFERENCE_DEVICE=cpu; {runtime}")

    def room_for(self, entry: ModelEntry, item_count: int, most_items: int) -> int:
        return item_count

    def warm(self, network: PlacedNetwork, entry: ModelEntry, rooms: Sequence[int]) -> None:
        """A CPU has nothing to search for other shapes: a run of each size of batch touches every weight."""
        width_px, height_px = min(entry.input_sizes_px, key=lambda size: size[0] * size[1])
        key = NetworkKey(entry.name, width_px, height_px)
        for room in rooms:
            slot = network.slot(key, room)
            slot.fill([{PIXELS: np.zeros((height_px, width_px, 3), np.uint8)}] * room)
            slot.run()
            slot.release()

    def judge(self, error: Exception) -> Exception:
        return error

    def _options(self, fixed_items: int | None) -> Any:
        options = session_options(self._thread_count)
        options.add_session_config_entry("session.use_env_allocators", "1")
        if fixed_items is not None:
            options.add_free_dimension_override_by_name("items", fixed_items)
        return options

    def _optimise(self, finished: Path, target: Path, fixed_items: int | None) -> None:
        """Let the runtime rewrite `finished` for this machine once, and keep what it made."""
        options = self._options(fixed_items)
        options.optimized_model_filepath = str(target)
        self._session(finished, options)

    @staticmethod
    def _session(path: Path, options: Any) -> Any:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class _HostNetwork:
    label = "onnxruntime/cpu"

    def __init__(self, session: Any, was_stored: bool) -> None:
        self.session = session
        self.was_stored = was_stored
        self._pool: SlotPool[tuple[NetworkKey, int], _HostSlot] = SlotPool()

    def slot(self, key: NetworkKey, room: int) -> Slot:
        return self._pool.take((key, room)) or _HostSlot(self, key, room)

    def give_back(self, slot: _HostSlot) -> None:
        self._pool.give_back((slot.key, slot.room), slot)


class _HostSlot:
    """Arrays that the session reads and writes where they are, made for the shapes of the first items."""

    def __init__(self, network: _HostNetwork, key: NetworkKey, room: int) -> None:
        self.key = key
        self.room = room
        self._network = network
        self._item_count = 0
        self._inputs: dict[str, npt.NDArray[Any]] = {}
        self._outputs: dict[str, npt.NDArray[Any]] = {}
        self._binding = network.session.io_binding()

    def fill(self, items: Sequence[Tensors]) -> None:
        if not self._inputs:
            self._bind(items[0])
        for index, item in enumerate(items):
            for name, array in self._inputs.items():
                array[index] = item[name]
        self._item_count = len(items)

    def run(self) -> list[Tensors]:
        self._network.session.run_with_iobinding(self._binding)
        outputs = self._outputs or dict(zip(self._output_names, self._binding.get_outputs(), strict=True))
        return [
            # Copies: the buffers serve the next batch while these are still on their way out.
            {name: np.array(_array(output)[index]) for name, output in outputs.items()}
            for index in range(self._item_count)
        ]

    def release(self) -> None:
        self._network.give_back(self)

    @property
    def _output_names(self) -> list[str]:
        return [output.name for output in self._network.session.get_outputs()]

    def _bind(self, item: Tensors) -> None:
        sides: dict[str, int] = {}
        for described in self._network.session.get_inputs():
            array = item[described.name]
            shape = (self.room, *map(int, array.shape))
            sides |= {name: side for name, side in zip(described.shape, shape, strict=True) if _is_name(name)}
            self._inputs[described.name] = np.zeros(shape, array.dtype)
        for name, array in self._inputs.items():
            self._binding.bind_input(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        described_outputs = self._network.session.get_outputs()
        shapes: list[list[Any]] = [
            [sides.get(side, side) for side in output.shape] for output in described_outputs
        ]
        # A network that makes another size than it is given has sides that only a run tells.
        if all(isinstance(side, int) for shape in shapes for side in shape):
            for output, output_shape in zip(described_outputs, shapes, strict=True):
                array = np.zeros(output_shape, _DTYPES[output.type])
                self._outputs[output.name] = array
                self._binding.bind_output(output.name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        else:
            for output in described_outputs:
                self._binding.bind_output(output.name, "cpu")


_DTYPES: Final = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32, "tensor(int64)": np.int64}


def _is_name(side: object) -> bool:
    return isinstance(side, str)


def _array(output: Any) -> npt.NDArray[Any]:
    return output if isinstance(output, np.ndarray) else np.asarray(output.numpy())


def _share_arena() -> None:
    """Give this process one arena for all networks, which grows by what is asked for and not by doubling.

    They run one at a time, so they need the room only once: for three networks 0.96 GB instead of 2.1.
    """
    memory = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    same_as_requested = onnxruntime.OrtArenaCfg({"arena_extend_strategy": 1})
    try:
        onnxruntime.create_and_register_allocator(memory, same_as_requested)
    except RuntimeError as error:
        # The runtime keeps one per process; a second engine shares it.
        if "already" not in str(error):
            raise
