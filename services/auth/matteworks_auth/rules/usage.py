"""Counters of what an account did: by day, key, dialect and outcome."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

# A counter is called NAME/DIALECT/KEY in its day.
MAX_FIELDS_A_DAY = 2000


@dataclass(frozen=True, slots=True)
class UsageCounts:
    """How many requests ended in which way, and what they took. Amounts in thousandths of a credit."""

    calls: int = 0
    committed: int = 0
    released: int = 0
    refused_rate: int = 0
    refused_quota: int = 0
    refused_concurrency: int = 0
    refused_credits: int = 0
    charged: int = 0
    megapixels: int = 0
    free_calls: int = 0
    timed: int = 0
    processing_ms: int = 0

    @property
    def refused(self) -> int:
        """Refused for whatever cause."""
        return self.refused_rate + self.refused_quota + self.refused_concurrency + self.refused_credits

    def plus(self, other: UsageCounts) -> UsageCounts:
        """The sum."""
        return UsageCounts(*(getattr(self, name) + getattr(other, name) for name in _NAMES))


_NAMES = tuple(entry.name for entry in fields(UsageCounts))


@dataclass(frozen=True, slots=True)
class UsageRow:
    """Counters of one key in one dialect on a UTC day, given as days since 1970-01-01."""

    day: int
    key_id: str
    dialect: str
    counts: UsageCounts


def field_name(name: str, dialect: str, key_id: str) -> str:
    """How a counter is called in its day."""
    return f"{name}/{dialect}/{key_id}"


def rows_of(day: int, counters: Mapping[str, int]) -> list[UsageRow]:
    """A day's counters as rows, by key and dialect."""
    by_row: dict[tuple[str, str], dict[str, int]] = {}
    for field, value in counters.items():
        name, _, row = field.partition("/")
        dialect, _, key_id = row.partition("/")
        if name in _NAMES:
            by_row.setdefault((key_id, dialect), {})[name] = value
    return [
        UsageRow(day, key_id, dialect, UsageCounts(**counts))
        for (key_id, dialect), counts in sorted(by_row.items())
    ]


def sum_by_day(rows: Iterable[UsageRow]) -> dict[int, UsageCounts]:
    """Counters of whole days, in the order of `rows`."""
    days: dict[int, UsageCounts] = {}
    for row in rows:
        days[row.day] = days.get(row.day, UsageCounts()).plus(row.counts)
    return days
