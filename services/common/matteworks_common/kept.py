"""What was worked out for the latest pictures, so that a second question about one costs little."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from matteworks_common.clock import Clock

__all__ = ["Kept"]

T = TypeVar("T")


class Kept(Generic[T]):
    """Values by a hash of what they were made from. Of one process: another one works them out again.

    At most `max_bytes` in all, by `size_of`, the least recently used go first; each at most `kept_s`. Use
    from one thread at a time.
    """

    def __init__(self, clock: Clock, size_of: Callable[[T], int], *, max_bytes: int, kept_s: float) -> None:
        self._clock = clock
        self._size_of = size_of
        self._max_bytes = max_bytes
        self._kept_s = kept_s
        self._values: OrderedDict[bytes, tuple[float, T]] = OrderedDict()
        self._size_bytes = 0

    @staticmethod
    def key(*parts: bytes | memoryview) -> bytes:
        """Of a picture's file, or of its pixels and whatever else matters."""
        digest = hashlib.sha256()
        for part in parts:
            digest.update(part)
        return digest.digest()

    def get(self, key: bytes) -> T | None:
        """The value; None when there is none any more."""
        self._forget_old()
        if key not in self._values:
            return None
        self._values.move_to_end(key)
        return self._values[key][1]

    def put(self, key: bytes, value: T) -> None:
        """Keep a value, unless it is larger than all that may be kept."""
        self._drop(key)
        size_bytes = self._size_of(value)
        if size_bytes > self._max_bytes:
            return
        self._values[key] = (self._clock.monotonic_s() + self._kept_s, value)
        self._size_bytes += size_bytes
        while self._size_bytes > self._max_bytes:
            self._drop(next(iter(self._values)))

    def _forget_old(self) -> None:
        now_s = self._clock.monotonic_s()
        for key in [key for key, (until_s, _) in self._values.items() if until_s <= now_s]:
            self._drop(key)

    def _drop(self, key: bytes) -> None:
        found = self._values.pop(key, None)
        if found is not None:
            self._size_bytes -= self._size_of(found[1])
