"""A device that runs finished networks: pixels in, mattes out, batch by batch.

The Protocol is what the rest of the service sees; `OnnxRuntimeEngine` is the means. Buffers for input and
output are allocated once per shape and bound to the session, so a batch costs one copy in and one out.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import onnxruntime
import structlog

from matteworks_inference.batch_terms import DeviceLost
from matteworks_inference.graph import MATTE, PIXELS
from matteworks_inference.graph_store import GraphStore, StoredGraph
from matteworks_inference.models.registry import ModelEntry

# uint8, height x width x 3, R G B.
PixelArray: TypeAlias = npt.NDArray[np.uint8]
# uint8, height x width, 0 background to 255 subject.
MatteArray: TypeAlias = npt.NDArray[np.uint8]
Device: TypeAlias = Literal["cpu", "cuda"]

_PROVIDERS: Final = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
log = structlog.get_logger()


class EngineUnavailable(Exception):
    """The engine cannot be had as it was asked for; the message says what to do."""


@dataclass(frozen=True)
class NetworkKey:
    """What may share a batch: one network at one input size."""

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

    def prepare(self, key: NetworkKey, items: Sequence[PixelArray]) -> Any:
        """Lay out the items, each of the key's size."""

    def run(self, prepared: Any) -> list[MatteArray]:
        """A matte of the key's size for each item. Raises DeviceLost when the device is beyond use."""

    def discard(self, prepared: Any) -> None:
        """Take back what will not be run."""

    def unload(self, model: str) -> None:
        """Forget a loaded model and give its memory back."""

    def close(self) -> None:
        """Give everything back."""


@dataclass(eq=False)
class _Slot:
    """Buffers of one shape, bound to their session."""

    key: NetworkKey
    pixels: npt.NDArray[np.uint8]
    mattes: npt.NDArray[np.uint8]
    binding: Any
    item_count: int = 0


@dataclass
class _Network:
    entry: ModelEntry
    session: Any
    free_slots: dict[tuple[NetworkKey, int], list[_Slot]] = field(default_factory=dict)


class OnnxRuntimeEngine:
    """onnxruntime on the CPU or on a CUDA device.

    `max_batch_items` bounds a batch. On the CPU a batch of any size up to it runs as it is; a CUDA
    device gets the next of 1, 2, 4, …, filled up, because every new shape would be searched anew.
    """

    def __init__(
        self, device: Device, *, thread_count: int, max_batch_items: int, graphs: GraphStore
    ) -> None:
        self._device: Device = device
        self._thread_count = thread_count
        self._max_batch_items = max_batch_items
        self._graphs = graphs
        if device == "cpu":
            _share_arena()
        self._networks: dict[str, _Network] = {}
        # Slots go back from the device's thread and are taken by the preparing one.
        self._lock = threading.Lock()

    def facts_of(self, model: str) -> EngineFacts:
        asked = f"MATTEWORKS_INFERENCE_DEVICE={self._device}"
        version = onnxruntime.__version__
        threads = f" with {self._thread_count} threads" if self._device == "cpu" else ""
        label = f"onnxruntime/{self._device}"
        return EngineFacts(label, f"{asked}; onnxruntime {version}{threads}")

    def load(self, entry: ModelEntry, weights: Path) -> None:
        """Make `entry` ready. Raises EngineUnavailable, GraphError."""
        start_s = time.perf_counter()
        self._check_provider(onnxruntime.get_available_providers())
        # A single fixed size lets the runtime plan memory and fold every shape computation.
        fixed_items = 1 if self._most_items(entry) == 1 else None
        graph = self._graphs.finished(
            entry, weights, device=self._device, fixed_items=fixed_items, build=self._optimise
        )
        network = _Network(entry, self._open(graph, fixed_items))
        loaded_s = time.perf_counter()
        for width_px, height_px in self._warm_input_sizes(entry):
            key = NetworkKey(entry.name, width_px, height_px)
            for item_count in self._warm_sizes(entry):
                blank = np.zeros((height_px, width_px, 3), np.uint8)
                slot = self._bind(network, key, item_count)
                self._fill(slot, [blank] * item_count)
                self._execute(network, slot)
                self._give_back(network, slot)
        self._networks[entry.name] = network
        log.info(
            "model_loaded",
            model=entry.name,
            engine=f"onnxruntime/{self._device}",
            load_s=round(loaded_s - start_s, 3),
            warm_s=round(time.perf_counter() - loaded_s, 3),
            was_stored=graph.was_stored,
        )

    def most_items_of(self, key: NetworkKey) -> int:
        return self._most_items(self._networks[key.model].entry)

    def prepare(self, key: NetworkKey, items: Sequence[PixelArray]) -> _Slot:
        network = self._networks[key.model]
        item_count = self._padded(len(items))
        with self._lock:
            free = network.free_slots.get((key, item_count))
            slot = free.pop() if free else None
        if slot is None:
            slot = self._bind(network, key, item_count)
        try:
            self._fill(slot, items)
        except Exception as error:
            raise self._judge(error) from error
        return slot

    def run(self, prepared: _Slot) -> list[MatteArray]:
        network = self._networks[prepared.key.model]
        try:
            self._execute(network, prepared)
            # Copies: the buffers serve the next batch while these are still on their way out.
            return [matte.copy() for matte in prepared.mattes[: prepared.item_count]]
        except Exception as error:
            raise self._judge(error) from error
        finally:
            self._give_back(network, prepared)

    def discard(self, prepared: _Slot) -> None:
        self._give_back(self._networks[prepared.key.model], prepared)

    def unload(self, model: str) -> None:
        del self._networks[model]

    def close(self) -> None:
        self._networks.clear()

    def _most_items(self, entry: ModelEntry) -> int:
        return self._max_batch_items if entry.is_batch_free else 1

    def _warm_input_sizes(self, entry: ModelEntry) -> Sequence[tuple[int, int]]:
        """A CUDA device searches its convolutions anew for every shape, so it must have seen them all. A
        CPU has nothing to search: one run has touched every weight.
        """
        if self._device == "cpu":
            return [min(entry.input_sizes_px, key=lambda size: size[0] * size[1])]
        return sorted({*entry.input_sizes_px, *entry.fine_input_sizes_px})

    def _warm_sizes(self, entry: ModelEntry) -> list[int]:
        return sorted({self._padded(count) for count in range(1, self._most_items(entry) + 1)})

    def _padded(self, item_count: int) -> int:
        if self._device == "cpu":
            return item_count
        return min(1 << (item_count - 1).bit_length(), self._max_batch_items)

    def _options(self) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._thread_count
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        # Threads that spin while they wait take the cores from decoding and from the other services.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Plans of memory are kept per shape and beside each other; the shared arena needs none.
        options.enable_mem_pattern = False
        if self._device == "cpu":
            options.add_session_config_entry("session.use_env_allocators", "1")
        options.log_severity_level = 3
        return options

    def _providers(self) -> list[Any]:
        # The default doubles the arena at every growth and never gives anything back.
        if self._device == "cpu":
            return ["CPUExecutionProvider"]
        cuda = {
            "device_id": 0,
            "arena_extend_strategy": "kSameAsRequested",
            "cudnn_conv_algo_search": "HEURISTIC",
        }
        return [("CUDAExecutionProvider", cuda), "CPUExecutionProvider"]

    def _open(self, graph: StoredGraph, fixed_items: int | None) -> Any:
        options = self._options()
        # It was optimised when it was stored; doing it again costs seconds at every start.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        if fixed_items is not None:
            options.add_free_dimension_override_by_name("items", fixed_items)
        try:
            session = onnxruntime.InferenceSession(str(graph.path), options, providers=self._providers())
        except Exception as error:
            raise EngineUnavailable(f"onnxruntime cannot open the network {graph.path}: {error}") from error
        # The list of available providers names CUDA even when its libraries are missing; only the
        # session tells the truth.
        self._check_provider(session.get_providers())
        return session

    def _check_provider(self, providers: Sequence[str]) -> None:
        if _PROVIDERS[self._device] not in providers:
            raise EngineUnavailable(
                "MATTEWORKS_INFERENCE_DEVICE=cuda was asked for, but onnxruntime did not bring CUDA up. "
                "Install the extra inference-gpu (not beside inference), check the NVIDIA driver and the "
                "CUDA and cuDNN libraries, or set MATTEWORKS_INFERENCE_DEVICE=cpu."
            )

    def _optimise(self, finished: Path, target: Path, fixed_items: int | None) -> None:
        """Let the runtime rewrite `finished` for this machine once, and keep what it made."""
        options = self._options()
        options.optimized_model_filepath = str(target)
        if fixed_items is not None:
            options.add_free_dimension_override_by_name("items", fixed_items)
        session = onnxruntime.InferenceSession(str(finished), options, providers=self._providers())
        # What the CPU fell back to must not be kept as the device's graph.
        self._check_provider(session.get_providers())

    def _bind(self, network: _Network, key: NetworkKey, item_count: int) -> _Slot:
        pixels = np.zeros((item_count, key.height_px, key.width_px, 3), np.uint8)
        mattes = np.zeros((item_count, key.height_px, key.width_px), np.uint8)
        binding = network.session.io_binding()
        binding.bind_output(MATTE, "cpu", 0, np.uint8, mattes.shape, mattes.ctypes.data)
        return _Slot(key, pixels, mattes, binding)

    def _fill(self, slot: _Slot, items: Sequence[PixelArray]) -> None:
        for index, item in enumerate(items):
            slot.pixels[index] = item
        slot.pixels[len(items) :] = 0
        slot.item_count = len(items)
        # Binding is what carries host memory to a device, so it happens here, beside the running batch.
        slot.binding.bind_input(PIXELS, "cpu", 0, np.uint8, slot.pixels.shape, slot.pixels.ctypes.data)

    def _execute(self, network: _Network, slot: _Slot) -> None:
        network.session.run_with_iobinding(slot.binding)

    def _give_back(self, network: _Network, slot: _Slot) -> None:
        with self._lock:
            network.free_slots.setdefault((slot.key, len(slot.pixels)), []).append(slot)

    def _judge(self, error: Exception) -> Exception:
        """After a failure a CUDA context may answer with rubbish for ever; only a new process helps."""
        return DeviceLost(str(error)) if self._device == "cuda" else error


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


class DeviceThreads:
    """The two threads of one engine: one that only runs the device, one that prepares the next batch."""

    def __init__(self) -> None:
        self.device = ThreadPoolExecutor(1, thread_name_prefix="device")
        self.preparing = ThreadPoolExecutor(1, thread_name_prefix="preparing")

    def close(self, *, waits: bool = True) -> None:
        """End the threads; `waits` for what they run, which a stuck device never ends."""
        self.preparing.shutdown(wait=waits, cancel_futures=True)
        self.device.shutdown(wait=waits, cancel_futures=True)
