"""Which engine runs a network on this machine: measured once, remembered, and told in ListModels.

What is faster depends on the processor: one that multiplies bytes or bfloat16 runs the networks that bear
it two to four times as fast in OpenVINO, on others both engines are even. Runs alternate, so that a noisy
moment meets both alike.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import structlog

from matteworks_inference.engines.contract import Engine, EngineFacts, EngineUnavailable, NetworkKey, Tensors
from matteworks_inference.engines.onnx_cpu import CpuPlacement
from matteworks_inference.engines.onnx_engine import OnnxRuntimeEngine
from matteworks_inference.networks.graph import PIXELS
from matteworks_inference.networks.graph_store import GraphStore, processor_features
from matteworks_inference.networks.registry import ModelEntry
from matteworks_inference.settings import InferenceSettings

if TYPE_CHECKING:
    from matteworks_inference.engines.openvino import OpenVinoEngine

ROUNDS: Final = 3
# OpenVINO must be this much faster: a second engine in memory has to earn its place.
NEEDED_GAIN: Final = 1.15
_FILE: Final = "engine-choice.json"
log = structlog.get_logger()


def open_engine(settings: InferenceSettings, *, thread_count: int, graphs: GraphStore) -> Engine:
    """The engine that the settings name; with `auto` on a CPU the one that measures faster, by network.

    Raises EngineUnavailable: OpenVINO was asked for and is not installed, or for a GPU.
    """
    if settings.engine == "triton":
        if not settings.triton_target or not settings.model_names:
            raise EngineUnavailable(
                "MATTEWORKS_INFERENCE_ENGINE=triton needs MATTEWORKS_INFERENCE_TRITON_TARGET, its host "
                "and port, and MATTEWORKS_INFERENCE_MODELS, the networks that it serves."
            )
        # Imported here: only who has such a server needs it.
        from matteworks_inference.engines.open_inference import OpenInferenceEngine

        return OpenInferenceEngine(
            settings.triton_target,
            max_batch_items=settings.batch_items,
            timeout_s=settings.max_wait_s,
            max_message_bytes=settings.max_message_bytes,
        )
    if settings.device != "cpu":
        if settings.engine == "openvino":
            raise EngineUnavailable(
                "MATTEWORKS_INFERENCE_ENGINE=openvino runs on the CPU only: "
                "set MATTEWORKS_INFERENCE_DEVICE=cpu, or the engine to auto."
            )
        # Imported here: only a machine with a GPU needs it.
        from matteworks_inference.engines.gpu.placement import open_gpu_engine

        return open_gpu_engine(settings, graphs)
    onnxruntime = OnnxRuntimeEngine(CpuPlacement(thread_count, graphs), max_batch_items=settings.batch_items)
    if settings.engine == "onnxruntime":
        return onnxruntime
    has_openvino = importlib.util.find_spec("openvino") is not None
    if settings.engine == "auto" and not has_openvino:
        return onnxruntime
    if not has_openvino:
        raise EngineUnavailable(
            "MATTEWORKS_INFERENCE_ENGINE=openvino needs the extra inference; install it, or set the engine "
            "to onnxruntime or auto."
        )
    # Imported here: the extra inference-gpu does not bring it.
    from matteworks_inference.engines.openvino import OpenVinoEngine

    openvino = OpenVinoEngine(thread_count=thread_count, max_batch_items=settings.batch_items, graphs=graphs)
    if settings.engine == "openvino":
        return openvino
    return MeasuredEngines(onnxruntime, openvino, ChoiceMemory(graphs))


@dataclass(frozen=True)
class Choice:
    """Seconds a run took on each engine, medians."""

    onnxruntime_s: float
    openvino_s: float

    @property
    def takes_openvino(self) -> bool:
        """Whether OpenVINO is so much faster that it is worth it."""
        return self.onnxruntime_s >= self.openvino_s * NEEDED_GAIN


class ChoiceMemory:
    """Choices of earlier starts, good for the same weights, runtimes and processor."""

    def __init__(self, graphs: GraphStore) -> None:
        self._graphs = graphs
        self._circumstances = (version("onnxruntime"), version("openvino"), processor_features())

    def recall(self, entry: ModelEntry) -> Choice | None:
        """What was measured for `entry`; None when nothing was, or the note cannot be read."""
        try:
            note = self._notes()[self._key(entry)]
            return Choice(float(note["onnxruntime_s"]), float(note["openvino_s"]))
        except (ValueError, KeyError, TypeError):
            return None

    def remember(self, entry: ModelEntry, choice: Choice) -> None:
        """Note `choice`. Two processes that measure at once may lose one note; it is measured again."""
        notes = self._notes()
        notes[self._key(entry)] = {
            "model": entry.name, "onnxruntime_s": choice.onnxruntime_s, "openvino_s": choice.openvino_s,
        }  # fmt: skip
        path = self._graphs.folder / _FILE
        fresh = path.with_suffix(".part")
        fresh.write_text(json.dumps(notes, indent=1))
        fresh.replace(path)

    def _notes(self) -> dict[str, Any]:
        """The notes of this machine, and of whoever prepared the weights where they cannot be written."""
        notes: dict[str, Any] = {}
        for folder in self._graphs.folders:
            try:
                notes = {**json.loads((folder / _FILE).read_text()), **notes}
            except (OSError, ValueError, TypeError):
                continue
        return notes

    def _key(self, entry: ModelEntry) -> str:
        network = (entry.name, entry.sha256, entry.network, entry.input_sizes_px, entry.ranges_file)
        facts = repr((network, self._circumstances))
        return hashlib.sha256(facts.encode()).hexdigest()[:20]


class MeasuredEngines:
    """See `Engine`: each network runs on the engine that measured faster for it.

    Networks that OpenVINO cannot run faster with the same answers are not measured.
    """

    def __init__(self, onnxruntime: Engine, openvino: OpenVinoEngine, memory: ChoiceMemory) -> None:
        self._onnxruntime = onnxruntime
        self._openvino = openvino
        self._memory = memory
        self._engines: dict[str, Engine] = {}
        self._choices: dict[str, Choice] = {}

    def facts_of(self, model: str) -> EngineFacts:
        engine = self._engines[model]
        facts = engine.facts_of(model)
        choice = self._choices.get(model)
        if choice is None:
            return EngineFacts(facts.label, "OpenVINO has no faster precision for it on this processor")
        return EngineFacts(
            facts.label,
            f"measured on this machine: onnxruntime {choice.onnxruntime_s * 1e3:.0f} ms, "
            f"OpenVINO {choice.openvino_s * 1e3:.0f} ms a run",
        )

    def load(self, entry: ModelEntry, weights: Path) -> None:
        """Make `entry` ready on the faster engine. Raises EngineUnavailable, GraphError."""
        engine = self._onnxruntime
        if self._openvino.suits(entry):
            choice = self._memory.recall(entry)
            if choice is None:
                choice = self._measure(entry, weights)
                self._memory.remember(entry, choice)
            else:
                (self._openvino if choice.takes_openvino else self._onnxruntime).load(entry, weights)
            self._choices[entry.name] = choice
            engine = self._openvino if choice.takes_openvino else self._onnxruntime
        else:
            engine.load(entry, weights)
        self._engines[entry.name] = engine
        facts = self.facts_of(entry.name)
        log.info("engine_chosen", model=entry.name, engine=facts.label, reason=facts.reason)

    def unload(self, model: str) -> None:
        self._engines.pop(model).unload(model)

    def most_items_of(self, key: NetworkKey) -> int:
        return self._engines[key.model].most_items_of(key)

    def prepare(self, key: NetworkKey, items: Sequence[Tensors]) -> tuple[Engine, Any]:
        engine = self._engines[key.model]
        return engine, engine.prepare(key, items)

    def run(self, prepared: tuple[Engine, Any]) -> list[Tensors]:
        engine, laid_out = prepared
        return engine.run(laid_out)

    def discard(self, prepared: tuple[Engine, Any]) -> None:
        engine, laid_out = prepared
        engine.discard(laid_out)

    def close(self) -> None:
        self._onnxruntime.close()
        self._openvino.close()

    def _measure(self, entry: ModelEntry, weights: Path) -> Choice:
        """Load on both, run in turn, keep the faster one loaded."""
        engines: tuple[Engine, Engine] = (self._onnxruntime, self._openvino)
        for engine in engines:
            engine.load(entry, weights)
        width_px, height_px = entry.input_sizes_px[0]
        key = NetworkKey(entry.name, width_px, height_px)
        blank = {PIXELS: np.zeros((height_px, width_px, 3), np.uint8)}
        times_s: tuple[list[float], list[float]] = ([], [])
        for _ in range(ROUNDS):
            for engine, times in zip(engines, times_s, strict=True):
                laid_out = engine.prepare(key, [blank])
                start_s = time.perf_counter()
                engine.run(laid_out)
                times.append(time.perf_counter() - start_s)
        choice = Choice(statistics.median(times_s[0]), statistics.median(times_s[1]))
        (self._onnxruntime if choice.takes_openvino else self._openvino).unload(entry.name)
        return choice
