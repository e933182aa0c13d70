"""A tile of a picture to the same tile, larger. The network is loaded when the first tile comes: servers that
enlarge nothing start sooner and stay smaller.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import structlog

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.context import is_deferred
from matteworks_common.errors import FailedPrecondition, InvalidField, Unavailable
from matteworks_common.stages import Stages
from matteworks_inference.engines.contract import EngineUnavailable, NetworkKey
from matteworks_inference.metrics import InferenceMetrics
from matteworks_inference.networks.graph import PIXELS, UPSCALED, GraphError
from matteworks_inference.networks.registry import ModelEntry
from matteworks_inference.picture import PixelArray
from matteworks_inference.queueing.door import PictureAdmission
from matteworks_inference.tasks.segmentation.segmenter import Queue

__all__ = ["Upscaled", "Upscaler"]

UNAVAILABLE: Final = (
    "Upscaling needs a network whose weights are not on this server. Its operator gets them with: "
    "matteworks models pull esrgan-thick-x4, and starts the inference service again."
)
log = structlog.get_logger()


@dataclass(frozen=True)
class Upscaled:
    """A larger tile, and how it was made."""

    pixels: PixelArray
    model: str
    batch_item_count: int


class Upscaler:
    """Use from one event loop.

    `network` is an upscaler and where its weights are; None: there are none. `load` makes it ready on the
    device's thread, and may raise what Engine.load raises. `admission` bounds the tiles in hand.
    """

    def __init__(
        self,
        network: tuple[ModelEntry, Path] | None,
        queue: Queue,
        metrics: InferenceMetrics,
        *,
        load: Callable[[ModelEntry, Path], Awaitable[None]],
        admission: PictureAdmission,
    ) -> None:
        self.is_loaded = False
        self._network = network
        self._queue = queue
        self._metrics = metrics
        self._load = load
        self._admission = admission
        self._loading = asyncio.Lock()

    @property
    def entry(self) -> ModelEntry | None:
        """The network, loaded or not; None: there is none."""
        return self._network[0] if self._network else None

    def check(self, width_px: int, height_px: int) -> tuple[ModelEntry, Path]:
        """The network for a tile of that size, before any work.

        Raises FailedPrecondition (TOOL_UNAVAILABLE), InvalidField (INVALID_DIMENSIONS).
        """
        if self._network is None:
            raise FailedPrecondition(reasons.ERROR_REASON_TOOL_UNAVAILABLE, UNAVAILABLE)
        most_across_px, most_down_px = self._network[0].input_sizes_px[0]
        for name, side_px, most_px in (
            ("width_px", width_px, most_across_px),
            ("height_px", height_px, most_down_px),
        ):
            if not 1 <= side_px <= most_px:
                raise InvalidField(
                    f"pixels.size.{name}",
                    f"Give 1 to {most_px} px: cut the picture into tiles.",
                    reason=reasons.ERROR_REASON_INVALID_DIMENSIONS,
                    metadata={"received": str(side_px), "limit_px": str(most_px)},
                )
        return self._network

    async def upscale(self, tile: PixelArray, deadline_s: float | None, stages: Stages) -> Upscaled:
        """`tile` (h x w x 3), `factor` times as wide and high.

        Raises as `check`, LimitExceeded (OVERLOADED) and what BatchQueue.submit raises, and Unavailable
        (ENGINE_FAILED) when the network cannot be loaded.
        """
        height_px, width_px = tile.shape[:2]
        entry, weights = self.check(width_px, height_px)
        with self._admission.hold(deadline_s):
            await self._ensure_loaded(entry, weights)
            across_px, down_px = entry.input_sizes_px[0]
            # The network has one size. What is added mirrors the tile, as if the picture went on.
            padding = (0, down_px - height_px, 0, across_px - width_px)
            padded = np.asarray(cv2.copyMakeBorder(tile, *padding, cv2.BORDER_REFLECT), np.uint8)
            outcome = await self._queue.submit(
                NetworkKey(entry.name, across_px, down_px),
                {PIXELS: padded},
                deadline_s=deadline_s,
                is_deferred=is_deferred(),
            )
        for stage, duration_s in (("queue", outcome.queue_s), ("infer", outcome.run_s)):
            stages.add(stage, duration_s)
            self._metrics.stage_seconds.labels(stage).observe(duration_s)
        self._metrics.upscaled.labels(entry.name).inc()
        factor = entry.factor
        larger = outcome.result[UPSCALED][: factor * height_px, : factor * width_px]
        return Upscaled(larger, entry.name, outcome.batch_item_count)

    async def _ensure_loaded(self, entry: ModelEntry, weights: Path) -> None:
        async with self._loading:
            if self.is_loaded:
                return
            try:
                await self._load(entry, weights)
            except (EngineUnavailable, GraphError) as error:
                log.error("upscaler_not_loaded", model=entry.name, error=str(error))
                raise Unavailable(
                    "The network that enlarges pictures cannot be loaded; the server's log says why.",
                    reason=reasons.ERROR_REASON_ENGINE_FAILED,
                ) from error
            self.is_loaded = True
