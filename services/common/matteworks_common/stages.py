"""Named stages of one call: measured once, then reported to the caller, the traces and the metrics."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from matteworks.common.v1 import image_pb2
from matteworks_common.tracing import span


class Stages:
    """Durations of one call in the order in which the stages ended. One per call, not thread-safe."""

    def __init__(self) -> None:
        self.durations_s: list[tuple[str, float]] = []

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Time the block, failed or not, as a span and as an entry."""
        start = time.perf_counter()
        with span(stage):
            try:
                yield
            finally:
                self.add(stage, time.perf_counter() - start)

    def add(self, stage: str, duration_s: float) -> None:
        """Record a stage that was timed elsewhere."""
        self.durations_s.append((stage, duration_s))

    def extend(self, prefix: str, stages: Iterable[image_pb2.StageDuration]) -> None:
        """Take over the stages that another service reported, under `prefix`."""
        for stage in stages:
            self.add(prefix + stage.stage, stage.duration.ToNanoseconds() / 1e9)

    def to_proto(self) -> list[image_pb2.StageDuration]:
        """The wire form."""
        result = []
        for stage, duration_s in self.durations_s:
            entry = image_pb2.StageDuration(stage=stage)
            entry.duration.FromNanoseconds(round(duration_s * 1e9))
            result.append(entry)
        return result
