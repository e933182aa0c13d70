"""Holding and settling credits in Valkey: one atomic script a step."""

from __future__ import annotations

import hashlib
import json
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, cast

from matteworks_auth.rules.plans import Plan
from matteworks_auth.stores import refusals
from matteworks_auth.stores.contract import Charge, CountedCall, Held, RateState, RateUnit, Reservation
from matteworks_auth.stores.rates import limit_of, state_of
from matteworks_auth.stores.valkey.connection import answering
from matteworks_auth.stores.valkey.session import DUE_KEY, ValkeySession, prefix_of, remember

# Hints are rounded up to this, so that a busy account has a few of them and not one a request.
DUE_STEP_S = 5
DUE_BATCH = 100


class ValkeyRequests(ValkeySession):
    """The part of the store that every request uses."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._hinted: OrderedDict[str, None] = OrderedDict()

    async def reserve(self, reservation: Reservation) -> Held:
        prices = [[price.credits_milli, int(price.is_free_call_eligible)] for price in reservation.prices]
        shape = json.dumps([prices, reservation.megapixels, reservation.fingerprint])
        if not reservation.is_dry:
            await self._hint(reservation.account_id, reservation.time_to_live_us / 1e6)

        async def ask(plan: Plan) -> Any:
            return await self._run(
                "reserve",
                [prefix_of(reservation.account_id)],
                reservation.request_id, hashlib.sha256(shape.encode()).hexdigest()[:32],
                reservation.megapixels, reservation.fingerprint,
                reservation.time_to_live_us, self._repeat_window_us,
                reservation.key_id, reservation.dialect,
                reservation.rate_unit, reservation.rate_scope, reservation.urgency,
                plan.name, limit_of(plan, reservation.rate_unit), plan.concurrent_requests,
                plan.requests_per_day, plan.requests_per_month, plan.monthly_credits_milli,
                plan.free_calls_per_day, plan.free_calls_per_month, int(reservation.is_dry),
                *(part for price in prices for part in price),
            )  # fmt: skip

        return _held_from(reservation, await self._by_plan(reservation.account_id, ask))

    async def commit(
        self, account_id: str, owner_request_id: str, request_id: str, processing_ms: int | None = None
    ) -> Charge:
        took_ms = -1 if processing_ms is None else processing_ms
        return await self._settled("commit", account_id, owner_request_id, request_id, took_ms)

    async def release(self, account_id: str, owner_request_id: str, request_id: str) -> int:
        return (await self._settled("release", account_id, owner_request_id, request_id, -1)).charged_milli

    async def release_overdue(self) -> int:
        released_count = 0
        while True:
            async with answering(self._timeout_s):
                found = await self._client.zrangebyscore(
                    DUE_KEY, "-inf", self._local_clock.unix_s(), start=0, num=DUE_BATCH
                )
            hints = cast(list[str], found)
            for hint in hints:
                released_count += await self._sweep_hinted(hint)
            if len(hints) < DUE_BATCH:
                return released_count

    async def count_call(self, call: CountedCall) -> RateState:
        async def ask(plan: Plan) -> Any:
            return await self._run(
                "count_call", [prefix_of(call.account_id)],
                call.request_id, call.key_id, call.dialect, call.rate_scope,
                plan.name, plan.requests_per_minute,
            )  # fmt: skip

        reply = await self._by_plan(call.account_id, ask)
        if reply[0] == "missing":
            raise refusals.account_not_found(call.account_id)
        if reply[0] == "rate":
            raise _refusal(reply, "requests")
        _, limit, now_us, tat_us = reply
        return state_of("requests", limit, now_us, tat_us)

    async def _by_plan(self, account_id: str, ask: Callable[[Plan], Awaitable[Any]]) -> Any:
        """What `ask` answers for the account's plan, which the script knows better than we do."""
        name = self._seen_plans.get(account_id, self._plans.default)
        while True:
            reply = await ask(self._plans.find(name))
            if reply[0] != "plan":
                return reply
            name = reply[1]
            remember(self._seen_plans, account_id, name)

    async def _settled(
        self, verb: str, account_id: str, owner_request_id: str, request_id: str, took_ms: int
    ) -> Charge:
        kind, *rest = await self._run(
            "settle", [prefix_of(account_id)], verb, owner_request_id, request_id, took_ms
        )
        reservation_id = f"{account_id}:{owner_request_id}"
        if kind == "missing":
            raise refusals.reservation_not_found(reservation_id)
        if kind == "released":
            raise refusals.reservation_released(reservation_id)
        return Charge(*rest)

    async def _hint(self, account_id: str, delay_s: float) -> None:
        """Have the sweeper look at the account once `delay_s` is over."""
        step = math.ceil((self._local_clock.unix_s() + delay_s) / DUE_STEP_S) * DUE_STEP_S
        hint = f"{account_id}@{step}"
        if hint not in self._hinted:
            async with answering(self._timeout_s):
                await self._client.zadd(DUE_KEY, {hint: step})
            remember(self._hinted, hint, None)

    async def _sweep_hinted(self, hint: str) -> int:
        account_id = hint.rpartition("@")[0]
        total_count = 0
        while True:
            released_count, wait_us = await self._run("sweep", [prefix_of(account_id)])
            total_count += released_count
            if wait_us != 0:
                break
        if wait_us > 0:
            await self._hint(account_id, wait_us / 1e6)
        # Only now: a sweeper that dies before leaves the hint to the next one.
        async with answering(self._timeout_s):
            await self._client.zrem(DUE_KEY, hint)
        return int(total_count)


def _held_from(reservation: Reservation, reply: list[Any]) -> Held:
    """The reply of the reserve script. Raises what it refuses."""
    kind = reply[0]
    if kind == "missing":
        raise refusals.account_not_found(reservation.account_id)
    if kind == "reused":
        raise refusals.request_id_reused(reservation.request_id)
    if kind != "held":
        raise _refusal(reply, reservation.rate_unit)
    _, owner, credits_milli, price_index, unit, limit, now_us, tat_us, expires_us, is_repeat = reply
    rate = None if unit == "none" else state_of(unit, limit, now_us, tat_us)
    return Held(owner, credits_milli, price_index, rate, expires_us, bool(is_repeat))


def _refusal(reply: list[Any], unit: RateUnit) -> Exception:
    kind, wait_us, limit, now_us, tat_us, detail = reply
    return refusals.refused(kind, wait_us, state_of(unit, limit, now_us, tat_us), detail)
