"""The onnxruntime engine on the CPU, with networks of a few nodes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from matteworks_inference.engines.contract import NetworkKey
from matteworks_inference.engines.onnx_cpu import CpuPlacement
from matteworks_inference.engines.onnx_engine import OnnxRuntimeEngine
from matteworks_inference.networks.graph import GraphError
from matteworks_inference.networks.graph_store import GraphStore
from matteworks_inference.networks.registry import ModelEntry, parse_registry
from tests.support.engines import mattes_of, named, run_mattes
from tests.unit.inference.tiny_networks import SIDE_PX, red_channel_network, registry_table, tiny_registry

KEY = NetworkKey("tiny", SIDE_PX, SIDE_PX)


def cpu_engine(directory: Path, max_batch_items: int = 4) -> OnnxRuntimeEngine:
    graphs = GraphStore(directory, directory / "fallback")
    return OnnxRuntimeEngine(CpuPlacement(1, graphs), max_batch_items=max_batch_items)


def loaded(directory: Path, max_batch_items: int = 4) -> OnnxRuntimeEngine:
    engine = cpu_engine(directory, max_batch_items)
    engine.load(tiny_registry(directory, tiny="general").find("tiny"), directory / "tiny.onnx")
    return engine


def pictures(count: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return list(rng.integers(0, 256, (count, SIDE_PX, SIDE_PX, 3), dtype=np.uint8))


def test_each_picture_gets_its_own_matte(tmp_path: Path) -> None:
    engine = loaded(tmp_path)
    items = pictures(3)
    mattes = mattes_of(engine, KEY, items)
    for item, matte in zip(items, mattes, strict=True):
        np.testing.assert_array_equal(matte, item[:, :, 0])


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_a_batch_equals_single_runs(tmp_path: Path, count: int) -> None:
    engine = loaded(tmp_path)
    items = pictures(count)
    together = mattes_of(engine, KEY, items)
    for item, matte in zip(items, together, strict=True):
        alone = mattes_of(engine, KEY, [item])[0]
        assert np.abs(alone.astype(int) - matte).max() <= 1


def test_answers_survive_the_next_run(tmp_path: Path) -> None:
    """Buffers are reused; an answer that still pointed into them would turn into the next caller's."""
    engine = loaded(tmp_path)
    first, second = pictures(2)
    answer = mattes_of(engine, KEY, [first])[0]
    mattes_of(engine, KEY, [second])
    np.testing.assert_array_equal(answer, first[:, :, 0])


def test_a_batch_prepared_ahead_does_not_touch_the_one_before(tmp_path: Path) -> None:
    engine = loaded(tmp_path)
    first, second = pictures(2)
    ahead = [engine.prepare(KEY, named([first])), engine.prepare(KEY, named([second]))]
    np.testing.assert_array_equal(run_mattes(engine, ahead[0])[0], first[:, :, 0])
    np.testing.assert_array_equal(run_mattes(engine, ahead[1])[0], second[:, :, 0])


def test_buffers_are_reused(tmp_path: Path) -> None:
    engine = loaded(tmp_path)
    first = engine.prepare(KEY, named(pictures(1)))
    engine.discard(first)
    assert engine.prepare(KEY, named(pictures(1))) is first


def test_a_network_whose_batch_is_fixed_runs_one_at_a_time(tmp_path: Path) -> None:
    onnx.save(red_channel_network(), tmp_path / "tiny.onnx")
    table = registry_table("tiny").replace("is_batch_free = true", "is_batch_free = false")
    engine = cpu_engine(tmp_path)
    engine.load(parse_registry(table).find("tiny"), tmp_path / "tiny.onnx")
    assert engine.most_items_of(KEY) == 1
    assert len(mattes_of(engine, KEY, pictures(1))) == 1


def test_a_second_start_takes_the_stored_graph(tmp_path: Path) -> None:
    loaded(tmp_path)
    stored = list((tmp_path / ".graphs").glob("tiny-*.onnx"))
    assert len(stored) == 1
    before = stored[0].stat().st_mtime_ns
    loaded(tmp_path)
    assert stored[0].stat().st_mtime_ns == before


def test_new_weights_replace_the_stored_graph(tmp_path: Path) -> None:
    loaded(tmp_path)
    entry = parse_registry(registry_table("tiny")).find("tiny")
    onnx.save(red_channel_network(gain=0.5), tmp_path / "tiny.onnx")
    engine = cpu_engine(tmp_path)
    engine.load(entry, tmp_path / "tiny.onnx")
    white = np.full((SIDE_PX, SIDE_PX, 3), 255, np.uint8)
    assert mattes_of(engine, KEY, [white])[0].max() == 128
    assert len(list((tmp_path / ".graphs").glob("tiny-*.onnx"))) == 1


def test_a_folder_that_cannot_be_written_is_replaced_by_the_fallback(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / ".graphs").write_text("a file in the way")
    entry = tiny_registry(tmp_path / "models", tiny="general").find("tiny")
    graphs = GraphStore(tmp_path / "models", tmp_path / "fallback")
    OnnxRuntimeEngine(CpuPlacement(1, graphs), max_batch_items=1).load(
        entry, tmp_path / "models" / "tiny.onnx"
    )
    assert list((tmp_path / "fallback").glob("tiny-*.onnx"))


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    entry: ModelEntry = tiny_registry(tmp_path, tiny="general").find("tiny")
    network = red_channel_network()
    network.graph.output[0].name = "side"
    del network.graph.output[1:]
    onnx.save(network, tmp_path / "tiny.onnx")
    with pytest.raises(GraphError):
        cpu_engine(tmp_path).load(entry, tmp_path / "tiny.onnx")
