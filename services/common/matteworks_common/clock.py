"""Time as an argument, so that tests move it instead of sleeping."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """Something that will happen."""

    def cancel(self) -> None:
        """It will not; no error when it has happened already."""


class Clock(Protocol):
    """Where a service reads the time."""

    def unix_s(self) -> float:
        """Seconds since 1970-01-01 UTC; may jump when the machine's clock is set."""

    def monotonic_s(self) -> float:
        """Seconds from an arbitrary start; never goes back."""

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` on the running event loop in `delay_s` seconds."""


class SystemClock:
    """The machine's clock."""

    def unix_s(self) -> float:
        return time.time()

    def monotonic_s(self) -> float:
        return time.monotonic()

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        return asyncio.get_running_loop().call_later(delay_s, callback)
