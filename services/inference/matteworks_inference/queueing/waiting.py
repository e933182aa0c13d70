"""The line in front of the device: items by key, keys in turn, those that nobody waits for last."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from matteworks_inference.queueing.contract import Outcome

KeyT = TypeVar("KeyT", bound=Hashable)
ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


@dataclass(eq=False)
class Entry(Generic[KeyT, ItemT, ResultT]):
    """One item and the future of whoever waits for it; with `is_deferred`, nobody does at the moment."""

    key: KeyT
    item: ItemT
    submitted_s: float
    future: asyncio.Future[Outcome[ResultT]]
    is_deferred: bool = False


class WaitingLine(Generic[KeyT, ItemT, ResultT]):
    """Entries in the order in which they came, key by key. The first key is served next; a key that was
    served goes behind the others, so that a rare one cannot starve. Deferred entries come when there are
    no others.
    """

    def __init__(self) -> None:
        self._urgent: OrderedDict[KeyT, deque[Entry[KeyT, ItemT, ResultT]]] = OrderedDict()
        self._deferred: OrderedDict[KeyT, deque[Entry[KeyT, ItemT, ResultT]]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def next_is_deferred(self) -> bool:
        """Whether nothing but deferred entries waits."""
        return not self._urgent

    @property
    def next_key(self) -> KeyT:
        """Whose turn it is. Raises StopIteration when nothing waits."""
        return next(iter(self._next))

    @property
    def next_count(self) -> int:
        """How many entries wait under the next key."""
        return len(self._next[self.next_key])

    @property
    def next_since_s(self) -> float:
        """Since when the first of them waits."""
        return self._next[self.next_key][0].submitted_s

    def counts(self, *, is_deferred: bool) -> Iterator[tuple[KeyT, int]]:
        """How many entries stand before a new one, under each key."""
        for key, entries in self._urgent.items():
            yield key, len(entries)
        if is_deferred:
            for key, entries in self._deferred.items():
                yield key, len(entries)

    def add(self, entry: Entry[KeyT, ItemT, ResultT]) -> None:
        """Put `entry` at the end of its key."""
        self._line_of(entry).setdefault(entry.key, deque()).append(entry)
        self._count += 1

    def forget(self, entry: Entry[KeyT, ItemT, ResultT]) -> bool:
        """Take `entry` out; False: it had left already."""
        line = self._line_of(entry)
        entries = line.get(entry.key)
        if entries is None or entry not in entries:
            return False
        entries.remove(entry)
        if not entries:
            del line[entry.key]
        self._count -= 1
        return True

    def take(self, most: int) -> list[Entry[KeyT, ItemT, ResultT]]:
        """The first `most` entries of the next key, whose turn then ends."""
        line, key = self._next, self.next_key
        entries = line[key]
        taken = [entries.popleft() for _ in range(min(most, len(entries)))]
        if entries:
            line.move_to_end(key)
        else:
            del line[key]
        self._count -= len(taken)
        return taken

    def clear(self) -> list[Entry[KeyT, ItemT, ResultT]]:
        """Everything that waited."""
        lines = (self._urgent, self._deferred)
        waiting = [entry for line in lines for entries in line.values() for entry in entries]
        for line in lines:
            line.clear()
        self._count = 0
        return waiting

    @property
    def _next(self) -> OrderedDict[KeyT, deque[Entry[KeyT, ItemT, ResultT]]]:
        return self._urgent or self._deferred

    def _line_of(
        self, entry: Entry[KeyT, ItemT, ResultT]
    ) -> OrderedDict[KeyT, deque[Entry[KeyT, ItemT, ResultT]]]:
        return self._deferred if entry.is_deferred else self._urgent
