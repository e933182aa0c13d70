"""The store in this process's memory: for tests and for one machine that may forget.

No await stands inside a change, so each method is atomic on the event loop. Step by step it does what
the scripts do; a test drives both with the same random steps and compares every answer.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from dataclasses import dataclass, field, replace

from matteworks_auth import quota, refusals
from matteworks_auth.calendar_us import day_of, month_of, until_next_day_us, until_next_month_us
from matteworks_auth.keys import KeyRecord
from matteworks_auth.plans import Plan, Plans
from matteworks_auth.store import (
    BALANCES,
    CONCURRENCY_RETRY_US,
    DEFAULT_MAX_SETTLED,
    EXACT_LIMIT_MILLI,
    MAX_OVERDUE_AT_ONCE,
    AccountRecord,
    DayUsage,
    Held,
    KeyEnd,
    RateState,
    Reservation,
)
from matteworks_common.clock import Clock
from matteworks_common.errors import MatteworksError

# The oldest are dropped beyond these; Valkey drops by age instead.
MAX_GRANTS = 10_000
MAX_DAYS = 430


@dataclass(slots=True)
class _Charge:
    """What an owner and its repeats share. `state`: held, charged or returned."""

    owner_id: str
    shape: tuple[object, ...]
    payment: quota.Payment
    made_us: int
    open_members: int = 1
    state: str = "held"


@dataclass(slots=True)
class _Request:
    """One admitted request. `state`: open, committed or released; `forget_us` 0 while it may be needed."""

    request_id: str
    shape: tuple[object, ...]
    megapixels: int
    held: Held
    charge: _Charge
    state: str = "open"
    charged_milli: int = 0
    forget_us: int = 0


@dataclass(slots=True)
class _Account:
    display_name: str
    plan: str
    created_us: int
    balances: dict[str, int]
    granted: int
    held: int = 0
    spent: int = 0
    tat_us: int = 0
    day: int = 0
    day_requests: int = 0
    month: int = 0
    month_requests: int = 0
    month_free_calls: int = 0
    grants: OrderedDict[str, tuple[str, int]] = field(default_factory=OrderedDict)
    requests: dict[str, _Request] = field(default_factory=dict)
    open_ids: set[str] = field(default_factory=set)
    # (time when it is given back, request id); entries of closed requests are skipped.
    expirations: list[tuple[int, str]] = field(default_factory=list)
    settled: deque[str] = field(default_factory=deque)
    equal_uploads: OrderedDict[str, str] = field(default_factory=OrderedDict)
    days: OrderedDict[int, DayUsage] = field(default_factory=OrderedDict)
    key_ids: list[str] = field(default_factory=list)


class MemoryAccountStore:
    """See `AccountStore`. `repeat_window_us`: how long equal uploads share a charge; `record_ttl_us` and
    `max_settled`: how long, and how many, settled requests of an account are remembered.
    """

    def __init__(
        self,
        plans: Plans,
        clock: Clock,
        repeat_window_us: int,
        record_ttl_us: int,
        max_settled: int = DEFAULT_MAX_SETTLED,
    ) -> None:
        self._plans = plans
        self._clock = clock
        self._repeat_window_us = repeat_window_us
        self._record_ttl_us = record_ttl_us
        self._max_settled = max_settled
        self._accounts: dict[str, _Account] = {}
        self._keys: dict[str, KeyRecord] = {}

    async def ping(self) -> None:
        return

    async def close(self) -> None:
        return

    async def create_account(self, account_id: str, display_name: str, plan: Plan) -> AccountRecord:
        if account_id in self._accounts:
            raise refusals.account_exists(account_id)
        balances = dict.fromkeys(BALANCES, 0) | {"subscription": plan.starting_credits_milli}
        self._accounts[account_id] = _Account(
            display_name, plan.name, self._now_us(), balances, plan.starting_credits_milli
        )
        return self._record(account_id)

    async def get_account(self, account_id: str) -> AccountRecord:
        return self._record(account_id)

    async def set_plan(self, account_id: str, plan: Plan) -> AccountRecord:
        account = self._find(account_id)
        account.plan = plan.name
        for key_id in account.key_ids:
            self._keys[key_id] = replace(self._keys[key_id], plan=plan.name)
        return self._record(account_id)

    async def grant(
        self, request_id: str, account_id: str, balance: str, credits_milli: int
    ) -> AccountRecord:
        account = self._find(account_id)
        earlier = account.grants.get(request_id)
        if earlier and earlier != (balance, credits_milli):
            raise refusals.request_id_reused(request_id)
        if not earlier:
            if account.granted + credits_milli >= EXACT_LIMIT_MILLI:
                raise refusals.too_many_credits()
            account.balances[balance] += credits_milli
            account.granted += credits_milli
            account.grants[request_id] = (balance, credits_milli)
            if len(account.grants) > MAX_GRANTS:
                account.grants.popitem(last=False)
        return self._record(account_id)

    async def list_accounts(self) -> list[str]:
        return sorted(self._accounts)

    async def put_key(self, record: KeyRecord) -> KeyRecord:
        account = self._find(record.account_id)
        account.key_ids.append(record.key_id)
        self._keys[record.key_id] = replace(record, plan=account.plan)
        return self._keys[record.key_id]

    async def get_key(self, key_id: str) -> KeyRecord | None:
        return self._keys.get(key_id)

    async def end_key(self, key_id: str, how: KeyEnd, at_us: int) -> KeyRecord:
        record = self._keys.get(key_id)
        if record is None:
            raise refusals.key_not_found(key_id)
        if how == "expire" and (not record.expires_us or at_us < record.expires_us):
            record = replace(record, expires_us=at_us)
        elif how == "revoke" and not record.revoked_us:
            record = replace(record, revoked_us=at_us)
        self._keys[key_id] = record
        return record

    async def list_keys(self, account_id: str) -> list[KeyRecord]:
        keys = [self._keys[key_id] for key_id in self._find(account_id).key_ids]
        return sorted(keys, key=lambda key: (key.created_us, key.key_id))

    async def reserve(self, reservation: Reservation) -> Held:
        now_us = self._now_us()
        account = self._find(reservation.account_id)
        shape = (tuple(reservation.prices), reservation.megapixels, reservation.fingerprint)
        earlier = self._remembered(account, reservation.request_id)
        if earlier:
            if earlier.shape != shape:
                raise refusals.request_id_reused(reservation.request_id)
            return earlier.held
        plan = self._plans.find(account.plan)
        expires_us = now_us + reservation.time_to_live_us
        charge = self._equal_upload(account, reservation.fingerprint, shape, now_us)
        if charge:
            if _is_crowded(account, plan):
                raise self._refusal(account, plan, "concurrency", CONCURRENCY_RETRY_US)
            charge.open_members += 1
            account.requests[charge.owner_id].forget_us = 0
            credits_milli = charge.payment.credits_milli if charge.state == "held" else 0
            rate = _rate_state(account, plan, now_us)
        else:
            payment = self._pay(account, plan, reservation, now_us)
            credits_milli = payment.credits_milli
            rate = _rate_state(account, plan, now_us)
            charge = _Charge(reservation.request_id, shape, payment, now_us)
            if reservation.fingerprint and self._repeat_window_us:
                account.equal_uploads[reservation.fingerprint] = reservation.request_id
                account.equal_uploads.move_to_end(reservation.fingerprint)
                if len(account.equal_uploads) > self._max_settled:
                    account.equal_uploads.popitem(last=False)
        is_repeat = charge.owner_id != reservation.request_id
        held = Held(charge.owner_id, credits_milli, charge.payment.price_index, rate, expires_us, is_repeat)
        request = _Request(reservation.request_id, shape, reservation.megapixels, held, charge)
        account.requests[reservation.request_id] = request
        account.open_ids.add(reservation.request_id)
        heapq.heappush(account.expirations, (expires_us, reservation.request_id))
        return held

    async def commit(self, account_id: str, owner_request_id: str, request_id: str) -> int:
        account, request = self._settling(account_id, owner_request_id, request_id)
        if request.state == "released":
            raise refusals.reservation_released(f"{account_id}:{owner_request_id}")
        if request.state == "committed":
            return request.charged_milli
        charge = self._close(account, request, "committed")
        if charge.state == "held":
            charge.state = "charged"
            request.charged_milli = charge.payment.credits_milli
            account.held -= request.charged_milli
            account.spent += request.charged_milli
            free_calls = int(charge.payment.is_free_call)
            self._count(account, charged=request.charged_milli, free_calls=free_calls)
        self._count(account, committed=1, megapixels=request.megapixels)
        return request.charged_milli

    async def release(self, account_id: str, owner_request_id: str, request_id: str) -> int:
        account, request = self._settling(account_id, owner_request_id, request_id)
        return self._release(account, request) if request.state == "open" else 0

    async def release_overdue(self) -> int:
        released_count = 0
        for account in self._accounts.values():
            while step_count := self._release_overdue(account):
                released_count += step_count
        return released_count

    async def usage(self, account_id: str, first_day: int, last_day: int) -> list[DayUsage]:
        days = self._find(account_id).days
        return [days[day] for day in sorted(days) if first_day <= day <= last_day]

    def _now_us(self) -> int:
        return round(self._clock.unix_s() * 1e6)

    def _find(self, account_id: str) -> _Account:
        account = self._accounts.get(account_id)
        if account is None:
            raise refusals.account_not_found(account_id)
        self._release_overdue(account)
        return account

    def _record(self, account_id: str) -> AccountRecord:
        account, now_us = self._find(account_id), self._now_us()
        plan = self._plans.find(account.plan)
        used = account.month_free_calls if account.month == month_of(now_us) else 0
        return AccountRecord(
            account_id=account_id,
            display_name=account.display_name,
            plan=account.plan,
            subscription=account.balances["subscription"],
            payg=account.balances["payg"],
            enterprise=account.balances["enterprise"],
            held=account.held,
            spent=account.spent,
            granted=account.granted,
            free_calls=max(0, plan.free_calls_per_month - used),
            created_us=account.created_us,
            rate=_rate_state(account, plan, now_us),
        )

    def _remembered(self, account: _Account, request_id: str) -> _Request | None:
        request = account.requests.get(request_id)
        return None if request is None or self._is_forgotten(request) else request

    def _is_forgotten(self, request: _Request) -> bool:
        return 0 < request.forget_us <= self._now_us()

    def _settling(self, account_id: str, owner_request_id: str, request_id: str) -> tuple[_Account, _Request]:
        account = self._accounts.get(account_id)
        if account:
            self._release_overdue(account)
            request = self._remembered(account, request_id)
            if request and request.held.owner_request_id == owner_request_id:
                return account, request
        raise refusals.reservation_not_found(f"{account_id}:{owner_request_id}")

    def _equal_upload(
        self, account: _Account, fingerprint: str, shape: tuple[object, ...], now_us: int
    ) -> _Charge | None:
        owner_id = account.equal_uploads.get(fingerprint) if fingerprint else None
        owner = self._remembered(account, owner_id) if owner_id else None
        if owner is None:
            return None
        charge = owner.charge
        is_usable = charge.state != "returned" and charge.shape == shape
        return charge if is_usable and now_us < charge.made_us + self._repeat_window_us else None

    def _pay(self, account: _Account, plan: Plan, asked: Reservation, now_us: int) -> quota.Payment:
        """Check every limit and take what the request costs."""
        rate = quota.weigh(account.tat_us, now_us, plan.megapixels_per_minute, asked.megapixels)
        if not rate.is_allowed:
            raise self._refusal(account, plan, "rate", rate.retry_after_us)
        day, month = day_of(now_us), month_of(now_us)
        day_requests = account.day_requests if account.day == day else 0
        is_this_month = account.month == month
        month_requests = account.month_requests if is_this_month else 0
        month_free_calls = account.month_free_calls if is_this_month else 0
        if 0 < plan.requests_per_day <= day_requests:
            raise self._refusal(account, plan, "quota", until_next_day_us(now_us), "requests_per_day")
        if 0 < plan.requests_per_month <= month_requests:
            raise self._refusal(account, plan, "quota", until_next_month_us(now_us), "requests_per_month")
        if _is_crowded(account, plan):
            raise self._refusal(account, plan, "concurrency", CONCURRENCY_RETRY_US)
        free_calls = plan.free_calls_per_month - month_free_calls
        payment = quota.pay(asked.prices, account.balances, free_calls)
        if payment is None:
            raise self._refusal(account, plan, "credits", 0, str(sum(account.balances.values())))
        account.tat_us = rate.tat_us
        account.day, account.day_requests = day, day_requests + 1
        account.month, account.month_requests = month, month_requests + 1
        account.month_free_calls = month_free_calls + payment.is_free_call
        for name, part in payment.parts_milli.items():
            account.balances[name] -= part
        account.held += payment.credits_milli
        return payment

    def _refusal(
        self, account: _Account, plan: Plan, kind: str, retry_after_us: int, detail: str = ""
    ) -> MatteworksError:
        self._count(account, refused=1)
        return refusals.refused(kind, retry_after_us, _rate_state(account, plan, self._now_us()), detail)

    def _release_overdue(self, account: _Account) -> int:
        now_us, released_count = self._now_us(), 0
        while account.expirations and released_count < MAX_OVERDUE_AT_ONCE:
            expires_us, request_id = account.expirations[0]
            request = account.requests.get(request_id)
            is_open = request is not None and request_id in account.open_ids
            if request and is_open and request.held.expires_us == expires_us:
                if expires_us > now_us:
                    break
                self._release(account, request)
                released_count += 1
            heapq.heappop(account.expirations)
        return released_count

    def _close(self, account: _Account, request: _Request, state: str) -> _Charge:
        charge = request.charge
        account.open_ids.discard(request.request_id)
        request.state = state
        if request.request_id != charge.owner_id:
            self._retire(account, request)
        charge.open_members -= 1
        if charge.open_members == 0:
            self._retire(account, account.requests[charge.owner_id])
        return charge

    def _release(self, account: _Account, request: _Request) -> int:
        charge = self._close(account, request, "released")
        self._count(account, released=1)
        if charge.state != "held" or charge.open_members:
            return 0
        charge.state = "returned"
        account.held -= charge.payment.credits_milli
        for name, part in charge.payment.parts_milli.items():
            account.balances[name] += part
        if account.day == day_of(charge.made_us):
            account.day_requests -= 1
        if account.month == month_of(charge.made_us):
            account.month_requests -= 1
            account.month_free_calls -= charge.payment.is_free_call
        return charge.payment.credits_milli

    def _retire(self, account: _Account, request: _Request) -> None:
        request.forget_us = self._now_us() + self._record_ttl_us
        account.settled.append(request.request_id)
        if len(account.settled) > self._max_settled:
            oldest = account.requests.get(account.settled.popleft())
            # The id may be in use again: open requests are never forgotten.
            if oldest and oldest.forget_us:
                del account.requests[oldest.request_id]

    def _count(self, account: _Account, **increments: int) -> None:
        day = day_of(self._now_us())
        usage = account.days.get(day, DayUsage(day))
        account.days[day] = replace(
            usage, **{name: getattr(usage, name) + value for name, value in increments.items()}
        )
        if len(account.days) > MAX_DAYS:
            account.days.popitem(last=False)


def _is_crowded(account: _Account, plan: Plan) -> bool:
    return 0 < plan.concurrent_requests <= len(account.open_ids)


def _rate_state(account: _Account, plan: Plan, now_us: int) -> RateState:
    rate = quota.weigh(account.tat_us, now_us, plan.megapixels_per_minute, 0)
    return RateState(plan.megapixels_per_minute, rate.remaining, rate.reset_us)
