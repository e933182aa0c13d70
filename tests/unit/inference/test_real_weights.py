"""The published networks: they load, they batch, and their mattes are mattes.

Skipped where the weights are absent: `matteworks models pull` fetches them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from matteworks_inference.engine import NetworkKey, OnnxRuntimeEngine, PixelArray
from matteworks_inference.graph_store import GraphStore
from matteworks_inference.models.registry import load_registry, weights_path

ROOT = Path(__file__).parents[3]
DIRECTORY = Path(os.environ.get("MATTEWORKS_INFERENCE_MODEL_DIRECTORY", ROOT / "models"))
BATCHING = ["modnet-photographic-portrait", "u2netp", "isnet-general-use"]


@pytest.fixture(scope="module", params=BATCHING)
def network(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[OnnxRuntimeEngine, NetworkKey]]:
    entry = load_registry().find(request.param)
    weights = weights_path(entry, DIRECTORY)
    if weights is None:
        pytest.skip(f"no weights of {entry.name} in {DIRECTORY}; run: matteworks models pull {entry.name}")
    folder = tmp_path_factory.mktemp("graphs")
    engine = OnnxRuntimeEngine("cpu", thread_count=2, max_batch_items=2, graphs=GraphStore(folder, folder))
    engine.load(entry, weights)
    width_px, height_px = entry.input_sizes_px[0]
    yield engine, NetworkKey(entry.name, width_px, height_px)
    engine.close()


@pytest.fixture
def photo() -> PixelArray:
    """A person before a room."""
    path = ROOT / "cli" / "matteworks_cli" / "demo" / "astronaut.jpg"
    if not path.exists():
        pytest.skip("the demo photo is not here")
    return np.asarray(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB), np.uint8)


def test_a_batch_equals_single_runs_within_one_level(
    network: tuple[OnnxRuntimeEngine, NetworkKey], photo: PixelArray
) -> None:
    """Some public exports have batch 1 traced into them and answer larger batches wrongly, not at all."""
    engine, key = network
    upright = np.asarray(cv2.resize(photo, (key.width_px, key.height_px)), np.uint8)
    items = [upright, np.ascontiguousarray(upright[:, ::-1])]
    together = engine.run(engine.prepare(key, items))
    for item, matte in zip(items, together, strict=True):
        alone = engine.run(engine.prepare(key, [item]))[0]
        assert np.abs(alone.astype(int) - matte).max() <= 1


def test_a_person_stands_out(network: tuple[OnnxRuntimeEngine, NetworkKey], photo: PixelArray) -> None:
    engine, key = network
    pixels = np.asarray(cv2.resize(photo, (key.width_px, key.height_px)), np.uint8)
    matte = engine.run(engine.prepare(key, [pixels]))[0]
    rows, columns = matte.shape
    face = matte[int(0.15 * rows) : int(0.3 * rows), int(0.4 * columns) : int(0.5 * columns)]
    assert face.mean() > 200
    assert 0.1 < (matte > 128).mean() < 0.9
