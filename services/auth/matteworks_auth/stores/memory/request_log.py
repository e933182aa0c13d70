"""The latest requests in this process's memory."""

from __future__ import annotations

from collections.abc import Sequence

from matteworks_auth.stores.request_log import LogEntry, LogLimits
from matteworks_common.clock import Clock


class MemoryRequestLogStore:
    """See `RequestLogStore`."""

    def __init__(self, clock: Clock, limits: LogLimits) -> None:
        self._clock = clock
        self._limits = limits
        # By account, then by text.
        self._times: dict[str, dict[str, int]] = {}

    async def add(self, account_id: str, entries: Sequence[LogEntry]) -> None:
        times = self._times.setdefault(account_id, {})
        times.update({entry.text: entry.time_us for entry in entries})
        kept = self._ordered(account_id)[: self._limits.max_entries]
        self._times[account_id] = {entry.text: entry.time_us for entry in kept}

    async def latest(self, account_id: str, until_us: int, skip: int, limit: int) -> list[LogEntry]:
        found = [entry for entry in self._ordered(account_id) if entry.time_us <= until_us]
        return found[skip : skip + limit]

    def _ordered(self, account_id: str) -> list[LogEntry]:
        oldest_us = round(self._clock.unix_s() * 1e6) - self._limits.retention_us
        entries = [
            LogEntry(time_us, text)
            for text, time_us in self._times.get(account_id, {}).items()
            if time_us > oldest_us
        ]
        return sorted(entries, key=lambda entry: (entry.time_us, entry.text), reverse=True)
