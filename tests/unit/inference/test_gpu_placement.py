"""Lanes, padding and refusals of the GPU's code, on the CPU provider: the same code but for the device's
name.
"""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from matteworks_inference.engines.choice import open_engine
from matteworks_inference.engines.contract import EngineUnavailable, NetworkKey
from matteworks_inference.engines.gpu.lanes import LANES, DeviceNetwork, Lanes
from matteworks_inference.engines.gpu.memory import CudaError, PlainMemory
from matteworks_inference.engines.gpu.options import Device, GpuOptions, cuda_options, providers_for
from matteworks_inference.engines.gpu.placement import GpuPlacement, open_gpu_engine
from matteworks_inference.engines.onnx_engine import OnnxRuntimeEngine
from matteworks_inference.networks.graph import MATTE
from matteworks_inference.networks.graph_store import GraphStore
from matteworks_inference.networks.registry import parse_registry
from matteworks_inference.queueing.contract import DeviceLost
from matteworks_inference.settings import InferenceSettings
from tests.support.engines import mattes_of, named, run_mattes
from tests.unit.inference.tiny_networks import SIDE_PX, red_channel_network, registry_table, tiny_registry

KEY = NetworkKey("tiny", SIDE_PX, SIDE_PX)


class CountingMemory(PlainMemory):
    """Remembers what was allocated and copied; raises what `failures` holds instead of copying out."""

    def __init__(self) -> None:
        self.allocated_bytes: list[int] = []
        self.copied_in: list[tuple[int, int]] = []
        self.failures: list[Exception] = []

    def allocate(self, size_bytes: int) -> Any:
        self.allocated_bytes.append(size_bytes)
        return super().allocate(size_bytes)

    def copy_in(self, target_address: int, source: Any) -> None:
        self.copied_in.append((target_address, source.nbytes))
        super().copy_in(target_address, source)

    def copy_out(self, target: Any, source_address: int) -> None:
        if self.failures:
            raise self.failures.pop(0)
        super().copy_out(target, source_address)


def engine_in(
    directory: Path,
    *,
    device: Device = "cpu",
    options: GpuOptions | None = None,
    memory: CountingMemory | None = None,
    max_batch_items: int = 8,
) -> OnnxRuntimeEngine:
    graphs = GraphStore(directory, directory / "fallback")
    placement = GpuPlacement(device, graphs, options or GpuOptions(), memory)
    return OnnxRuntimeEngine(placement, max_batch_items=max_batch_items)


def loaded(directory: Path, **choices: Any) -> OnnxRuntimeEngine:
    engine = engine_in(directory, **choices)
    engine.load(tiny_registry(directory, tiny="general").find("tiny"), directory / "tiny.onnx")
    return engine


def pictures(count: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return list(rng.integers(0, 256, (count, SIDE_PX, SIDE_PX, 3), dtype=np.uint8))


def run(engine: OnnxRuntimeEngine, items: list[np.ndarray]) -> list[np.ndarray]:
    return mattes_of(engine, KEY, items)


@pytest.mark.parametrize("count", range(1, 9))
def test_each_picture_of_a_batch_gets_the_matte_of_a_run_of_its_own(tmp_path: Path, count: int) -> None:
    engine = loaded(tmp_path)
    items = pictures(count)
    mattes = run(engine, items)
    assert len(mattes) == count
    for item, matte in zip(items, mattes, strict=True):
        np.testing.assert_array_equal(matte, run(engine, [item])[0])
        np.testing.assert_array_equal(matte, item[:, :, 0])


@pytest.mark.parametrize(("count", "room"), [(1, 1), (2, 2), (3, 4), (4, 4), (5, 6), (6, 6)])
def test_a_batch_is_padded_to_a_power_of_two_or_to_the_largest(tmp_path: Path, count: int, room: int) -> None:
    engine = loaded(tmp_path, max_batch_items=6)
    slot = engine.prepare(KEY, named(pictures(count)))
    assert slot.room == room
    engine.discard(slot)


def test_what_pads_a_batch_is_not_copied(tmp_path: Path) -> None:
    memory = CountingMemory()
    engine = loaded(tmp_path, memory=memory)
    memory.copied_in.clear()
    run(engine, pictures(5))
    assert [size_bytes for _, size_bytes in memory.copied_in] == [5 * 3 * SIDE_PX * SIDE_PX]


def test_answers_survive_the_next_runs(tmp_path: Path) -> None:
    engine = loaded(tmp_path)
    first = pictures(1)[0]
    answer = run(engine, [first])[0]
    for seed in range(1, 5):
        run(engine, pictures(2, seed))
    np.testing.assert_array_equal(answer, first[:, :, 0])


def test_batches_prepared_ahead_do_not_touch_each_other(tmp_path: Path) -> None:
    """One runs, one is with the device's thread, one is being prepared; one more than the lanes works too."""
    engine = loaded(tmp_path)
    items = pictures(LANES + 1)
    ahead = [engine.prepare(KEY, named([item])) for item in items]
    for item, slot in zip(items, ahead, strict=True):
        np.testing.assert_array_equal(run_mattes(engine, slot)[0], item[:, :, 0])


def test_nothing_is_allocated_once_the_network_is_loaded(tmp_path: Path) -> None:
    memory = CountingMemory()
    engine = loaded(tmp_path, memory=memory)
    # Mattes that are still in use when the next ones come need memory of their own, once.
    held = [run(engine, pictures(1)) for _ in range(2)]
    del held
    gc.collect()
    memory.allocated_bytes.clear()
    memory.copied_in.clear()
    for seed in range(20):
        run(engine, pictures(1 + seed % 8, seed))
    assert memory.allocated_bytes == []
    assert len({address for address, _ in memory.copied_in}) <= LANES


def test_a_picture_of_a_wrong_size_loses_neither_lane_nor_device(tmp_path: Path) -> None:
    memory = CountingMemory()
    engine = loaded(tmp_path, memory=memory)
    for _ in range(2 * LANES):
        with pytest.raises(ValueError, match="broadcast"):
            engine.prepare(KEY, named([np.zeros((4, 5, 3), np.uint8)]))
    memory.allocated_bytes.clear()
    run(engine, pictures(1))
    assert memory.allocated_bytes == []


def test_a_cuda_error_loses_the_device(tmp_path: Path) -> None:
    memory = CountingMemory()
    engine = loaded(tmp_path, memory=memory)
    memory.failures = [CudaError("CUDA error 700: an illegal memory access was encountered")]
    with pytest.raises(DeviceLost, match="700"):
        run(engine, pictures(1))


@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_whatever_the_runtime_raises_on_a_gpu_loses_the_device(tmp_path: Path, device: Device) -> None:
    placement = GpuPlacement(device, GraphStore(tmp_path, tmp_path), GpuOptions())
    assert isinstance(placement.judge(RuntimeError("CUDNN_STATUS_EXECUTION_FAILED")), DeviceLost)
    assert isinstance(placement.judge(ValueError("a picture of a wrong size")), ValueError)


@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_a_gpu_that_does_not_come_up_refuses_to_start(tmp_path: Path, device: Device) -> None:
    """The runtime falls back to the CPU without a word; a server that was bought a GPU must not."""
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("CUDA is here")
    registry = tiny_registry(tmp_path, tiny="general")
    settings = InferenceSettings(device=device)
    engine = open_gpu_engine(settings, GraphStore(tmp_path, tmp_path))
    with pytest.raises(EngineUnavailable, match=f"DEVICE={device}.*inference-gpu"):
        engine.load(registry.find("tiny"), tmp_path / "tiny.onnx")


@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_the_settings_of_a_gpu_reach_its_engine(tmp_path: Path, device: Device) -> None:
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("CUDA is here")
    registry = tiny_registry(tmp_path, tiny="general")
    graphs = GraphStore(tmp_path, tmp_path)
    engine = open_engine(InferenceSettings(device=device), thread_count=1, graphs=graphs)
    with pytest.raises(EngineUnavailable, match=f"DEVICE={device}"):
        engine.load(registry.find("tiny"), tmp_path / "tiny.onnx")
    with pytest.raises(EngineUnavailable, match="ENGINE=openvino runs on the CPU"):
        open_engine(InferenceSettings(device=device, engine="openvino"), thread_count=1, graphs=graphs)


def test_memory_that_changes_bytes_on_their_way_refuses_to_start(tmp_path: Path) -> None:
    class Broken(PlainMemory):
        def copy_out(self, target: Any, source_address: int) -> None:
            target[:] = 0

    registry = tiny_registry(tmp_path, tiny="general")
    placement = GpuPlacement("cpu", GraphStore(tmp_path, tmp_path), GpuOptions())
    with pytest.raises(EngineUnavailable, match="bytes came back changed"):
        placement.prove(Broken())
    assert placement.open(registry.find("tiny"), tmp_path / "tiny.onnx", 1).label == "onnxruntime/cpu/f32"


def test_a_network_with_many_input_sizes_is_not_compiled_by_tensorrt(tmp_path: Path) -> None:
    table = registry_table("tiny").replace("[[32, 32]]", "[[32, 32], [32, 64]]")
    placement = GpuPlacement("tensorrt", GraphStore(tmp_path, tmp_path), GpuOptions())
    assert placement.device_of(parse_registry(table).find("tiny")) == "cuda"
    assert placement.device_of(parse_registry(registry_table("tiny")).find("tiny")) == "tensorrt"


def test_every_shape_has_a_session_that_never_sees_another(tmp_path: Path) -> None:
    """A session that sees another shape plans all convolutions anew: 0.8 s where a run takes 10 ms."""
    onnx.save(red_channel_network(), tmp_path / "tiny.onnx")
    table = registry_table("tiny").replace("[[32, 32]]", "[[32, 32], [32, 64]]")
    entry = parse_registry(table).find("tiny")
    placement = GpuPlacement("cpu", GraphStore(tmp_path, tmp_path), GpuOptions())
    assert [placement.room_for(entry, count, 6) for count in range(1, 7)] == [1, 4, 4, 4, 6, 6]
    one_size = parse_registry(registry_table("tiny")).find("tiny")
    assert [placement.room_for(one_size, count, 6) for count in range(1, 7)] == [1, 2, 4, 4, 6, 6]

    network: Any = placement.open(entry, tmp_path / "tiny.onnx", 6)

    shapes = {session.get_inputs()[0].shape[0] for session in network.sessions.values()}
    assert shapes == {1, 4, 6}
    assert len(network.sessions) == 6


def test_half_precision_gives_the_same_mattes_from_half_the_weights(tmp_path: Path) -> None:
    single = loaded(tmp_path, options=GpuOptions(precision="single"))
    half = loaded(tmp_path, options=GpuOptions(precision="half"))
    assert half.facts_of("tiny").label.endswith("/f16")
    items = pictures(4)
    for expected, matte in zip(run(single, items), run(half, items), strict=True):
        assert np.abs(expected.astype(int) - matte).max() <= 1
    (stored,) = (tmp_path / ".graphs").glob("tiny-gpu-half-*.onnx")
    weights = {weight.name: weight.data_type for weight in onnx.load(stored).graph.initializer}
    assert weights["weight"] == onnx.TensorProto.FLOAT16
    assert weights["matteworks_scale"] == onnx.TensorProto.FLOAT


@pytest.mark.parametrize(("bears", "label"), [("true", "f16"), ("false", "f32")])
def test_without_a_choice_networks_run_in_half_precision_that_were_measured_to_bear_it(
    tmp_path: Path, bears: str, label: str
) -> None:
    onnx.save(red_channel_network(), tmp_path / "tiny.onnx")
    engine = engine_in(tmp_path)
    entry = parse_registry(registry_table("tiny", f"bears_bfloat16 = {bears}")).find("tiny")
    engine.load(entry, tmp_path / "tiny.onnx")
    assert engine.facts_of("tiny").label == f"onnxruntime/cpu/{label}"


def test_each_lane_and_shape_has_a_cuda_graph_of_its_own_and_none_is_captured_while_serving(
    tmp_path: Path,
) -> None:
    """A graph has a lane's addresses in it; and nothing else may touch the device while one is captured."""
    onnx.save(red_channel_network(), tmp_path / "tiny.onnx")
    entry = parse_registry(registry_table("tiny")).find("tiny")
    graphs = GraphStore(tmp_path, tmp_path)
    placement = GpuPlacement("cpu", graphs, GpuOptions(uses_cuda_graph=True))
    network = placement.open(entry, tmp_path / "tiny.onnx", 4)
    placement.warm(network, entry, [1, 2, 4])
    slots: list[Any] = [network.slot(KEY, 4) for _ in range(LANES + 1)]
    ids = {
        options.get_run_config_entry("gpu_graph_id")
        for slot in slots[:LANES]
        for _, options in slot.lane.bindings.values()
    }
    assert ids == {str(number) for number in range(1, 3 * LANES + 1)}
    _, late = slots[LANES].lane.bindings[KEY, 4]
    assert late.get_run_config_entry("gpu_graph_id") == "-1"


def test_a_network_that_is_compiled_for_each_batch_size_runs_a_batch_in_the_session_of_its_size(
    tmp_path: Path,
) -> None:
    loaded(tmp_path)
    (stored,) = (tmp_path / ".graphs").glob("tiny-gpu-single-*.onnx")
    sessions: dict[tuple[NetworkKey, int], Any] = {}
    for room in (1, 2, 4):
        options = onnxruntime.SessionOptions()
        options.add_free_dimension_override_by_name("items", room)
        sessions[KEY, room] = onnxruntime.InferenceSession(
            str(stored), options, providers=["CPUExecutionProvider"]
        )
        assert sessions[KEY, room].get_inputs()[0].shape[0] == room
    lanes = Lanes("cpu", PlainMemory(), 4 * SIDE_PX * SIDE_PX)
    network = DeviceNetwork("fixed", True, sessions, lanes, captures=False)
    for count, room in ((1, 1), (2, 2), (3, 4)):
        items = pictures(count, seed=count)
        slot = network.slot(KEY, room)
        slot.fill(named(items))
        for item, answer in zip(items, slot.run(), strict=True):
            np.testing.assert_array_equal(answer[MATTE], item[:, :, 0])
        slot.release()


def test_tensorrt_keeps_what_it_compiles_beside_the_graphs_by_network_and_batch_size(tmp_path: Path) -> None:
    folders = []
    for graph, room in (("a-1", 1), ("a-1", 8), ("b-2", 8)):
        first, *rest = providers_for("tensorrt", GpuOptions(), True, tmp_path, graph, room)
        name, options = first
        assert name == "TensorrtExecutionProvider"
        assert [provider[0] for provider in rest[:1]] == ["CUDAExecutionProvider"]
        assert rest[1:] == ["CPUExecutionProvider"]
        assert options["trt_fp16_enable"] == "True"
        assert options["trt_engine_cache_enable"] == options["trt_timing_cache_enable"] == "True"
        assert Path(options["trt_timing_cache_path"]) == tmp_path / "tensorrt"
        folders.append(Path(options["trt_engine_cache_path"]))
    assert len(set(folders)) == 3
    assert all(folder.is_dir() and tmp_path in folder.parents for folder in folders)


def test_the_choices_reach_the_cuda_provider() -> None:
    plain = cuda_options(GpuOptions())
    chosen = cuda_options(
        GpuOptions(uses_cuda_graph=True, prefers_nhwc=True, convolution_search="EXHAUSTIVE")
    )
    changed = {name: value for name, value in chosen.items() if plain[name] != value}
    assert changed == {
        "enable_cuda_graph": "1", "prefer_nhwc": "1", "cudnn_conv_algo_search": "EXHAUSTIVE",
    }  # fmt: skip
    assert all(isinstance(value, str) for value in plain.values())
