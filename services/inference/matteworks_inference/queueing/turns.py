"""What happens on the device's own thread: one batch after another, and nothing after a lost device."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from matteworks_common.clock import Clock
from matteworks_inference.queueing.contract import BatchRunner, DeviceLost, Outcome

ResultT = TypeVar("ResultT")


@dataclass(frozen=True)
class Turn(Generic[ResultT]):
    """What the device made of a batch."""

    started_s: float
    run_s: float
    results: Sequence[ResultT]
    failure: Exception | None


class DeviceTurns(Generic[ResultT]):
    """Runs prepared batches. All calls come from the device's thread, one at a time."""

    def __init__(self, runner: BatchRunner[Any, Any, ResultT], clock: Clock) -> None:
        self._runner = runner
        self._clock = clock
        # A device that was lost is not believed again, whatever waits for it.
        self._is_lost = False

    def take(
        self, prepared: Any, waiting: Sequence[asyncio.Future[Outcome[ResultT]]]
    ) -> Turn[ResultT] | None:
        """Run a batch for those that wait for it; None: nobody does any more, and it was taken back."""
        if all(future.done() for future in waiting):
            self._runner.discard(prepared)
            return None
        started_s = self._clock.monotonic_s()
        results: Sequence[ResultT] = ()
        failure: Exception | None = None
        try:
            if self._is_lost:
                raise DeviceLost("the batch before this one lost the device")
            results = self._runner.run(prepared)
            if len(results) != len(waiting):
                failure = RuntimeError(f"{len(results)} results for {len(waiting)} items")
        except Exception as error:
            failure = error
            self._is_lost = isinstance(error, DeviceLost)
        return Turn(started_s, self._clock.monotonic_s() - started_s, results, failure)
