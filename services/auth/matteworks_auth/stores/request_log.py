"""The latest requests of each account: what the service needs of a store.

An entry is text and the time of its request. Both stores keep the latest so many of an account, none
older than the retention, and order equal times by the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class LogLimits:
    """How much is kept of one account."""

    max_entries: int = 1000
    retention_us: int = 30 * 86_400_000_000


@dataclass(frozen=True, slots=True)
class LogEntry:
    """`time_us` in Unix microseconds."""

    time_us: int
    text: str


class RequestLogStore(Protocol):
    """Every method may raise Unavailable(STORE_UNAVAILABLE), and is safe to repeat."""

    async def add(self, account_id: str, entries: Sequence[LogEntry]) -> None:
        """Keep entries; one that is kept already stays one."""

    async def latest(self, account_id: str, until_us: int, skip: int, limit: int) -> list[LogEntry]:
        """At most `limit` entries from `until_us` backwards, latest first, without the first `skip`."""
