"""When to try again, and how long to wait before: pure decisions, no I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from matteworks_common.errors import MatteworksError, Unavailable


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """At most `max_attempts` in all, with full jitter between `first_pause_s` doubled each time and 0.

    Only what may pass is tried again: UNAVAILABLE. Every task of the clients is safe to repeat.
    """

    max_attempts: int = 3
    first_pause_s: float = 0.2
    longest_pause_s: float = 2.0

    def pause_s(
        self, error: MatteworksError, attempt: int, remaining_s: float, random: Callable[[], float]
    ) -> float | None:
        """Seconds to wait after `attempt` (from 1) failed with `error`; None: give up.

        `remaining_s` is what is left of the deadline; `random` draws from 0 to 1.
        """
        if attempt >= self.max_attempts or not isinstance(error, Unavailable):
            return None
        longest = min(self.first_pause_s * 2 ** (attempt - 1), self.longest_pause_s)
        pause = longest * random()
        return pause if pause < remaining_s else None
