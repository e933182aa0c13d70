"""Networks that fill holes: what the registry says of them, and a real one that is run by it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from matteworks_common.errors import FailedPrecondition
from matteworks_inference.engines.contract import EngineUnavailable
from matteworks_inference.networks.painters import (
    PainterEntry,
    find_painter,
    load_painters,
    parse_painters,
)
from matteworks_inference.networks.registry import RegistryError, WrongWeights
from matteworks_inference.tasks.inpainting.fitting import fit
from matteworks_inference.tasks.inpainting.network import NetworkPainter
from matteworks_inference.tasks.inpainting.painter import Hole
from tests.unit.inference.tiny_painters import SIDE_PX, mean_filling_network, write_painter


@pytest.fixture
def workers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture
def lama() -> PainterEntry:
    """LaMa's entry for a smaller picture."""
    return replace(load_painters()[0], sizes_px=((SIDE_PX, SIDE_PX),))


def hole(width: int, height: int, prompt: str = "") -> Hole:
    pixels = np.full((height, width, 3), (40, 120, 200), np.uint8)
    mask = np.zeros((height, width), np.uint8)
    mask[height // 4 : height // 2, width // 4 : width // 2] = 255
    pixels[mask > 0] = 0
    return Hole(pixels, mask, prompt)


def open_painter(entry: PainterEntry, file: Path, workers: ThreadPoolExecutor) -> NetworkPainter:
    return NetworkPainter(entry, file, workers, threads=1, providers=["CPUExecutionProvider"])


def test_the_registry_describes_lama_and_mi_gan() -> None:
    assert [entry.name for entry in load_painters()] == ["lama", "lama-unit", "mi-gan"]
    migan = load_painters()[-1]
    assert (migan.hole, migan.known) == (0, 255), "its masks are white where nothing is to be done"


@pytest.mark.parametrize("size", [(64, 64), (300, 200), (50, 120)])
async def test_a_hole_of_any_size_is_filled_by_a_network_of_one(
    lama: PainterEntry, tmp_path: Path, workers: ThreadPoolExecutor, size: tuple[int, int]
) -> None:
    painter = open_painter(lama, write_painter(tmp_path, "lama.onnx"), workers)
    asked = hole(*size)
    painted = await painter.paint(asked, 10)
    await painter.aclose()
    assert painted.shape == asked.pixels.shape
    inside = asked.mask > 0
    # Scaling rings at the black hole's edge; holes that the compositor sends have a rim for that.
    assert np.abs(painted[inside].astype(int) - (40, 120, 200)).max() <= 12


async def test_a_network_that_reads_words_paints_them_and_another_refuses(
    lama: PainterEntry, tmp_path: Path, workers: ThreadPoolExecutor
) -> None:
    reading = replace(lama, prompt_input="prompt")
    painter = open_painter(reading, write_painter(tmp_path, "words.onnx", reads_words=True), workers)
    asked = hole(64, 64, "red")
    painted = await painter.paint(asked, 10)
    await painter.aclose()
    assert np.abs(painted[asked.mask > 0].astype(int) - (255, 0, 0)).max() <= 1
    deaf = open_painter(lama, write_painter(tmp_path, "lama.onnx"), workers)
    with pytest.raises(FailedPrecondition, match="reads no prompts"):
        await deaf.paint(asked, 10)
    await deaf.aclose()


def test_a_file_that_is_not_as_described_is_refused_at_the_start(
    lama: PainterEntry, tmp_path: Path, workers: ThreadPoolExecutor
) -> None:
    (tmp_path / "lama.onnx").write_bytes(b"no network")
    with pytest.raises(EngineUnavailable, match="no network that runs here"):
        open_painter(lama, tmp_path / "lama.onnx", workers)
    onnx.save(mean_filling_network(reads_words=True), tmp_path / "lama.onnx")
    with pytest.raises(EngineUnavailable, match="has the inputs"):
        open_painter(lama, tmp_path / "lama.onnx", workers)
    large = replace(lama, sizes_px=((128, 128),))
    with pytest.raises(EngineUnavailable, match="does not run"):
        open_painter(large, write_painter(tmp_path, "lama.onnx"), workers)


def test_a_missing_file_and_an_unknown_name_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(WrongWeights, match=r"lama\.onnx"):
        find_painter(tmp_path, "lama")
    with pytest.raises(WrongWeights, match="known are"):
        find_painter(tmp_path, "dalle")
    with pytest.raises(WrongWeights, match="put one of"):
        find_painter(tmp_path, "")
    write_painter(tmp_path, "migan-pipeline.onnx")
    entry, _ = find_painter(tmp_path, "")
    assert entry.name == "mi-gan"
    wrong = replace(load_painters()[0], sha256="0" * 64)
    write_painter(tmp_path, "lama.onnx")
    with pytest.raises(WrongWeights, match="sha256"):
        find_painter(tmp_path, "", (wrong,))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('kind = "inpaint"', 'kind = "upscale"', "kind must be inpaint"),
        ('file = "a.onnx"', 'file = "../a.onnx"', "without a directory"),
        ("hole = 1", "", "'hole' is missing"),
        ("[[64, 64]]", "[]", "input_sizes"),
        ("deviation = 255", "deviation = 0", "deviation is 0"),
    ],
)
def test_a_wrong_entry_names_the_field(old: str, new: str, words: str) -> None:
    text = """
[[painters]]
kind = "inpaint"
name = "a"
summary = "A."
license = "MIT"
file = "a.onnx"
input_sizes = [[64, 64]]
[painters.network]
layout = "nchw"
mean = 0
deviation = 255
hole = 1
known = 0
answer_mean = 0
answer_deviation = 1
"""
    assert parse_painters(text)[0].name == "a"
    with pytest.raises(RegistryError, match=words):
        parse_painters(text.replace(old, new, 1))


def test_what_is_left_beside_a_fitted_hole_is_nobodys_hole() -> None:
    asked = hole(120, 40)
    fitted = fit(asked, [(64, 64)])
    assert fitted.hole.pixels.shape == (64, 64, 3)
    assert not fitted.hole.mask[fitted.shown.height_px :].any()
    assert fitted.take_back(fitted.hole.pixels).shape == asked.pixels.shape
