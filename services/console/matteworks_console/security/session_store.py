"""Where sessions are kept: in Valkey, shared by replicas, or in this process, which may forget."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, Protocol

from matteworks_common.clock import Clock

MAX_ENTRIES: Final = 100_000


class SessionStore(Protocol):
    """Small texts that end by themselves, and counters. Every method may raise Unavailable."""

    async def put(self, name: str, text: str, time_to_live_s: int) -> None:
        """Keep `text` under `name` for `time_to_live_s`."""

    async def get(self, name: str) -> str | None:
        """What is kept under `name`; None when nothing is, or not any more."""

    async def delete(self, name: str) -> None:
        """Forget `name`."""

    async def count(self, name: str, window_s: int) -> int:
        """Count one more, and say how many that makes within `window_s` of the first."""

    async def close(self) -> None:
        """Give connections back."""


class MemorySessionStore:
    """See `SessionStore`. Beyond `MAX_ENTRIES` the oldest are forgotten."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: OrderedDict[str, tuple[float, str]] = OrderedDict()

    async def put(self, name: str, text: str, time_to_live_s: int) -> None:
        self._entries[name] = (self._clock.monotonic_s() + time_to_live_s, text)
        self._entries.move_to_end(name)
        while len(self._entries) > MAX_ENTRIES:
            self._entries.popitem(last=False)

    async def get(self, name: str) -> str | None:
        ends_s, text = self._entries.get(name, (0.0, ""))
        if self._clock.monotonic_s() < ends_s:
            return text
        self._entries.pop(name, None)
        return None

    async def delete(self, name: str) -> None:
        self._entries.pop(name, None)

    async def count(self, name: str, window_s: int) -> int:
        counted = await self.get(name)
        if counted is None:
            await self.put(name, "1", window_s)
            return 1
        ends_s, _ = self._entries[name]
        self._entries[name] = (ends_s, str(int(counted) + 1))
        return int(counted) + 1

    async def close(self) -> None:
        self._entries.clear()
