"""Settings of the inference service, and the processor count that fills one of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from matteworks_common.settings import SettingsError, load_settings
from matteworks_inference.engines.threads import usable_processor_count
from matteworks_inference.settings import InferenceSettings


def test_models_are_separated_by_commas_and_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MATTEWORKS_INFERENCE_MODELS", "u2netp, isnet-general-use")
    assert load_settings(InferenceSettings).model_names == ("u2netp", "isnet-general-use")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MODELS", "a,,b"),
        ("DEVICE", "tpu"),
        ("QUALITY", "superb"),
        ("THREADS", "-1"),
        ("MAX_BATCH_ITEMS", "x"),
    ],
)
def test_a_wrong_value_is_refused_by_the_variables_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    name = f"MATTEWORKS_INFERENCE_{variable}"
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name):
        load_settings(InferenceSettings)


@pytest.mark.parametrize(
    ("device", "asked", "given"), [("cpu", 0, 1), ("cuda", 0, 8), ("tensorrt", 0, 8), ("cpu", 4, 4)]
)
def test_the_batch_size_fits_the_device_unless_it_is_set(device: str, asked: int, given: int) -> None:
    settings = InferenceSettings(device=device, max_batch_items=asked)  # type: ignore[arg-type]
    assert settings.batch_items == given


def test_a_containers_quota_bounds_the_processor_count(tmp_path: Path) -> None:
    limit = tmp_path / "cpu.max"
    limit.write_text("100000 100000\n")
    assert usable_processor_count(limit) == 1


@pytest.mark.parametrize("content", ["max 100000\n", "", "nonsense"])
def test_without_a_quota_every_allowed_processor_counts(tmp_path: Path, content: str) -> None:
    limit = tmp_path / "cpu.max"
    limit.write_text(content)
    assert usable_processor_count(limit) >= 1
    assert usable_processor_count(limit) == usable_processor_count(tmp_path / "absent")
