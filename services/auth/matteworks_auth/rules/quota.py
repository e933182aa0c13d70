"""Arithmetic of limits and money: pure functions on integers. The Lua scripts compute the same.

The rate limit is GCRA (generic cell rate algorithm, ITU-T I.371): one number an account, the theoretical
arrival time `tat_us`. A picture of weight w moves it w * 60 s / limit into the future; it passes when
that lands at most one minute ahead of now. So a whole minute's worth may come at once, and afterwards
the allowance refills steadily.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WINDOW_US = 60_000_000
# One unit must take at least a microsecond, and a sum of weights must stay exact in a Lua double.
MAX_LIMIT = WINDOW_US
SPENDING_ORDER = ("subscription", "payg", "enterprise")


@dataclass(frozen=True, slots=True)
class RateDecision:
    """`tat_us` is the state to keep; `retry_after_us` is 0 when it passed."""

    is_allowed: bool
    tat_us: int
    remaining: int
    retry_after_us: int

    @property
    def reset_us(self) -> int:
        """When the whole limit is free again, Unix microseconds."""
        return self.tat_us


def weigh(tat_us: int, now_us: int, limit: int, weight: int) -> RateDecision:
    """Whether `weight` units pass a limit of `limit` (1 to MAX_LIMIT) units a minute now. Weight 0 looks.

    Costs round down to whole microseconds: rounded up, `limit` pictures of one unit would not fit into
    their own minute. What is reported as remaining always passes.
    """
    base_us = max(tat_us, now_us)
    wanted_us = base_us + weight * WINDOW_US // limit
    if weight and wanted_us - now_us > WINDOW_US:
        retry_after_us = wanted_us - now_us - WINDOW_US
        return RateDecision(False, base_us, remaining_units(base_us, now_us, limit), retry_after_us)
    return RateDecision(True, wanted_us, remaining_units(wanted_us, now_us, limit), 0)


def remaining_units(tat_us: int, now_us: int, limit: int) -> int:
    """Units that would pass now, 0 to `limit`."""
    return max(0, (WINDOW_US - (max(tat_us, now_us) - now_us)) * limit // WINDOW_US)


@dataclass(frozen=True, slots=True)
class Price:
    """A price in thousandths of a credit; `is_free_call_eligible`: one free call may pay it."""

    credits_milli: int
    is_free_call_eligible: bool


@dataclass(frozen=True, slots=True)
class Payment:
    """How a price is paid: by one free call, or from balances."""

    price_index: int
    is_free_call: bool
    parts_milli: Mapping[str, int]

    @property
    def credits_milli(self) -> int:
        """What leaves the balances."""
        return sum(self.parts_milli.values())


def pay(prices: Sequence[Price], balances_milli: Mapping[str, int], free_calls: int) -> Payment | None:
    """The first of `prices` that can be paid, and from what; None when none can.

    A free call pays before any balance; balances are spent in SPENDING_ORDER, one price from several
    when need be. A price of 0 takes nothing, not even a free call.
    """
    available = sum(balances_milli[name] for name in SPENDING_ORDER)
    for index, price in enumerate(prices):
        if price.credits_milli > 0 and price.is_free_call_eligible and free_calls > 0:
            return Payment(index, True, {})
        if price.credits_milli <= available:
            parts: dict[str, int] = {}
            rest = price.credits_milli
            for name in SPENDING_ORDER:
                part = min(rest, balances_milli[name])
                if part:
                    parts[name] = part
                rest -= part
            return Payment(index, False, parts)
    return None
