"""A device that runs finished networks: pixels in, mattes out, batch by batch.

The Protocol is what the rest of the service sees; `OnnxRuntimeEngine` is the means. What differs between a
CPU and a GPU is its placement: providers, batch sizes, whose memory a batch lies in. Buffers are allocated
once and bound to the session, so a batch costs one copy in and one out.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import onnxruntime
import structlog

from matteworks_inference.engines.slots import SlotPool
from matteworks_inference.networks.graph import MATTE, PIXELS
from matteworks_inference.networks.graph_store import GraphStore
from matteworks_inference.networks.registry import ModelEntry

# uint8, height x width x 3, R G B.
PixelArray: TypeAlias = npt.NDArray[np.uint8]
# uint8, height x width, 0 background to 255 subject.
MatteArray: TypeAlias = npt.NDArray[np.uint8]
Device: TypeAlias = Literal["cpu", "cuda", "tensorrt"]

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


class Slot(Protocol):
    """The memory of one batch, bound to its network. `room` is how many items the device computes."""

    key: NetworkKey
    room: int

    def fill(self, items: Sequence[PixelArray]) -> None:
        """Lay out up to `room` items; called from the preparing thread."""

    def run(self) -> list[MatteArray]:
        """A matte for each item of the last `fill`; called from the device's thread."""

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

    def room_for(self, item_count: int, most_items: int) -> int:
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
    """See `Engine`. `max_batch_items` bounds a batch; `placement` replaces the one of `device`."""

    def __init__(
        self,
        device: Device,
        *,
        thread_count: int,
        max_batch_items: int,
        graphs: GraphStore,
        placement: Placement | None = None,
    ) -> None:
        self._max_batch_items = max_batch_items
        self._loaded: dict[str, _Loaded] = {}
        if placement is not None:
            self._placement = placement
        elif device == "cpu":
            self._placement = CpuPlacement(thread_count, graphs)
        else:
            # Imported here: it is built on what stands above, and only a machine with a GPU needs it.
            from matteworks_inference.engines.gpu.options import GpuOptions
            from matteworks_inference.engines.gpu.placement import GpuPlacement

            self._placement = GpuPlacement(device, graphs, GpuOptions())

    def facts_of(self, model: str) -> EngineFacts:
        return self._placement.facts_of(self._loaded[model].network)

    def load(self, entry: ModelEntry, weights: Path) -> None:
        """Make `entry` ready. Raises EngineUnavailable, GraphError."""
        start_s = time.perf_counter()
        most_items = self._most_items(entry)
        network = self._placement.open(entry, weights, most_items)
        loaded_s = time.perf_counter()
        rooms = sorted({self._placement.room_for(count + 1, most_items) for count in range(most_items)})
        self._placement.warm(network, entry, rooms)
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

    def prepare(self, key: NetworkKey, items: Sequence[PixelArray]) -> Slot:
        loaded = self._loaded[key.model]
        room = self._placement.room_for(len(items), self._most_items(loaded.entry))
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

    def run(self, prepared: Slot) -> list[MatteArray]:
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


class CpuPlacement:
    """See `Placement`: networks run on the processor, and read and write the host's memory in place."""

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

    def room_for(self, item_count: int, most_items: int) -> int:
        return item_count

    def warm(self, network: PlacedNetwork, entry: ModelEntry, rooms: Sequence[int]) -> None:
        """A CPU has nothing to search for other shapes: a run of each size of batch touches every weight."""
        width_px, height_px = min(entry.input_sizes_px, key=lambda size: size[0] * size[1])
        key = NetworkKey(entry.name, width_px, height_px)
        for room in rooms:
            slot = network.slot(key, room)
            slot.fill([np.zeros((height_px, width_px, 3), np.uint8)] * room)
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
    """Arrays that the session reads and writes where they are."""

    def __init__(self, network: _HostNetwork, key: NetworkKey, room: int) -> None:
        self.key = key
        self.room = room
        self._network = network
        self._item_count = 0
        self._pixels = np.zeros((room, key.height_px, key.width_px, 3), np.uint8)
        self._mattes = np.zeros((room, key.height_px, key.width_px), np.uint8)
        self._binding = network.session.io_binding()
        for bind, name, array in (
            (self._binding.bind_input, PIXELS, self._pixels),
            (self._binding.bind_output, MATTE, self._mattes),
        ):
            bind(name, "cpu", 0, np.uint8, array.shape, array.ctypes.data)

    def fill(self, items: Sequence[PixelArray]) -> None:
        for index, item in enumerate(items):
            self._pixels[index] = item
        self._item_count = len(items)

    def run(self) -> list[MatteArray]:
        self._network.session.run_with_iobinding(self._binding)
        # Copies: the buffers serve the next batch while these are still on their way out.
        return [matte.copy() for matte in self._mattes[: self._item_count]]

    def release(self) -> None:
        self._network.give_back(self)


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
