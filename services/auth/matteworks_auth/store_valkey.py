"""The store on Valkey: each change is one Lua script, so it is atomic and costs one round trip.

A script is safe to send again: reserve, commit, release and grant are keyed by the request id, so a
retry after a lost answer finds the first one's result and changes nothing more. Script objects of
redis-py load the text again after NOSCRIPT, so a restarted server goes unnoticed.

Time. In production the scripts read the server's own clock: replicas whose clocks differ then share one
rate limit, and a reservation ends at one moment. A test gives a `Clock`, whose time the scripts take
instead.

Keys. All keys of an account share the hash tag `{account id}`, so its scripts run on a cluster too. API
keys stand apart under `mw:key:`, and beside them two sets: `mw:accounts`, all account ids, and `mw:due`,
which accounts the sweeper should look at and when. `mw:due` is only a hint, written before the
reservation that it is for: an entry too many costs one look, and one that a failover lost is made up for
by the account's next request, because every step on an account gives its overdue reservations back.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import OrderedDict
from dataclasses import asdict
from importlib.resources import files
from typing import Any, cast

from redis.asyncio import Redis

from matteworks_auth import quota, refusals
from matteworks_auth.keys import KeyRecord
from matteworks_auth.plans import Plan, Plans
from matteworks_auth.store import (
    BALANCES,
    DEFAULT_MAX_SETTLED,
    AccountRecord,
    DayUsage,
    Held,
    KeyEnd,
    RateState,
    Reservation,
)
from matteworks_auth.valkey_connection import answering, open_valkey
from matteworks_common.clock import Clock, SystemClock

__all__ = ["ValkeyAccountStore", "open_valkey"]

ACCOUNTS_KEY = "mw:accounts"
DUE_KEY = "mw:due"
GRANT_TTL_S = 30 * 86_400
# Hints are rounded up to this, so that a busy account has a few of them and not one a request.
DUE_STEP_S = 5
DUE_BATCH = 100
MEMO_ENTRIES = 10_000
USAGE_BATCH_DAYS = 100
_SCRIPTS = files("matteworks_auth") / "scripts"


class ValkeyAccountStore:
    """See `AccountStore`. `timeout_s` bounds each step, whatever fails; for the rest see the memory store."""

    def __init__(
        self,
        client: Redis,
        plans: Plans,
        repeat_window_us: int,
        record_ttl_us: int,
        clock: Clock | None = None,
        max_settled: int = DEFAULT_MAX_SETTLED,
        timeout_s: float = 1.0,
    ) -> None:
        self._client = client
        self._plans = plans
        self._repeat_window_us = repeat_window_us
        self._record_ttl_us = record_ttl_us
        self._clock = clock
        self._local_clock: Clock = clock or SystemClock()
        self._max_settled = max_settled
        self._timeout_s = timeout_s
        common = (_SCRIPTS / "common.lua").read_text()
        self._reserve, self._settle, self._account, self._sweep = (
            client.register_script(common + (_SCRIPTS / f"{name}.lua").read_text())
            for name in ("reserve", "settle", "account", "sweep")
        )
        self._key = client.register_script((_SCRIPTS / "key.lua").read_text())
        # The plan that each account had when last seen: sent along, checked by the script.
        self._seen_plans: OrderedDict[str, str] = OrderedDict()
        self._hinted: OrderedDict[str, None] = OrderedDict()

    async def ping(self) -> None:
        async with answering(self._timeout_s):
            await self._client.ping()

    async def close(self) -> None:
        await self._client.aclose()
        await self._client.connection_pool.disconnect()

    async def create_account(self, account_id: str, display_name: str, plan: Plan) -> AccountRecord:
        # Listed first: an account that the checker and the sweeper do not know of must not exist.
        async with answering(self._timeout_s):
            await self._client.sadd(ACCOUNTS_KEY, account_id)
        return await self._on_account(
            account_id, "create", display_name, plan.name, plan.starting_credits_milli
        )

    async def get_account(self, account_id: str) -> AccountRecord:
        return await self._on_account(account_id, "look")

    async def set_plan(self, account_id: str, plan: Plan) -> AccountRecord:
        record = await self._on_account(account_id, "plan", plan.name)
        await self._spread_plan(account_id, plan.name)
        return record

    async def grant(
        self, request_id: str, account_id: str, balance: str, credits_milli: int
    ) -> AccountRecord:
        return await self._on_account(account_id, "grant", request_id, balance, credits_milli, GRANT_TTL_S)

    async def list_accounts(self) -> list[str]:
        async with answering(self._timeout_s):
            listed = cast(set[str], await self._client.smembers(ACCOUNTS_KEY))
        # An id is listed just before its account exists; the process may have died in between.
        return [account_id for account_id in sorted(listed) if await self._exists(account_id)]

    async def put_key(self, record: KeyRecord) -> KeyRecord:
        account = await self.get_account(record.account_id)
        record = _with_plan(record, account.plan)
        stored: dict[Any, Any] = {**asdict(record), "is_test": int(record.is_test)}
        async with answering(self._timeout_s):
            # Listed first: a key that works must be one that can be listed and revoked.
            await self._client.sadd(f"{_prefix(record.account_id)}:keys", record.key_id)
            await self._client.hset(_key_name(record.key_id), mapping=stored)
        # The plan may have changed before the key was listed.
        now = await self.get_account(record.account_id)
        if now.plan == record.plan:
            return record
        await self._spread_plan(record.account_id, now.plan)
        return _with_plan(record, now.plan)

    async def get_key(self, key_id: str) -> KeyRecord | None:
        async with answering(self._timeout_s):
            stored = cast(dict[str, str], await self._client.hgetall(_key_name(key_id)))
        return _key_from(stored) if stored else None

    async def end_key(self, key_id: str, how: KeyEnd, at_us: int) -> KeyRecord:
        async with answering(self._timeout_s):
            reply: list[str] = await self._key([_key_name(key_id)], [how, at_us])
        if not reply:
            raise refusals.key_not_found(key_id)
        return _key_from(dict(zip(reply[::2], reply[1::2], strict=True)))

    async def list_keys(self, account_id: str) -> list[KeyRecord]:
        await self.get_account(account_id)
        found = [await self.get_key(key_id) for key_id in await self._key_ids(account_id)]
        return sorted((key for key in found if key), key=lambda key: (key.created_us, key.key_id))

    async def reserve(self, reservation: Reservation) -> Held:
        account_id = reservation.account_id
        prices = [[price.credits_milli, int(price.is_free_call_eligible)] for price in reservation.prices]
        shape = json.dumps([prices, reservation.megapixels, reservation.fingerprint])
        await self._hint(account_id, reservation.time_to_live_us / 1e6)
        plan_name = self._seen_plans.get(account_id, self._plans.default)
        while True:
            plan = self._plans.find(plan_name)
            async with answering(self._timeout_s):
                reply = await self._reserve(
                    [_prefix(account_id)],
                    [
                        *self._common(),
                        reservation.request_id, hashlib.sha256(shape.encode()).hexdigest()[:32],
                        reservation.megapixels, reservation.fingerprint,
                        reservation.time_to_live_us, self._repeat_window_us,
                        plan.name, plan.megapixels_per_minute, plan.concurrent_requests,
                        plan.requests_per_day, plan.requests_per_month, plan.free_calls_per_month,
                        *(part for price in prices for part in price),
                    ],
                )  # fmt: skip
            if reply[0] != "plan":
                break
            plan_name = reply[1]
            _remember(self._seen_plans, account_id, plan_name)
        return _held_from(reservation, reply)

    async def commit(self, account_id: str, owner_request_id: str, request_id: str) -> int:
        return await self._settled("commit", account_id, owner_request_id, request_id)

    async def release(self, account_id: str, owner_request_id: str, request_id: str) -> int:
        return await self._settled("release", account_id, owner_request_id, request_id)

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

    async def usage(self, account_id: str, first_day: int, last_day: int) -> list[DayUsage]:
        await self.get_account(account_id)
        found: list[DayUsage] = []
        for start in range(first_day, last_day + 1, USAGE_BATCH_DAYS):
            days = range(start, min(start + USAGE_BATCH_DAYS, last_day + 1))
            async with answering(self._timeout_s), self._client.pipeline(transaction=False) as pipeline:
                for day in days:
                    pipeline.hgetall(f"{_prefix(account_id)}:usage:{day}")
                counters: list[dict[str, str]] = await pipeline.execute()
            found += [
                DayUsage(day, **{name: int(value) for name, value in counter.items()})
                for day, counter in zip(days, counters, strict=True)
                if counter
            ]
        return found

    def _common(self) -> list[int]:
        now_us = round(self._clock.unix_s() * 1e6) if self._clock else 0
        return [now_us, self._record_ttl_us, self._max_settled]

    async def _exists(self, account_id: str) -> bool:
        async with answering(self._timeout_s):
            return bool(await self._client.exists(f"{_prefix(account_id)}:account"))

    async def _key_ids(self, account_id: str) -> set[str]:
        async with answering(self._timeout_s):
            return cast(set[str], await self._client.smembers(f"{_prefix(account_id)}:keys"))

    async def _spread_plan(self, account_id: str, plan_name: str) -> None:
        for key_id in await self._key_ids(account_id):
            async with answering(self._timeout_s):
                await self._key([_key_name(key_id)], ["plan", plan_name])

    async def _on_account(self, account_id: str, verb: str, *arguments: str | int) -> AccountRecord:
        async with answering(self._timeout_s):
            reply = await self._account([_prefix(account_id)], [*self._common(), verb, *arguments])
        match reply[0]:
            case "missing":
                raise refusals.account_not_found(account_id)
            case "exists":
                raise refusals.account_exists(account_id)
            case "reused":
                raise refusals.request_id_reused(str(arguments[0]))
            case "overflow":
                raise refusals.too_many_credits()
        _, now_us, month, *rest = reply
        stored: dict[str, str] = dict(zip(rest[::2], rest[1::2], strict=True))
        plan = self._plans.find(stored["plan"])
        _remember(self._seen_plans, account_id, plan.name)
        rate = quota.weigh(int(stored["tat"]), now_us, plan.megapixels_per_minute, 0)
        used = int(stored["month_free_calls"]) if stored["month"] == str(month) else 0
        return AccountRecord(
            account_id=account_id,
            display_name=stored["display_name"],
            plan=plan.name,
            free_calls=max(0, plan.free_calls_per_month - used),
            created_us=int(stored["created"]),
            rate=RateState(plan.megapixels_per_minute, rate.remaining, rate.reset_us),
            **{name: int(stored[name]) for name in (*BALANCES, "held", "spent", "granted")},
        )

    async def _settled(self, verb: str, account_id: str, owner_request_id: str, request_id: str) -> int:
        async with answering(self._timeout_s):
            kind, *rest = await self._settle(
                [_prefix(account_id)], [*self._common(), verb, owner_request_id, request_id]
            )
        reservation_id = f"{account_id}:{owner_request_id}"
        if kind == "missing":
            raise refusals.reservation_not_found(reservation_id)
        if kind == "released":
            raise refusals.reservation_released(reservation_id)
        return int(rest[0])

    async def _hint(self, account_id: str, delay_s: float) -> None:
        """Have the sweeper look at the account once `delay_s` is over."""
        step = math.ceil((self._local_clock.unix_s() + delay_s) / DUE_STEP_S) * DUE_STEP_S
        hint = f"{account_id}@{step}"
        if hint not in self._hinted:
            async with answering(self._timeout_s):
                await self._client.zadd(DUE_KEY, {hint: step})
            _remember(self._hinted, hint, None)

    async def _sweep_hinted(self, hint: str) -> int:
        account_id = hint.rpartition("@")[0]
        total_count = 0
        while True:
            async with answering(self._timeout_s):
                released_count, wait_us = await self._sweep([_prefix(account_id)], self._common())
            total_count += released_count
            if wait_us != 0:
                break
        if wait_us > 0:
            await self._hint(account_id, wait_us / 1e6)
        # Only now: a sweeper that dies before leaves the hint to the next one.
        async with answering(self._timeout_s):
            await self._client.zrem(DUE_KEY, hint)
        return int(total_count)


def _prefix(account_id: str) -> str:
    return f"mw:{{{account_id}}}"


def _key_name(key_id: str) -> str:
    return f"mw:key:{key_id}"


def _with_plan(record: KeyRecord, plan_name: str) -> KeyRecord:
    return KeyRecord(**{**asdict(record), "plan": plan_name})


def _key_from(stored: dict[str, str]) -> KeyRecord:
    return KeyRecord(
        key_id=stored["key_id"],
        account_id=stored["account_id"],
        secret_hash=stored["secret_hash"],
        display_name=stored["display_name"],
        is_test=stored["is_test"] == "1",
        created_us=int(stored["created_us"]),
        expires_us=int(stored["expires_us"]),
        revoked_us=int(stored["revoked_us"]),
        plan=stored.get("plan", ""),
    )


def _held_from(reservation: Reservation, reply: list[Any]) -> Held:
    """The reply of the reserve script. Raises what it refuses."""
    kind = reply[0]
    if kind == "missing":
        raise refusals.account_not_found(reservation.account_id)
    if kind == "reused":
        raise refusals.request_id_reused(reservation.request_id)
    if kind == "held":
        _, owner, credits_milli, price_index, limit, now_us, tat_us, expires_us, is_repeat = reply
        rate = RateState(limit, quota.remaining_units(tat_us, now_us, limit), tat_us)
        return Held(owner, credits_milli, price_index, rate, expires_us, bool(is_repeat))
    _, wait_us, limit, now_us, tat_us, detail = reply
    rate = RateState(limit, quota.remaining_units(tat_us, now_us, limit), tat_us)
    raise refusals.refused(kind, wait_us, rate, detail)


def _remember(memo: OrderedDict[str, Any], name: str, value: Any) -> None:
    """Keep the latest MEMO_ENTRIES."""
    memo[name] = value
    memo.move_to_end(name)
    if len(memo) > MEMO_ENTRIES:
        memo.popitem(last=False)
