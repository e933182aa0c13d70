"""The published networks: they load, they batch, and their mattes are mattes.

Skipped where the weights are absent: `matteworks models pull` fetches them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import pytest

from matteworks_inference.engines.contract import Engine, NetworkKey
from matteworks_inference.engines.onnx_cpu import CpuPlacement
from matteworks_inference.engines.onnx_engine import OnnxRuntimeEngine
from matteworks_inference.engines.openvino import OpenVinoEngine
from matteworks_inference.networks.graph_store import GraphStore
from matteworks_inference.networks.registry import load_registry, weights_path
from matteworks_inference.picture import PixelArray
from tests.support.engines import mattes_of

ROOT = Path(__file__).parents[3]
DIRECTORY = Path(os.environ.get("MATTEWORKS_INFERENCE_MODEL_DIRECTORY", ROOT / "models"))
BATCHING = ["modnet-photographic-portrait", "u2netp", "isnet-general-use"]


Loaded: TypeAlias = tuple[Engine, NetworkKey]


def loaded(engine: Engine, name: str) -> Loaded:
    entry = load_registry().find(name)
    weights = weights_path(entry, DIRECTORY)
    if weights is None:
        pytest.skip(f"no weights of {entry.name} in {DIRECTORY}; run: matteworks models pull {entry.name}")
    engine.load(entry, weights)
    width_px, height_px = entry.input_sizes_px[0]
    return engine, NetworkKey(entry.name, width_px, height_px)


@pytest.fixture(scope="module", params=BATCHING)
def network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    folder = tmp_path_factory.mktemp("graphs")
    engine = OnnxRuntimeEngine(CpuPlacement(2, GraphStore(folder, folder)), max_batch_items=2)
    yield loaded(engine, request.param)
    engine.close()


@pytest.fixture
def in_8_bits(network: Loaded, tmp_path: Path) -> Iterator[Loaded]:
    """The same network on OpenVINO."""
    engine = OpenVinoEngine(thread_count=2, max_batch_items=1, graphs=GraphStore(tmp_path, tmp_path))
    yield loaded(engine, network[1].model)
    engine.close()


@pytest.fixture
def photo() -> PixelArray:
    """A person before a room."""
    path = ROOT / "cli" / "matteworks_cli" / "demo" / "astronaut.jpg"
    if not path.exists():
        pytest.skip("the demo photo is not here")
    return np.asarray(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB), np.uint8)


def test_a_batch_equals_single_runs_within_one_level(network: Loaded, photo: PixelArray) -> None:
    """Some public exports have batch 1 traced into them and answer larger batches wrongly, not at all."""
    engine, key = network
    upright = np.asarray(cv2.resize(photo, (key.width_px, key.height_px)), np.uint8)
    items = [upright, np.ascontiguousarray(upright[:, ::-1])]
    together = mattes_of(engine, key, items)
    for item, matte in zip(items, together, strict=True):
        alone = mattes_of(engine, key, [item])[0]
        assert np.abs(alone.astype(int) - matte).max() <= 1


def test_a_person_stands_out(network: Loaded, photo: PixelArray) -> None:
    engine, key = network
    pixels = np.asarray(cv2.resize(photo, (key.width_px, key.height_px)), np.uint8)
    matte = mattes_of(engine, key, [pixels])[0]
    rows, columns = matte.shape
    face = matte[int(0.15 * rows) : int(0.3 * rows), int(0.4 * columns) : int(0.5 * columns)]
    assert face.mean() > 200
    assert 0.1 < (matte > 128).mean() < 0.9


def test_8_bits_see_the_same_subject(network: Loaded, in_8_bits: Loaded, photo: PixelArray) -> None:
    """How little mattes move on many pictures stands in docs/performance.md; one picture tells a broken
    network from a rounded one.
    """
    mattes = []
    for engine, key in (network, in_8_bits):
        pixels = np.asarray(cv2.resize(photo, (key.width_px, key.height_px)), np.uint8)
        mattes.append(mattes_of(engine, key, [pixels])[0] > 127)
    overlap = (mattes[0] & mattes[1]).sum() / (mattes[0] | mattes[1]).sum()
    assert overlap > 0.9
