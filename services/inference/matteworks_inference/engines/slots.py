"""The memory of batches that have ended, kept for the next one of the same shape."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["SlotPool"]

ShapeT = TypeVar("ShapeT", bound=Hashable)
SlotT = TypeVar("SlotT")


class SlotPool(Generic[ShapeT, SlotT]):
    """Slots that nobody uses. They go back from the device's thread and are taken by the preparing one."""

    def __init__(self) -> None:
        self._free: dict[ShapeT, list[SlotT]] = {}
        self._lock = threading.Lock()

    def take(self, shape: ShapeT) -> SlotT | None:
        """A slot of that shape, or None when every one is in use."""
        with self._lock:
            free = self._free.get(shape)
            return free.pop() if free else None

    def give_back(self, shape: ShapeT, slot: SlotT) -> None:
        """Whoever took or made `slot` uses it no more."""
        with self._lock:
            self._free.setdefault(shape, []).append(slot)
