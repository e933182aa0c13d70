"""Holding and settling credits in memory: step by step what the scripts do."""

from __future__ import annotations

import heapq

from matteworks_auth.rules import quota
from matteworks_auth.rules.calendar_us import month_of, until_next_day_us, until_next_month_us
from matteworks_auth.stores import refusals
from matteworks_auth.stores.contract import (
    CONCURRENCY_RETRY_US,
    COUNTED_TTL_US,
    MAX_OVERDUE_AT_ONCE,
    CountedCall,
    Held,
    RateState,
    Reservation,
    Urgency,
)
from matteworks_auth.stores.memory.account import Charge, MemoryAccount, Meter, Request
from matteworks_auth.stores.rates import limit_of, weight_of
from matteworks_common.clock import Clock
from matteworks_common.errors import MatteworksError


class MemoryRequests:
    """What requests do to an account. For the parameters see `MemoryAccountStore`."""

    def __init__(self, clock: Clock, repeat_window_us: int, record_ttl_us: int, max_settled: int) -> None:
        self._clock = clock
        self._repeat_window_us = repeat_window_us
        self._record_ttl_us = record_ttl_us
        self._max_settled = max_settled

    def now_us(self) -> int:
        """Unix microseconds."""
        return round(self._clock.unix_s() * 1e6)

    def reserve(self, account: MemoryAccount, asked: Reservation) -> Held:
        """See `AccountStore`. Nothing of the account is overdue."""
        now_us = self.now_us()
        shape = (tuple(asked.prices), asked.megapixels, asked.fingerprint)
        earlier = self.remembered(account, asked.request_id)
        if earlier:
            if earlier.shape != shape:
                raise refusals.request_id_reused(asked.request_id)
            return earlier.held
        if not asked.is_dry:
            account.note_use(asked.key_id, now_us)
        meter = account.meter_of(asked.rate_scope, asked.key_id)
        expires_us = now_us + asked.time_to_live_us
        charge = self._equal_upload(account, asked.fingerprint, shape, now_us)
        if charge:
            if _is_crowded(account, asked.urgency):
                raise self._refusal(account, asked, meter, "concurrency", CONCURRENCY_RETRY_US)
            if asked.is_dry:
                return self._seen(account, asked, meter, charge.payment.price_index, 0, charge)
            charge.open_members += 1
            account.requests[charge.owner.request_id].forget_us = 0
            credits_milli = charge.payment.credits_milli if charge.state == "held" else 0
        else:
            payment, tat_us = self._price(account, asked, meter, now_us)
            if asked.is_dry:
                return self._seen(account, asked, meter, payment.price_index, payment.credits_milli)
            self._pay(account, asked, meter, payment, tat_us, now_us)
            credits_milli = payment.credits_milli
            charge = Charge(asked, shape, payment, now_us)
            if asked.fingerprint and self._repeat_window_us:
                account.equal_uploads[asked.fingerprint] = asked.request_id
                account.equal_uploads.move_to_end(asked.fingerprint)
                if len(account.equal_uploads) > self._max_settled:
                    account.equal_uploads.popitem(last=False)
        owner_id = charge.owner.request_id
        rate = None if asked.rate_unit == "none" else meter.state(asked.rate_unit, account.plan, now_us)
        is_repeat = owner_id != asked.request_id
        held = Held(owner_id, credits_milli, charge.payment.price_index, rate, expires_us, is_repeat)
        account.requests[asked.request_id] = Request(asked, shape, held, charge)
        account.open.add(expires_us, asked.request_id, asked.urgency)
        return held

    def commit(self, account: MemoryAccount, request: Request, processing_ms: int | None) -> int:
        """Charge a remembered request; what it is charged with."""
        if request.state == "released":
            raise refusals.reservation_released(f"{account.account_id}:{request.held.owner_request_id}")
        if request.state == "committed":
            return request.charged_milli
        charge, free_calls = self._close(account, request, "committed"), 0
        if charge.state == "held":
            charge.state = "charged"
            request.charged_milli = charge.payment.credits_milli
            account.held -= request.charged_milli
            account.spent += request.charged_milli
            free_calls = int(charge.payment.is_free_call)
        account.count(
            self.now_us(),
            request.asked.dialect,
            request.asked.key_id,
            calls=_calls_of(request.asked.urgency),
            committed=1,
            megapixels=request.asked.megapixels,
            charged=request.charged_milli,
            free_calls=free_calls,
            timed=0 if processing_ms is None else 1,
            processing_ms=processing_ms or 0,
        )
        return request.charged_milli

    def release(self, account: MemoryAccount, request: Request) -> int:
        """Give an open request back; what went back into the balances."""
        charge = self._close(account, request, "released")
        account.count(
            self.now_us(),
            request.asked.dialect,
            request.asked.key_id,
            calls=_calls_of(request.asked.urgency),
            released=1,
        )
        if charge.state != "held" or charge.open_members:
            return 0
        charge.state = "returned"
        owner = charge.owner
        account.meter_of(owner.rate_scope, owner.key_id).requests.give_back(charge.made_us)
        if charge.payment.is_free_call:
            account.free_calls.give_back(charge.made_us)
        account.held -= charge.payment.credits_milli
        returned_milli = 0
        for name, part in charge.payment.parts_milli.items():
            # Of a subscription that was renewed since, so that it has ended.
            if name == "subscription" and account.emptied > month_of(charge.made_us):
                account.expired += part
            else:
                account.balances[name] += part
                returned_milli += part
        return returned_milli

    def release_overdue(self, account: MemoryAccount) -> int:
        """Give back what nobody settled in time, at most MAX_OVERDUE_AT_ONCE; how many."""
        now_us, released_count, expirations = self.now_us(), 0, account.open.expirations
        while expirations and released_count < MAX_OVERDUE_AT_ONCE:
            expires_us, request_id = expirations[0]
            request = account.requests.get(request_id)
            is_open = request is not None and request_id in account.open.urgencies
            if request and is_open and request.held.expires_us == expires_us:
                if expires_us > now_us:
                    break
                self.release(account, request)
                released_count += 1
            heapq.heappop(expirations)
        return released_count

    def count_call(self, account: MemoryAccount, call: CountedCall) -> RateState:
        """See `AccountStore`."""
        now_us = self.now_us()
        meter = account.meter_of(call.rate_scope, call.key_id)
        if now_us < account.counted.get(call.request_id, 0):
            return meter.state("requests", account.plan, now_us)
        account.note_use(call.key_id, now_us)
        limit = account.plan.requests_per_minute
        decision = quota.weigh(meter.tat_us.get("requests", 0), now_us, limit, 1)
        state = meter.state("requests", account.plan, now_us)
        if not decision.is_allowed:
            account.count(now_us, call.dialect, call.key_id, calls=1, refused_rate=1)
            raise refusals.refused("rate", decision.retry_after_us, state)
        account.counted[call.request_id] = now_us + COUNTED_TTL_US
        account.counted.move_to_end(call.request_id)
        while account.counted and next(iter(account.counted.values())) <= now_us:
            account.counted.popitem(last=False)
        meter.tat_us["requests"] = decision.tat_us
        account.count(now_us, call.dialect, call.key_id, calls=1)
        return meter.state("requests", account.plan, now_us)

    def remembered(self, account: MemoryAccount, request_id: str) -> Request | None:
        """The request, unless it has been forgotten."""
        request = account.requests.get(request_id)
        return None if request is None or 0 < request.forget_us <= self.now_us() else request

    def _equal_upload(
        self, account: MemoryAccount, fingerprint: str, shape: tuple[object, ...], now_us: int
    ) -> Charge | None:
        owner_id = account.equal_uploads.get(fingerprint) if fingerprint else None
        owner = self.remembered(account, owner_id) if owner_id else None
        if owner is None:
            return None
        charge = owner.charge
        is_usable = charge.state != "returned" and charge.shape == shape
        return charge if is_usable and now_us < charge.made_us + self._repeat_window_us else None

    def _seen(
        self,
        account: MemoryAccount,
        asked: Reservation,
        meter: Meter,
        price_index: int,
        credits_milli: int,
        shared: Charge | None = None,
    ) -> Held:
        """What a reservation would have answered that was not made."""
        now_us = self.now_us()
        rate = None if asked.rate_unit == "none" else meter.state(asked.rate_unit, account.plan, now_us)
        owner_id = shared.owner.request_id if shared else asked.request_id
        return Held(
            owner_id, credits_milli, price_index, rate, now_us + asked.time_to_live_us, shared is not None
        )

    def _price(
        self, account: MemoryAccount, asked: Reservation, meter: Meter, now_us: int
    ) -> tuple[quota.Payment, int]:
        """Check every limit: what the request costs, and the meter's time after it."""
        plan, unit = account.plan, asked.rate_unit
        tat_us = max(now_us, meter.tat_us.get(unit, 0))
        weight = weight_of(unit, asked.megapixels)
        if weight:
            rate = quota.weigh(tat_us, now_us, limit_of(plan, unit), weight)
            if not rate.is_allowed:
                raise self._refusal(account, asked, meter, "rate", rate.retry_after_us)
            tat_us = rate.tat_us
        today, this_month = meter.requests.used(now_us)
        if 0 < plan.requests_per_day <= today:
            wait_us = until_next_day_us(now_us)
            raise self._refusal(account, asked, meter, "quota", wait_us, "requests_per_day")
        if 0 < plan.requests_per_month <= this_month:
            wait_us = until_next_month_us(now_us)
            raise self._refusal(account, asked, meter, "quota", wait_us, "requests_per_month")
        if _is_crowded(account, asked.urgency):
            raise self._refusal(account, asked, meter, "concurrency", CONCURRENCY_RETRY_US)
        account.renew(now_us)
        free_calls = plan.free_calls_left(*account.free_calls.used(now_us))
        payment = quota.pay(asked.prices, account.balances, free_calls)
        if payment is None:
            available = str(sum(account.balances.values()))
            raise self._refusal(account, asked, meter, "credits", 0, available)
        return payment, tat_us

    @staticmethod
    def _pay(
        account: MemoryAccount,
        asked: Reservation,
        meter: Meter,
        payment: quota.Payment,
        tat_us: int,
        now_us: int,
    ) -> None:
        """Take what the request costs."""
        meter.tat_us[asked.rate_unit] = tat_us
        meter.requests.take(now_us)
        if payment.is_free_call:
            account.free_calls.take(now_us)
        for name, part in payment.parts_milli.items():
            account.balances[name] -= part
        account.held += payment.credits_milli

    def _refusal(
        self,
        account: MemoryAccount,
        asked: Reservation,
        meter: Meter,
        kind: str,
        retry_after_us: int,
        detail: str = "",
    ) -> MatteworksError:
        now_us = self.now_us()
        counters = {"calls": _calls_of(asked.urgency), f"refused_{kind}": 1}
        if not asked.is_dry:
            account.count(now_us, asked.dialect, asked.key_id, **counters)
        rate = meter.state(asked.rate_unit, account.plan, now_us)
        return refusals.refused(kind, retry_after_us, rate, detail)

    def _close(self, account: MemoryAccount, request: Request, state: str) -> Charge:
        charge = request.charge
        account.open.urgencies.pop(request.asked.request_id, None)
        request.state = state
        if request.asked.request_id != charge.owner.request_id:
            self._retire(account, request)
        charge.open_members -= 1
        if charge.open_members == 0:
            self._retire(account, account.requests[charge.owner.request_id])
        return charge

    def _retire(self, account: MemoryAccount, request: Request) -> None:
        request.forget_us = self.now_us() + self._record_ttl_us
        account.settled.append(request.asked.request_id)
        if len(account.settled) > self._max_settled:
            oldest = account.requests.get(account.settled.popleft())
            # The id may be in use again: open requests are never forgotten.
            if oldest and oldest.forget_us:
                del account.requests[oldest.asked.request_id]


def _is_crowded(account: MemoryAccount, urgency: Urgency) -> bool:
    limit = account.plan.concurrent_requests
    return urgency != "deferred" and 0 < limit <= account.open.interactive_count()


def _calls_of(urgency: Urgency) -> int:
    # Queued work is no call: the one that queued it was.
    return 0 if urgency == "deferred" else 1
