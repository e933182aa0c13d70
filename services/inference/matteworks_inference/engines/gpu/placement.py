"""Networks on a CUDA device, by onnxruntime's CUDA or TensorRT provider.

Every shape has a session of its own, and batches are padded to a few sizes: a session plans its convolutions
again whenever the shape is another than that of its last run, which took 0.8 s for U2-Net-p on an H200, where
a run takes 10 ms. The sessions share one arena, as only one of them runs at a time. Nothing here knows which
device it is but by the name that it was given, so the same code runs on the CPU provider.
"""

from __future__ import annotations

import contextlib
import io
import shutil
from collections import Counter
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime
import structlog

from matteworks_inference.engines.contract import EngineFacts, EngineUnavailable, NetworkKey
from matteworks_inference.engines.gpu.lanes import LANES, DeviceNetwork, Lanes, device_bytes
from matteworks_inference.engines.gpu.memory import (
    CudaError,
    HostMemory,
    PinnedMemory,
    PlainMemory,
    open_cuda_runtime,
)
from matteworks_inference.engines.gpu.options import (
    ARENA,
    Device,
    GpuOptions,
    bit,
    provider_name,
    providers_for,
)
from matteworks_inference.engines.onnx_engine import (
    OnnxRuntimeEngine,
    PlacedNetwork,
    rooms_of,
    session_options,
)
from matteworks_inference.networks.graph import PIXELS
from matteworks_inference.networks.graph_store import GraphStore
from matteworks_inference.networks.half_precision import to_half_precision
from matteworks_inference.networks.registry import ModelEntry
from matteworks_inference.queueing.contract import DeviceLost
from matteworks_inference.settings import InferenceSettings

# An ordinary run, the run that is captured, and one replay.
_CAPTURE_RUNS: Final = 3
_PROOF_BYTES: Final = 1 << 20
# The device computes; the host only launches.
_HOST_THREADS: Final = 1
log = structlog.get_logger()


def open_gpu_engine(settings: InferenceSettings, graphs: GraphStore) -> OnnxRuntimeEngine:
    """The engine for a `device` that is not the CPU; whether it comes up shows when a network is loaded."""
    options = GpuOptions(precision=settings.gpu_precision, uses_cuda_graph=settings.cuda_graph)
    placement = GpuPlacement(settings.device, graphs, options)
    return OnnxRuntimeEngine(placement, max_batch_items=settings.batch_items)


class GpuPlacement:
    """See `Placement`. `device` "cpu" runs the same code on the CPU provider, to be tried without a GPU.

    `memory` replaces the one that belongs to the device.
    """

    def __init__(
        self,
        device: Device,
        graphs: GraphStore,
        options: GpuOptions,
        memory: HostMemory | None = None,
    ) -> None:
        self._device: Device = device
        self._graphs = graphs
        self._options = options
        self._memory = memory
        self._has_arena = False

    def open(self, entry: ModelEntry, weights: Path, most_items: int) -> PlacedNetwork:
        """Raises EngineUnavailable: the device, its provider or its libraries did not come up; GraphError."""
        device = self.device_of(entry)
        _load_libraries(device)
        self._check(device, onnxruntime.get_available_providers(), "")
        is_half = self._options.is_half(entry)
        graph = self._graphs.finished(
            entry,
            weights,
            device="gpu-half" if is_half else "gpu-single",
            fixed_items=None,
            build=_in_half_precision if is_half else _as_it_is,
        )
        self._share_arena(device)
        sessions = {}
        for room in rooms_of(self, entry, most_items):
            providers = providers_for(
                device, self._options, is_half, self._graphs.folder, graph.path.stem, room
            )
            for width_px, height_px in _sizes_px(entry):
                key = NetworkKey(entry.name, width_px, height_px)
                sessions[key, room] = self._session(device, graph.path, key, room, providers)
        if self._memory is None:
            self._memory = self.prove(self._open_memory())
        return DeviceNetwork(
            f"onnxruntime/{device}/{'f16' if is_half else 'f32'}",
            graph.was_stored,
            sessions,
            Lanes(_buffer_device(device), self._memory, most_items * _largest_area_px(entry)),
            captures=self._options.uses_cuda_graph,
        )

    def facts_of(self, network: PlacedNetwork) -> EngineFacts:
        cuda = getattr(onnxruntime, "cuda_version", "")
        runtime = f"onnxruntime {onnxruntime.__version__}" + (f" for CUDA {cuda}" if cuda else "")
        return EngineFacts(network.label, f"MATTEWORKS_INFERENCE_DEVICE={self._device}; {runtime}")

    def room_for(self, entry: ModelEntry, item_count: int, most_items: int) -> int:
        """The next power of two, or of four where many input sizes make many sessions already; the largest
        batch may be any number.
        """
        bits = (item_count - 1).bit_length()
        if len(_sizes_px(entry)) > 1:
            bits += bits % 2
        return min(1 << bits, most_items)

    def warm(self, network: PlacedNetwork, entry: ModelEntry, rooms: Sequence[int]) -> None:
        """Run every shape: its convolutions are searched then, and its graph captured where that is asked
        for.

        A captured graph has addresses in it, so every lane has its own. While one is captured no other thread
        may touch the device, so all of it happens before the queue starts.
        """
        captures = self._options.uses_cuda_graph
        try:
            for width_px, height_px in _sizes_px(entry):
                blank = np.zeros((height_px, width_px, 3), np.uint8)
                for room in rooms:
                    key = NetworkKey(entry.name, width_px, height_px)
                    slots = [network.slot(key, room) for _ in range(LANES if captures else 1)]
                    for slot in slots:
                        slot.fill([{PIXELS: blank}] * room)
                        for _ in range(_CAPTURE_RUNS if captures else 1):
                            slot.run()
                    for slot in slots:
                        slot.release()
        except Exception as error:
            raise EngineUnavailable(
                f"The first run of {entry.name} on {network.label} failed: {error}"
            ) from error
        if isinstance(network, DeviceNetwork):
            network.end_of_warming()

    def judge(self, error: Exception) -> Exception:
        """After a failure a CUDA context may answer with rubbish for ever; only a new process helps.

        What Python itself raised, a picture of a wrong size for instance, came from before the device.
        """
        if isinstance(error, (ValueError, TypeError, LookupError)):
            return error
        if self._device == "cpu" and not isinstance(error, CudaError):
            return error
        return DeviceLost(str(error))

    def device_of(self, entry: ModelEntry) -> Device:
        """TensorRT compiles a shape for minutes: a network with many input sizes runs by CUDA instead."""
        many = len(_sizes_px(entry)) > 1
        return "cuda" if self._device == "tensorrt" and many else self._device

    def _share_arena(self, device: Device) -> None:
        """One arena on the device for every session of this process, which would otherwise keep its own for
        good.
        """
        if device == "cpu" or self._has_arena:
            return
        memory = onnxruntime.OrtMemoryInfo(
            "Cuda", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
        )
        try:
            onnxruntime.create_and_register_allocator_v2(
                provider_name("cuda"), memory, {"device_id": "0"}, onnxruntime.OrtArenaCfg(ARENA)
            )
        except Exception as error:
            raise EngineUnavailable(_refusal(device, str(error))) from error
        self._has_arena = True

    def _session(self, device: Device, graph: Path, key: NetworkKey, room: int, providers: list[Any]) -> Any:
        options = session_options(_HOST_THREADS)
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        options.add_session_config_entry("session.use_env_allocators", bit(self._has_arena))
        for name, size in (("items", room), ("width", key.width_px), ("height", key.height_px)):
            options.add_free_dimension_override_by_name(name, size)
        try:
            # The runtime's own fallback would try again without the device.
            session = onnxruntime.InferenceSession(
                str(graph), options, providers=providers, enable_fallback=0
            )
        except Exception as error:
            raise EngineUnavailable(_refusal(device, str(error))) from error
        # The list of available providers names CUDA even when its libraries are missing; only the
        # session tells the truth.
        self._check(device, session.get_providers(), "the session came up without it")
        # Even a provider that is there may have been given nothing to do.
        if hasattr(session, "get_provider_graph_assignment_info"):
            counts = Counter[str]()
            for part in session.get_provider_graph_assignment_info():
                counts[part.ep_name] += len(part.get_nodes())
            log.info(
                "network_placed",
                graph=graph.name,
                room=room,
                width_px=key.width_px,
                height_px=key.height_px,
                node_counts=dict(counts),
            )
            self._check(device, list(counts), "it took no part of the network")
        return session

    @staticmethod
    def _check(device: Device, providers: Sequence[str], why: str) -> None:
        if provider_name(device) not in providers:
            raise EngineUnavailable(
                _refusal(device, why or f"this onnxruntime has only {', '.join(providers)}")
            )

    def _open_memory(self) -> HostMemory:
        if self._device == "cpu":
            return PlainMemory()
        try:
            return PinnedMemory(open_cuda_runtime(getattr(onnxruntime, "cuda_version", "")))
        except CudaError as error:
            raise EngineUnavailable(_refusal(self._device, str(error))) from error

    def prove(self, memory: HostMemory) -> HostMemory:
        """`memory`, after bytes have been to the device and back. Raises EngineUnavailable."""
        sent = memory.allocate(_PROOF_BYTES)
        sent[:] = np.random.default_rng(0).integers(0, 256, _PROOF_BYTES, np.uint8)
        received = memory.allocate(_PROOF_BYTES)
        there = device_bytes(_buffer_device(self._device), _PROOF_BYTES)
        try:
            memory.copy_in(there.data_ptr(), sent)
            memory.copy_out(received, there.data_ptr())
        except CudaError as error:
            raise EngineUnavailable(_refusal(self._device, str(error))) from error
        if not np.array_equal(sent, received):
            raise EngineUnavailable(_refusal(self._device, "bytes came back changed from the device"))
        return memory


def _as_it_is(finished: Path, target: Path, _fixed_items: int | None) -> None:
    """TensorRT refuses what onnxruntime has fused, and CUDA's optimised graphs are not made to be stored."""
    shutil.copyfile(finished, target)


def _in_half_precision(finished: Path, target: Path, _fixed_items: int | None) -> None:
    onnx.save(to_half_precision(onnx.load(finished)), target)


def _sizes_px(entry: ModelEntry) -> list[tuple[int, int]]:
    return sorted({*entry.input_sizes_px, *entry.fine_input_sizes_px})


def _largest_area_px(entry: ModelEntry) -> int:
    return max(width_px * height_px for width_px, height_px in _sizes_px(entry))


def _buffer_device(device: Device) -> str:
    return "cpu" if device == "cpu" else "cuda"


def _load_libraries(device: Device) -> None:
    """Load what was installed as Python packages, where the loader of shared libraries does not look."""
    if device == "cpu":
        return
    # It tells what it misses on standard output; the session's own error says it better.
    told = io.StringIO()
    if hasattr(onnxruntime, "preload_dlls"):
        with contextlib.redirect_stdout(told):
            onnxruntime.preload_dlls()
    if device == "tensorrt":
        with contextlib.suppress(ImportError):
            import_module("tensorrt")
    if told.getvalue():
        log.info("cuda_libraries", told=told.getvalue())


def _refusal(device: Device, why: str) -> str:
    libraries = "the CUDA and cuDNN libraries"
    if device == "tensorrt":
        libraries += " and TensorRT's"
    return (
        f"MATTEWORKS_INFERENCE_DEVICE={device} was asked for, but onnxruntime did not bring {device} up: "
        f"{why}. Install the extra inference-gpu (not beside inference), check the NVIDIA driver and "
        f"{libraries}, or set MATTEWORKS_INFERENCE_DEVICE=cpu."
    )
