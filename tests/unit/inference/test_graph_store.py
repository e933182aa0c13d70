"""Weights that cannot be written, as in a container: what was prepared is used, and nothing dies."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from matteworks_inference.engines.choice import Choice, ChoiceMemory
from matteworks_inference.engines.contract import NetworkKey
from matteworks_inference.engines.openvino import OpenVinoEngine
from matteworks_inference.networks import graph_store
from matteworks_inference.networks.graph_store import GraphStore
from tests.support.engines import mattes_of
from tests.unit.inference.tiny_networks import SIDE_PX, tiny_registry


def make_read_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes below `folder` fail, as on a read-only mount; a mode would not stop root."""
    real = tempfile.TemporaryFile

    def refuse(*arguments: Any, dir: Path, **options: Any) -> Any:
        if Path(dir).is_relative_to(folder):
            raise OSError(30, "Read-only file system")
        return real(*arguments, dir=dir, **options)

    monkeypatch.setattr(graph_store.tempfile, "TemporaryFile", refuse)


def test_prepared_graphs_on_a_read_only_mount_are_used_and_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models, fallback = tmp_path / "models", tmp_path / "fallback"
    models.mkdir()
    entry = tiny_registry(models, tiny="general").find("tiny")
    key = NetworkKey("tiny", SIDE_PX, SIDE_PX)
    picture = np.full((SIDE_PX, SIDE_PX, 3), 77, np.uint8)

    def matte() -> np.ndarray:
        engine = OpenVinoEngine(thread_count=1, max_batch_items=1, graphs=GraphStore(models, fallback))
        engine.load(entry, models / "tiny.onnx")
        return mattes_of(engine, key, [picture])[0]

    expected = matte()
    before = {path: path.stat().st_mtime_ns for path in models.rglob("*")}
    # A cache that another version made is one that the runtime wants to remove.
    (models / ".graphs" / "openvino").mkdir(exist_ok=True)
    make_read_only(models, monkeypatch)

    assert np.array_equal(matte(), expected)
    assert {path: path.stat().st_mtime_ns for path in models.rglob("*") if path in before} == before
    copied = {path.name for path in (fallback / "openvino").glob("*.blob")}
    assert copied >= {path.name for path in (models / ".graphs" / "openvino").glob("*.blob")}


def test_what_was_measured_before_the_mount_became_read_only_is_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models, fallback = tmp_path / "models", tmp_path / "fallback"
    models.mkdir()
    registry = tiny_registry(models, tiny="general", other="small")
    first, second = registry.find("tiny"), registry.find("other")
    ChoiceMemory(GraphStore(models, fallback)).remember(first, Choice(0.2, 0.1))
    make_read_only(models, monkeypatch)
    memory = ChoiceMemory(GraphStore(models, fallback))

    memory.remember(second, Choice(0.3, 0.4))

    assert memory.recall(first) == Choice(0.2, 0.1)
    assert memory.recall(second) == Choice(0.3, 0.4)


def test_a_fallback_that_lost_its_files_is_filled_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models, fallback = tmp_path / "models", tmp_path / "fallback"
    prepared = models / ".graphs" / "openvino"
    prepared.mkdir(parents=True)
    (prepared / "1.blob").write_bytes(b"compiled")
    make_read_only(models, monkeypatch)
    store = GraphStore(models, fallback)
    shutil.rmtree(store.cache_beside(models / ".graphs" / "a.onnx", "openvino"))

    again = store.cache_beside(models / ".graphs" / "a.onnx", "openvino")

    assert (again / "1.blob").read_bytes() == b"compiled"


def test_what_is_prepared_can_be_read_by_the_user_of_a_container(tmp_path: Path) -> None:
    blob = tmp_path / ".graphs" / "openvino" / "1.blob"
    blob.parent.mkdir(parents=True)
    blob.write_bytes(b"compiled")
    blob.chmod(0o440)

    GraphStore(tmp_path, tmp_path / "fallback").share()

    assert blob.stat().st_mode & 0o777 == 0o444
