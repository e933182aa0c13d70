"""When a delivery is tried again: the schedule of Standard Webhooks."""

from __future__ import annotations

import email.utils
from typing import Final

# Seconds before each try. Ten tries within 75 h 35 min.
DELAYS_S: Final = (0, 5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
_LONGEST_WISH_S: Final = 86_400.0
# Receivers that ask for less, without saying how much less.
SLOW_DOWN: Final = (429, 502, 504)
_JITTER: Final = 0.1


def delay_after(attempts: int, retry_after_s: float, chance: float, *, is_slowed: bool) -> float | None:
    """Seconds until the next try, after `attempts` of them; None: that was the last.

    `retry_after_s` is what the receiver asked for, 0 when it did not; `chance`, 0 to 1, spreads
    deliveries that failed together. With `is_slowed` the next but one delay is taken.
    """
    if attempts >= len(DELAYS_S):
        return None
    delay_s = DELAYS_S[min(attempts + is_slowed, len(DELAYS_S) - 1)]
    return max(delay_s * (1 + _JITTER * chance), min(retry_after_s, _LONGEST_WISH_S))


def parse_retry_after(text: str, now_s: float) -> float:
    """Seconds that `Retry-After` asks for, as a number or a date; 0 when it is neither."""
    if text.isascii() and text.isdecimal() and len(text) < 10:
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - now_s)
    except (ValueError, OverflowError):
        return 0.0
