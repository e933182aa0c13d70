"""What a caller may ask of the painter: so many at once, each within its time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from matteworks_common.clock import Clock
from matteworks_common.errors import DeadlineExceeded, overloaded
from matteworks_common.stages import Stages
from matteworks_inference.metrics import InferenceMetrics
from matteworks_inference.picture import PixelArray
from matteworks_inference.tasks.inpainting.painter import Hole, Painter, painter_failed

__all__ = ["Inpainting", "Painted"]


@dataclass(frozen=True, slots=True)
class Painted:
    """Pixels of the hole's size, and who made them."""

    pixels: PixelArray
    painter: str


class Inpainting:
    """At most `max_requests` paintings at once, each of at most `timeout_s`. Use from one event loop."""

    def __init__(
        self,
        painter: Painter,
        clock: Clock,
        metrics: InferenceMetrics,
        *,
        max_requests: int,
        timeout_s: float,
    ) -> None:
        self._painter = painter
        self._clock = clock
        self._metrics = metrics
        self._max_requests = max_requests
        self._timeout_s = timeout_s
        self._in_hand = 0

    async def paint(self, hole: Hole, deadline_s: float | None, stages: Stages) -> Painted:
        """The painted part. Raises LimitExceeded (OVERLOADED), DeadlineExceeded, and as `Painter.paint`."""
        if self._in_hand >= self._max_requests:
            raise overloaded("Too many pictures are being painted already.", self._timeout_s)
        timeout_s = self._timeout_s
        if deadline_s is not None:
            timeout_s = min(timeout_s, deadline_s - self._clock.monotonic_s())
        if timeout_s <= 0:
            raise DeadlineExceeded()
        self._in_hand += 1
        outcome = "failed"
        try:
            with stages.measure("paint"):
                pixels = await self._painter.paint(hole, timeout_s)
            if pixels.shape != hole.pixels.shape:
                raise painter_failed("it answered a picture of another size")
            outcome = "ok"
            return Painted(pixels, self._painter.name)
        except TimeoutError as error:
            outcome = "timeout"
            raise DeadlineExceeded(
                f"The generative server did not answer within {timeout_s:.0f} seconds. Nothing was charged."
            ) from error
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        finally:
            self._in_hand -= 1
            self._metrics.painted.labels(outcome).inc()
