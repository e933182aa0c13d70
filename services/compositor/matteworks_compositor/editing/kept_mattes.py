"""The networks' mattes of the latest pictures, so that a second stroke costs no network."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Final

import numpy as np
from numpy.typing import NDArray

from matteworks_common.clock import Clock

MAX_BYTES: Final = 64 * 1024 * 1024
KEPT_S: Final = 600.0


class KeptMattes:
    """By the content of the picture's file. Of one process: another one asks the network again.

    At most `max_bytes` in all, the least recently used go first; each at most `kept_s`.
    """

    def __init__(self, clock: Clock, max_bytes: int = MAX_BYTES, kept_s: float = KEPT_S) -> None:
        self._clock = clock
        self._max_bytes = max_bytes
        self._kept_s = kept_s
        self._mattes: OrderedDict[bytes, tuple[float, NDArray[np.uint8]]] = OrderedDict()
        self._size_bytes = 0

    @staticmethod
    def key(content: bytes) -> bytes:
        """Of a picture's file."""
        return hashlib.sha256(content).digest()

    def get(self, key: bytes) -> NDArray[np.uint8] | None:
        """The matte, H×W, not to be written to; None when there is none any more."""
        self._forget_old()
        if key not in self._mattes:
            return None
        self._mattes.move_to_end(key)
        return self._mattes[key][1]

    def put(self, key: bytes, matte: NDArray[np.uint8]) -> None:
        """Keep a matte, unless it is larger than all that may be kept."""
        self._drop(key)
        if matte.nbytes > self._max_bytes:
            return
        self._mattes[key] = (self._clock.monotonic_s() + self._kept_s, matte)
        self._size_bytes += matte.nbytes
        while self._size_bytes > self._max_bytes:
            self._drop(next(iter(self._mattes)))

    def _forget_old(self) -> None:
        now_s = self._clock.monotonic_s()
        for key in [key for key, (until_s, _) in self._mattes.items() if until_s <= now_s]:
            self._drop(key)

    def _drop(self, key: bytes) -> None:
        found = self._mattes.pop(key, None)
        if found is not None:
            self._size_bytes -= found[1].nbytes
