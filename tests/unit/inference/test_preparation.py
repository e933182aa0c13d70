"""After the preparation a start finds everything done."""

from __future__ import annotations

from pathlib import Path

import pytest

import matteworks_inference.networks.warmup as preparation
from matteworks_common.settings import SettingsError
from tests.unit.inference.tiny_networks import tiny_registry


def test_each_network_that_is_there_is_prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = tiny_registry(tmp_path, tiny="general", face="portrait")
    (tmp_path / "face.onnx").unlink()
    monkeypatch.setattr(preparation, "load_registry", lambda: registry)
    prepared = preparation.prepare_for_machine(tmp_path)
    assert list(prepared) == ["tiny"]
    assert prepared["tiny"].label == "onnxruntime/cpu"
    assert list((tmp_path / ".graphs").glob("tiny-*.onnx"))


def test_an_empty_directory_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="models pull"):
        preparation.prepare_for_machine(tmp_path)
