"""The line in front of the device: items by key, keys in turn."""

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
    """One item and the future of whoever waits for it."""

    key: KeyT
    item: ItemT
    submitted_s: float
    future: asyncio.Future[Outcome[ResultT]]


class WaitingLine(Generic[KeyT, ItemT, ResultT]):
    """Entries in the order in which they came, key by key. The first key is served next; a key that was
    served goes behind the others, so that a rare one cannot starve.
    """

    def __init__(self) -> None:
        self._by_key: OrderedDict[KeyT, deque[Entry[KeyT, ItemT, ResultT]]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def next_key(self) -> KeyT:
        """Whose turn it is. Raises StopIteration when nothing waits."""
        return next(iter(self._by_key))

    @property
    def next_count(self) -> int:
        """How many entries wait under the next key."""
        return len(self._by_key[self.next_key])

    @property
    def next_since_s(self) -> float:
        """Since when the first of them waits."""
        return self._by_key[self.next_key][0].submitted_s

    def counts(self) -> Iterator[tuple[KeyT, int]]:
        """How many entries wait under each key."""
        return ((key, len(entries)) for key, entries in self._by_key.items())

    def add(self, entry: Entry[KeyT, ItemT, ResultT]) -> None:
        """Put `entry` at the end of its key."""
        self._by_key.setdefault(entry.key, deque()).append(entry)
        self._count += 1

    def forget(self, entry: Entry[KeyT, ItemT, ResultT]) -> bool:
        """Take `entry` out; False: it had left already."""
        entries = self._by_key.get(entry.key)
        if entries is None or entry not in entries:
            return False
        entries.remove(entry)
        if not entries:
            del self._by_key[entry.key]
        self._count -= 1
        return True

    def take(self, most: int) -> list[Entry[KeyT, ItemT, ResultT]]:
        """The first `most` entries of the next key, whose turn then ends."""
        key = self.next_key
        entries = self._by_key[key]
        taken = [entries.popleft() for _ in range(min(most, len(entries)))]
        if entries:
            self._by_key.move_to_end(key)
        else:
            del self._by_key[key]
        self._count -= len(taken)
        return taken

    def clear(self) -> list[Entry[KeyT, ItemT, ResultT]]:
        """Everything that waited."""
        waiting = [entry for entries in self._by_key.values() for entry in entries]
        self._by_key.clear()
        self._count = 0
        return waiting
