"""A clock that a test moves."""

from __future__ import annotations


class ManualClock:
    """Stands still until `advance` is called."""

    def __init__(self, unix_s: float = 1_800_000_000.0) -> None:
        self._unix_s = unix_s
        self._monotonic_s = 1000.0

    def unix_s(self) -> float:
        return self._unix_s

    def monotonic_s(self) -> float:
        return self._monotonic_s

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        self._unix_s += seconds
        self._monotonic_s += seconds
