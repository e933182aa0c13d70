"""An account in memory: what it has, what it asked for, what it did."""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from dataclasses import dataclass, field

from matteworks_auth.rules import quota
from matteworks_auth.rules.calendar_us import day_of, month_of
from matteworks_auth.rules.plans import Plan
from matteworks_auth.rules.usage import MAX_FIELDS_A_DAY, field_name
from matteworks_auth.stores.contract import (
    EXACT_LIMIT_MILLI,
    AccountRecord,
    Held,
    RateState,
    RateUnit,
    Reservation,
    Urgency,
)
from matteworks_auth.stores.rates import limit_of, state_of

# The oldest are dropped beyond these; Valkey drops by age instead.
MAX_GRANTS = 10_000
MAX_DAYS = 430


@dataclass(slots=True)
class Period:
    """Counts of the current UTC day and month; those of a former one count as 0."""

    day: int = 0
    day_count: int = 0
    month: int = 0
    month_count: int = 0

    def used(self, now_us: int) -> tuple[int, int]:
        """Today's and this month's."""
        return (
            self.day_count if self.day == day_of(now_us) else 0,
            self.month_count if self.month == month_of(now_us) else 0,
        )

    def take(self, now_us: int) -> None:
        """One more."""
        today, this_month = self.used(now_us)
        self.day, self.day_count = day_of(now_us), today + 1
        self.month, self.month_count = month_of(now_us), this_month + 1

    def give_back(self, made_us: int) -> None:
        """One that was taken at `made_us`, unless a new day or month has begun."""
        if self.day == day_of(made_us):
            self.day_count -= 1
        if self.month == month_of(made_us):
            self.month_count -= 1


@dataclass(slots=True)
class Meter:
    """Where rate and quotas are counted: one for the account, one for each key that counts by itself."""

    tat_us: dict[RateUnit, int] = field(default_factory=dict)
    requests: Period = field(default_factory=Period)

    def state(self, unit: RateUnit, plan: Plan, now_us: int) -> RateState:
        """The rate limit now."""
        return state_of(unit, limit_of(plan, unit), now_us, self.tat_us.get(unit, 0))


@dataclass(slots=True)
class Charge:
    """What an owner and its repeats share. `state`: held, charged or returned."""

    owner: Reservation
    shape: tuple[object, ...]
    payment: quota.Payment
    made_us: int
    open_members: int = 1
    state: str = "held"


@dataclass(slots=True)
class Request:
    """One admitted request. `state`: open, committed or released; `forget_us` 0 while it may be needed."""

    asked: Reservation
    shape: tuple[object, ...]
    held: Held
    charge: Charge
    state: str = "open"
    charged_milli: int = 0
    forget_us: int = 0


@dataclass(slots=True)
class OpenRequests:
    """By the time when they are given back; entries of closed ones are skipped."""

    urgencies: dict[str, Urgency] = field(default_factory=dict)
    expirations: list[tuple[int, str]] = field(default_factory=list)

    def add(self, expires_us: int, request_id: str, urgency: Urgency) -> None:
        """One more."""
        self.urgencies[request_id] = urgency
        heapq.heappush(self.expirations, (expires_us, request_id))

    def interactive_count(self) -> int:
        """Those that somebody waits for."""
        return sum(urgency == "interactive" for urgency in self.urgencies.values())


@dataclass(slots=True)
class MemoryAccount:
    """All of one account. Amounts in thousandths of a credit, times in Unix microseconds."""

    account_id: str
    display_name: str
    plan: Plan
    created_us: int
    balances: dict[str, int]
    granted: int
    dialect: str = ""
    email: str = ""
    held: int = 0
    spent: int = 0
    expired: int = 0
    # Months of the last renewal, and of the last one that ended a subscription.
    renewed: int = 0
    emptied: int = 0
    meter: Meter = field(default_factory=Meter)
    key_meters: dict[str, Meter] = field(default_factory=dict)
    free_calls: Period = field(default_factory=Period)
    grants: OrderedDict[str, tuple[str, int]] = field(default_factory=OrderedDict)
    requests: dict[str, Request] = field(default_factory=dict)
    open: OpenRequests = field(default_factory=OpenRequests)
    settled: deque[str] = field(default_factory=deque)
    equal_uploads: OrderedDict[str, str] = field(default_factory=OrderedDict)
    counted: OrderedDict[str, int] = field(default_factory=OrderedDict)
    days: OrderedDict[int, dict[str, int]] = field(default_factory=OrderedDict)
    key_ids: list[str] = field(default_factory=list)
    used_us: dict[str, int] = field(default_factory=dict)

    def record(self, now_us: int) -> AccountRecord:
        """As it is told."""
        return AccountRecord(
            account_id=self.account_id,
            display_name=self.display_name,
            plan=self.plan.name,
            subscription=self.balances["subscription"],
            payg=self.balances["payg"],
            enterprise=self.balances["enterprise"],
            held=self.held,
            spent=self.spent,
            expired=self.expired,
            granted=self.granted,
            free_calls=self.plan.free_calls_left(*self.free_calls.used(now_us)),
            created_us=self.created_us,
            rate=self.meter.state("megapixels", self.plan, now_us),
            dialect=self.dialect,
            email=self.email,
        )

    def meter_of(self, scope: str, key_id: str) -> Meter:
        """Where a request is counted."""
        return self.key_meters.setdefault(key_id, Meter()) if scope == "key" else self.meter

    def renew(self, now_us: int) -> None:
        """Replace what is left of the subscription by the plan's monthly credits, once a month."""
        month = month_of(now_us)
        if not self.plan.monthly_credits_milli or self.renewed >= month:
            return
        credits_milli = min(self.plan.monthly_credits_milli, EXACT_LIMIT_MILLI - 1 - self.granted)
        self.expired += self.balances["subscription"]
        self.balances["subscription"] = credits_milli
        self.granted += credits_milli
        self.renewed = self.emptied = month

    def move_to(self, plan: Plan, now_us: int) -> None:
        """Change the plan; a subscription below its monthly credits is raised to them."""
        self.plan = plan
        if plan.monthly_credits_milli:
            missing = max(0, plan.monthly_credits_milli - self.balances["subscription"])
            missing = min(missing, EXACT_LIMIT_MILLI - 1 - self.granted)
            self.balances["subscription"] += missing
            self.granted += missing
            self.renewed = month_of(now_us)

    def note_use(self, key_id: str, now_us: int) -> None:
        """The key asked for something."""
        if key_id:
            self.used_us[key_id] = now_us

    def count(self, now_us: int, dialect: str, key_id: str, **increments: int) -> None:
        """Add to today's counters."""
        counters = self.days.setdefault(day_of(now_us), {})
        for name, value in increments.items():
            if value > 0:
                counter = field_name(name, dialect, key_id)
                if counter not in counters and len(counters) >= MAX_FIELDS_A_DAY:
                    counter = field_name(name, "", "")
                counters[counter] = counters.get(counter, 0) + value
        if len(self.days) > MAX_DAYS:
            self.days.popitem(last=False)
