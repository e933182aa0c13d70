"""How many uploads, and how many bytes of them, this process holds at once. More are refused early."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from matteworks_common.errors import overloaded
from matteworks_edge.metrics import EdgeMetrics


class Slot:
    """The place of one upload; counts the bytes that it holds."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self.held_bytes = 0

    def take(self, byte_count: int) -> None:
        """Account for bytes about to be kept. Raises LimitExceeded (OVERLOADED)."""
        self._admission.take(byte_count)
        self.held_bytes += byte_count


class Admission:
    """Bounds uploads in flight by number and by bytes, so that memory is bounded."""

    def __init__(self, max_requests: int, max_bytes: int, metrics: EdgeMetrics) -> None:
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self._requests = 0
        self._bytes = 0
        self._metrics = metrics

    @contextmanager
    def slot(self) -> Iterator[Slot]:
        """Hold a place while the block runs. Raises LimitExceeded (OVERLOADED) at once when none is free."""
        if self._requests >= self._max_requests:
            raise overloaded("Too many uploads are being handled.")
        self._requests += 1
        slot = Slot(self)
        try:
            yield slot
        finally:
            self._requests -= 1
            self._bytes -= slot.held_bytes
            self._metrics.buffered_bytes.set(self._bytes)

    def take(self, byte_count: int) -> None:
        """Count bytes; refuse them when they do not fit any more."""
        if self._bytes + byte_count > self._max_bytes:
            raise overloaded("Too many uploads are being handled.")
        self._bytes += byte_count
        self._metrics.buffered_bytes.set(self._bytes)
