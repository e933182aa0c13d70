"""Rate limits of a plan, by what they count."""

from __future__ import annotations

from matteworks_auth.rules import quota
from matteworks_auth.rules.plans import Plan
from matteworks_auth.stores.contract import RateState, RateUnit


def limit_of(plan: Plan, unit: RateUnit) -> int:
    """Units a minute; 0 when nothing is counted."""
    match unit:
        case "megapixels":
            return plan.megapixels_per_minute
        case "requests":
            return plan.requests_per_minute
        case "none":
            return 0


def weight_of(unit: RateUnit, megapixels: int) -> int:
    """What a picture takes."""
    return {"megapixels": megapixels, "requests": 1, "none": 0}[unit]


def state_of(unit: RateUnit, limit: int, now_us: int, tat_us: int) -> RateState:
    """The state that `tat_us`, the theoretical arrival time, means at `now_us`."""
    return RateState(unit, limit, quota.remaining_units(tat_us, now_us, limit), max(tat_us, now_us))
