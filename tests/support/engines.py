"""Pictures to mattes through an engine, for tests that care about nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matteworks_inference.engines.contract import Engine, NetworkKey, Tensors
from matteworks_inference.networks.graph import MATTE, PIXELS
from matteworks_inference.picture import MatteArray, PixelArray


def named(pictures: Sequence[PixelArray]) -> list[Tensors]:
    """The pictures as items of a matting network."""
    return [{PIXELS: pixels} for pixels in pictures]


def run_mattes(engine: Engine, prepared: Any) -> list[MatteArray]:
    """The mattes of a batch that was prepared."""
    return [answer[MATTE] for answer in engine.run(prepared)]


def mattes_of(engine: Engine, key: NetworkKey, pictures: Sequence[PixelArray]) -> list[MatteArray]:
    """The mattes of `pictures`, in one batch."""
    return run_mattes(engine, engine.prepare(key, named(pictures)))
