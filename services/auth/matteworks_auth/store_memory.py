"""The store in this process's memory: for tests and for one machine that may forget.

No await stands inside a change, so each method is atomic on the event loop.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field, replace

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_auth import quota, refusals
from matteworks_auth.calendar_us import day_of, month_of, until_next_day_us, until_next_month_us
from matteworks_auth.keys import KeyRecord
from matteworks_auth.plans import Plan, Plans
from matteworks_auth.store import BALANCES, AccountRecord, DayUsage, Held, RateState, Reservation
from matteworks_common.clock import Clock
from matteworks_common.errors import Conflict


@dataclass(slots=True)
class _Reservation:
    asked: Reservation
    held: Held
    payment: quota.Payment
    state: str = "held"
    open_members: set[str] = field(default_factory=set)
    charged_by_member: dict[str, int] = field(default_factory=dict)
    expires_us: int = 0


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
    month: str = ""
    month_requests: int = 0
    month_free_calls: int = 0
    grants: set[str] = field(default_factory=set)
    reservations: OrderedDict[str, _Reservation] = field(default_factory=OrderedDict)
    owner_of: dict[str, str] = field(default_factory=dict)
    fingerprints: dict[str, tuple[str, int]] = field(default_factory=dict)
    days: dict[int, DayUsage] = field(default_factory=dict)
    key_ids: list[str] = field(default_factory=list)


class MemoryAccountStore:
    """See `AccountStore`. `repeat_window_us`: how long equal uploads share a charge; `record_ttl_us`:
    how long a settled reservation is remembered.
    """

    def __init__(self, plans: Plans, clock: Clock, repeat_window_us: int, record_ttl_us: int) -> None:
        self._plans = plans
        self._clock = clock
        self._repeat_window_us = repeat_window_us
        self._record_ttl_us = record_ttl_us
        self._accounts: dict[str, _Account] = {}
        self._keys: dict[str, KeyRecord] = {}

    async def ping(self) -> None:
        return

    async def close(self) -> None:
        return

    async def create_account(self, account_id: str, display_name: str, plan: Plan) -> AccountRecord:
        if account_id in self._accounts:
            raise Conflict(
                reasons.ERROR_REASON_ACCOUNT_EXISTS,
                "An account with this id exists already; choose another id.",
                field="account_id",
                metadata={"account_id": account_id},
            )
        balances = dict.fromkeys(BALANCES, 0) | {"subscription": plan.starting_credits_milli}
        self._accounts[account_id] = _Account(
            display_name, plan.name, self._now_us(), balances, plan.starting_credits_milli
        )
        return self._record(account_id)

    async def get_account(self, account_id: str) -> AccountRecord:
        return self._record(account_id)

    async def set_plan(self, account_id: str, plan: Plan) -> AccountRecord:
        self._find(account_id).plan = plan.name
        return self._record(account_id)

    async def grant(
        self, request_id: str, account_id: str, balance: str, credits_milli: int
    ) -> AccountRecord:
        account = self._find(account_id)
        if request_id not in account.grants:
            account.grants.add(request_id)
            account.balances[balance] += credits_milli
            account.granted += credits_milli
        return self._record(account_id)

    async def list_accounts(self) -> list[str]:
        return sorted(self._accounts)

    async def put_key(self, record: KeyRecord) -> None:
        account = self._find(record.account_id)
        if record.key_id not in account.key_ids:
            account.key_ids.append(record.key_id)
        self._keys[record.key_id] = record

    async def get_key(self, key_id: str) -> KeyRecord | None:
        return self._keys.get(key_id)

    async def list_keys(self, account_id: str) -> list[KeyRecord]:
        keys = [self._keys[key_id] for key_id in self._find(account_id).key_ids]
        return sorted(keys, key=lambda key: (key.created_us, key.key_id))

    async def reserve(self, reservation: Reservation) -> Held:
        account = self._find(reservation.account_id)
        now_us = self._now_us()
        plan = self._plans.find(account.plan)
        if known := self._known(account, reservation.request_id):
            if _shape(known.asked) != _shape(reservation):
                raise refusals.request_id_reused(reservation.request_id)
            return replace(known.held, is_repeat=known.asked.request_id != reservation.request_id)
        rate = quota.weigh(account.tat_us, now_us, plan.megapixels_per_minute, 0)
        if joined := self._equal_upload(account, reservation, now_us):
            joined.open_members.add(reservation.request_id)
            account.owner_of[reservation.request_id] = joined.asked.request_id
            joined.expires_us = max(joined.expires_us, now_us + reservation.time_to_live_us)
            return replace(joined.held, rate=_state(plan, rate), expires_us=joined.expires_us, is_repeat=True)
        kind, retry_after_us, payment = self._judge(account, plan, reservation, now_us)
        if payment is None:
            self._count(account, now_us, refused=1)
            raise refusals.refused(kind, retry_after_us, _state(plan, rate))
        rate = quota.weigh(account.tat_us, now_us, plan.megapixels_per_minute, reservation.megapixels)
        account.tat_us = rate.tat_us
        for name, part in payment.parts_milli.items():
            account.balances[name] -= part
        account.held += payment.credits_milli
        account.month_requests += 1
        account.month_free_calls += payment.is_free_call
        expires_us = now_us + reservation.time_to_live_us
        held = Held(
            reservation.request_id,
            payment.credits_milli,
            payment.price_index,
            _state(plan, rate),
            expires_us,
            is_repeat=False,
        )
        record = _Reservation(reservation, held, payment, expires_us=expires_us)
        record.open_members.add(reservation.request_id)
        account.reservations[reservation.request_id] = record
        account.owner_of[reservation.request_id] = reservation.request_id
        if reservation.fingerprint:
            account.fingerprints[reservation.fingerprint] = (
                reservation.request_id,
                now_us + self._repeat_window_us,
            )
        return held

    async def commit(self, account_id: str, owner_request_id: str, request_id: str) -> int:
        account, record = self._member(account_id, owner_request_id, request_id)
        if request_id in record.charged_by_member:
            return record.charged_by_member[request_id]
        if record.state == "released":
            raise refusals.reservation_released(f"{account_id}:{owner_request_id}")
        charged = 0
        if record.state == "held":
            record.state = "committed"
            charged = record.payment.credits_milli
            account.held -= charged
            account.spent += charged
            self._count(
                account,
                self._now_us(),
                committed=1,
                charged=charged,
                megapixels=record.asked.megapixels,
                free_calls=int(record.payment.is_free_call),
            )
        record.open_members.discard(request_id)
        record.charged_by_member[request_id] = charged
        return charged

    async def release(self, account_id: str, owner_request_id: str, request_id: str) -> int:
        account, record = self._member(account_id, owner_request_id, request_id)
        record.open_members.discard(request_id)
        if record.state != "held" or record.open_members:
            return 0
        return self._give_back(account, record)

    async def release_overdue(self) -> int:
        return sum(self._expire(account) for account in self._accounts.values())

    async def usage(self, account_id: str, first_day: int, last_day: int) -> list[DayUsage]:
        days = self._find(account_id).days
        return [days[day] for day in sorted(days) if first_day <= day <= last_day]

    def _now_us(self) -> int:
        return round(self._clock.unix_s() * 1e6)

    def _find(self, account_id: str) -> _Account:
        account = self._accounts.get(account_id)
        if account is None:
            raise refusals.account_not_found(account_id)
        self._expire(account)
        month = month_of(self._now_us())
        if account.month != month:
            account.month, account.month_requests, account.month_free_calls = month, 0, 0
        return account

    def _record(self, account_id: str) -> AccountRecord:
        account = self._find(account_id)
        plan = self._plans.find(account.plan)
        rate = quota.weigh(account.tat_us, self._now_us(), plan.megapixels_per_minute, 0)
        return AccountRecord(
            account_id, account.display_name, account.plan,
            account.balances["subscription"], account.balances["payg"], account.balances["enterprise"],
            account.held, account.spent, account.granted,
            max(0, plan.free_calls_per_month - account.month_free_calls),
            account.created_us, _state(plan, rate),
        )  # fmt: skip

    def _known(self, account: _Account, request_id: str) -> _Reservation | None:
        owner = account.owner_of.get(request_id)
        return account.reservations.get(owner) if owner else None

    def _member(
        self, account_id: str, owner_request_id: str, request_id: str
    ) -> tuple[_Account, _Reservation]:
        account = self._accounts.get(account_id)
        record = account.reservations.get(owner_request_id) if account else None
        if account is None or record is None or account.owner_of.get(request_id) != owner_request_id:
            raise refusals.reservation_not_found(f"{account_id}:{owner_request_id}")
        self._expire(account)
        return account, record

    def _equal_upload(self, account: _Account, asked: Reservation, now_us: int) -> _Reservation | None:
        owner, until_us = account.fingerprints.get(asked.fingerprint, ("", 0))
        record = account.reservations.get(owner)
        is_usable = record and record.state != "released" and now_us < until_us
        return record if is_usable else None

    def _judge(
        self, account: _Account, plan: Plan, asked: Reservation, now_us: int
    ) -> tuple[str, int, quota.Payment | None]:
        rate = quota.weigh(account.tat_us, now_us, plan.megapixels_per_minute, asked.megapixels)
        if not rate.is_allowed:
            return "rate", rate.retry_after_us, None
        day = account.days.get(day_of(now_us), DayUsage(day_of(now_us)))
        opened = sum(record.state == "held" for record in account.reservations.values())
        if plan.requests_per_day and day.committed + opened >= plan.requests_per_day:
            return "quota", until_next_day_us(now_us), None
        if plan.requests_per_month and account.month_requests >= plan.requests_per_month:
            return "quota", until_next_month_us(now_us), None
        if plan.concurrent_requests and opened >= plan.concurrent_requests:
            return "concurrency", round(refusals.CONCURRENCY_RETRY_S * 1e6), None
        free_calls = plan.free_calls_per_month - account.month_free_calls
        payment = quota.pay(asked.prices, account.balances, free_calls)
        return ("", 0, payment) if payment else ("credits", 0, None)

    def _expire(self, account: _Account) -> int:
        now_us, count = self._now_us(), 0
        for request_id, record in list(account.reservations.items()):
            if record.state == "held" and record.expires_us <= now_us:
                self._give_back(account, record)
                count += 1
            elif record.state != "held" and record.expires_us + self._record_ttl_us <= now_us:
                del account.reservations[request_id]
                account.owner_of = {m: o for m, o in account.owner_of.items() if o != request_id}
                if record.asked.fingerprint in account.fingerprints:
                    del account.fingerprints[record.asked.fingerprint]
        return count

    def _give_back(self, account: _Account, record: _Reservation) -> int:
        record.state = "released"
        for name, part in record.payment.parts_milli.items():
            account.balances[name] += part
        account.held -= record.payment.credits_milli
        account.month_requests = max(0, account.month_requests - 1)
        account.month_free_calls = max(0, account.month_free_calls - record.payment.is_free_call)
        self._count(account, self._now_us(), released=1)
        return record.payment.credits_milli

    def _count(self, account: _Account, now_us: int, **increments: int) -> None:
        day = day_of(now_us)
        usage = account.days.get(day, DayUsage(day))
        account.days[day] = replace(
            usage, **{name: getattr(usage, name) + value for name, value in increments.items()}
        )


def _shape(asked: Reservation) -> tuple[object, ...]:
    return (tuple(asked.prices), asked.megapixels, asked.fingerprint)


def _state(plan: Plan, rate: quota.RateDecision) -> RateState:
    return RateState(plan.megapixels_per_minute, rate.remaining, rate.reset_us)
