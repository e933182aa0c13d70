"""The OpenVINO engine answers as the onnxruntime one does, and the choice between them is remembered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from matteworks_inference.engines.choice import Choice, ChoiceMemory, MeasuredEngines, open_engine
from matteworks_inference.engines.contract import EngineFacts, EngineUnavailable, NetworkKey
from matteworks_inference.engines.fake import FakeEngine
from matteworks_inference.engines.onnx_cpu import CpuPlacement
from matteworks_inference.engines.onnx_engine import OnnxRuntimeEngine
from matteworks_inference.engines.openvino import OpenVinoEngine
from matteworks_inference.networks.graph_store import GraphStore
from matteworks_inference.networks.registry import ModelEntry
from matteworks_inference.picture import PixelArray
from matteworks_inference.settings import InferenceSettings
from tests.support.engines import mattes_of
from tests.unit.inference.tiny_networks import SIDE_PX, tiny_registry

KEY = NetworkKey("tiny", SIDE_PX, SIDE_PX)


def graphs(directory: Path) -> GraphStore:
    return GraphStore(directory, directory / "fallback")


def entry_in(directory: Path, *, bears_bfloat16: bool = False) -> ModelEntry:
    return replace(tiny_registry(directory, tiny="general").find("tiny"), bears_bfloat16=bears_bfloat16)


def pictures(count: int) -> list[PixelArray]:
    rng = np.random.default_rng(1)
    return list(rng.integers(0, 256, (count, SIDE_PX, SIDE_PX, 3), dtype=np.uint8))


def openvino_engine(directory: Path) -> OpenVinoEngine:
    return OpenVinoEngine(thread_count=1, max_batch_items=3, graphs=graphs(directory))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_both_engines_give_the_same_mattes(tmp_path: Path, count: int) -> None:
    engines = (
        openvino_engine(tmp_path),
        OnnxRuntimeEngine(CpuPlacement(1, graphs(tmp_path)), max_batch_items=3),
    )
    answers = []
    for engine in engines:
        engine.load(entry_in(tmp_path), tmp_path / "tiny.onnx")
        answers.append(mattes_of(engine, KEY, pictures(count)))
    for ours, theirs in zip(*answers, strict=True):
        assert np.abs(ours.astype(int) - theirs).max() <= 1


def test_answers_survive_the_next_run(tmp_path: Path) -> None:
    engine = openvino_engine(tmp_path)
    engine.load(entry_in(tmp_path), tmp_path / "tiny.onnx")
    first, second = pictures(2)
    answer = mattes_of(engine, KEY, [first])[0]
    kept = answer.copy()
    mattes_of(engine, KEY, [second])
    np.testing.assert_array_equal(answer, kept)


class Rival(FakeEngine):
    """A fake that may run what bears bfloat16."""

    def suits(self, entry: ModelEntry) -> bool:
        return entry.bears_bfloat16

    def facts_of(self, model: str) -> EngineFacts:
        return EngineFacts("rival", "")


def measured(directory: Path, *, usual_s: float, rival_s: float) -> tuple[MeasuredEngines, FakeEngine, Rival]:
    usual, rival = FakeEngine(), Rival()
    usual.run_s, rival.run_s = usual_s, rival_s
    choice: Any = rival
    return MeasuredEngines(usual, choice, ChoiceMemory(graphs(directory))), usual, rival


def loaded_names(*engines: FakeEngine) -> Sequence[list[str]]:
    return [engine.loaded for engine in engines]


def test_the_faster_engine_keeps_the_network_and_the_other_lets_go(tmp_path: Path) -> None:
    entry = entry_in(tmp_path, bears_bfloat16=True)
    engine, usual, rival = measured(tmp_path, usual_s=0.03, rival_s=0.0)
    engine.load(entry, tmp_path / "tiny.onnx")
    assert loaded_names(usual, rival) == [[], ["tiny"]]
    assert engine.facts_of("tiny").label == "rival"
    assert "measured on this machine" in engine.facts_of("tiny").reason


def test_an_even_race_stays_with_the_usual_engine(tmp_path: Path) -> None:
    engine, usual, rival = measured(tmp_path, usual_s=0.0, rival_s=0.03)
    engine.load(entry_in(tmp_path, bears_bfloat16=True), tmp_path / "tiny.onnx")
    assert loaded_names(usual, rival) == [["tiny"], []]


def test_a_network_that_does_not_bear_bfloat16_is_not_measured(tmp_path: Path) -> None:
    engine, usual, rival = measured(tmp_path, usual_s=0.03, rival_s=0.0)
    engine.load(entry_in(tmp_path), tmp_path / "tiny.onnx")
    assert loaded_names(usual, rival) == [["tiny"], []]
    assert rival.runs == []


def test_the_choice_is_remembered(tmp_path: Path) -> None:
    entry = entry_in(tmp_path, bears_bfloat16=True)
    measured(tmp_path, usual_s=0.03, rival_s=0.0)[0].load(entry, tmp_path / "tiny.onnx")
    engine, usual, rival = measured(tmp_path, usual_s=0.0, rival_s=0.0)
    engine.load(entry, tmp_path / "tiny.onnx")
    assert loaded_names(usual, rival) == [[], ["tiny"]]
    assert usual.runs == []


def test_other_weights_are_measured_anew(tmp_path: Path) -> None:
    entry = entry_in(tmp_path, bears_bfloat16=True)
    memory = ChoiceMemory(graphs(tmp_path))
    memory.remember(entry, Choice(2.0, 1.0))
    assert memory.recall(entry) == Choice(2.0, 1.0)
    assert memory.recall(replace(entry, sha256="0" * 64)) is None


def test_a_spoilt_note_is_no_choice(tmp_path: Path) -> None:
    (graphs(tmp_path).folder / "engine-choice.json").write_text("{")
    assert ChoiceMemory(graphs(tmp_path)).recall(entry_in(tmp_path)) is None


def test_openvino_on_a_cuda_device_is_refused(tmp_path: Path) -> None:
    settings = InferenceSettings.model_validate({"engine": "openvino", "device": "cuda"})
    with pytest.raises(EngineUnavailable, match="MATTEWORKS_INFERENCE_DEVICE=cpu"):
        open_engine(settings, thread_count=1, graphs=graphs(tmp_path))


def test_an_engine_that_is_asked_for_is_taken(tmp_path: Path) -> None:
    for name, kind in (("onnxruntime", OnnxRuntimeEngine), ("openvino", OpenVinoEngine)):
        settings = InferenceSettings.model_validate({"engine": name})
        assert type(open_engine(settings, thread_count=1, graphs=graphs(tmp_path))) is kind
