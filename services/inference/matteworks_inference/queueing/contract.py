"""What the batch queue and those around it agree on: who runs batches, who watches, what bounds them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

ResultT = TypeVar("ResultT")
_KeyT = TypeVar("_KeyT", bound=Hashable, contravariant=True)
_ItemT = TypeVar("_ItemT", contravariant=True)
_ResultT = TypeVar("_ResultT", covariant=True)


class DeviceLost(Exception):
    """The device is beyond use in this process. Nothing that it answers from now on may be believed."""


class BatchRunner(Protocol[_KeyT, _ItemT, _ResultT]):
    """Runs batches. `prepare` and `run` are called from two different threads, each from one at a time."""

    def prepare(self, key: _KeyT, items: Sequence[_ItemT]) -> Any:
        """Lay the items out for the device; the next batch is prepared while another one runs."""

    def run(self, prepared: Any) -> Sequence[_ResultT]:
        """One result for each item, in order. Raises DeviceLost when the process must end."""

    def discard(self, prepared: Any) -> None:
        """Take back what `prepare` laid out, because nobody waits for it any more."""


class QueueObserver(Protocol):
    """Where the queue reports what happens. Called on the event loop; must not raise."""

    def depth_changed(self, item_count: int) -> None:
        """So many items wait."""

    def item_dropped(self, reason: str) -> None:
        """An item ended without a run: full, late, waited, cancelled, expired, abandoned
        (ended after its batch was prepared), closed or lost.
        """

    def batch_finished(self, key: Any, item_count: int, run_s: float) -> None:
        """The device ran a batch of items of `key`, failed or not."""


@dataclass(frozen=True)
class BatchLimits:
    """Bounds of the queue. The queue may be told a smaller `max_batch_items` for a key.

    `max_queue_delay_s` holds a batch that is not full; 0 never waits. `max_wait_s` is the longest that
    an item may wait for the device, whatever its deadline.
    """

    max_queued_items: int
    max_batch_items: int
    max_queue_delay_s: float
    max_wait_s: float


@dataclass(frozen=True)
class Outcome(Generic[ResultT]):
    """A result and what it took: seconds waited, seconds on the device, items in the batch."""

    result: ResultT
    queue_s: float
    run_s: float
    batch_item_count: int
