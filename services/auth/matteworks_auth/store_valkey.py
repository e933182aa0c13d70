"""The store on Valkey: each change is one Lua script, so it is atomic and costs one round trip.

A script is safe to send again: reserve, commit, release and grant are keyed by the request id, so a
library's or a caller's retry after a lost answer finds the first one's result and changes nothing.
Script objects of redis-py send the text again after NOSCRIPT, so a restarted server goes unnoticed.

All keys of an account share the hash tag `{account id}`; keys of API keys stand apart under `mw:key:`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import asdict
from importlib.resources import files
from typing import Any, cast

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as ValkeyConnectionError
from redis.exceptions import OutOfMemoryError, ReadOnlyError
from redis.exceptions import TimeoutError as ValkeyTimeoutError

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_auth import quota, refusals
from matteworks_auth.keys import KeyRecord
from matteworks_auth.plans import Plan, Plans
from matteworks_auth.store import (
    BALANCES,
    AccountRecord,
    DayUsage,
    Held,
    RateState,
    Reservation,
    store_unavailable,
)
from matteworks_common.clock import Clock
from matteworks_common.errors import Conflict

ACCOUNTS_KEY = "mw:accounts"
_SCRIPTS = files("matteworks_auth") / "scripts"


def open_valkey(url: str, timeout_s: float) -> Redis:
    """A pooled client for `url` (redis://HOST:PORT/DB). A dead connection is tried again once, at once."""
    return Redis.from_url(
        url,
        decode_responses=True,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 1),
        max_connections=64,
        protocol=3,
    )


class ValkeyAccountStore:
    """See `AccountStore`. With `clock` None the server's own clock counts, which all replicas share."""

    def __init__(
        self,
        client: Redis,
        plans: Plans,
        repeat_window_us: int,
        record_ttl_us: int,
        clock: Clock | None = None,
    ) -> None:
        self._client = client
        self._plans = plans
        self._plans_json = json.dumps({name: asdict(plan) for name, plan in plans.by_name.items()})
        self._repeat_window_us = repeat_window_us
        self._record_ttl_s = record_ttl_us // 1_000_000
        self._clock = clock
        common = (_SCRIPTS / "common.lua").read_text()
        self._reserve, self._settle, self._account, self._expire = (
            client.register_script(common + (_SCRIPTS / f"{name}.lua").read_text())
            for name in ("reserve", "settle", "account", "expire")
        )

    async def ping(self) -> None:
        async with _translated():
            await self._client.ping()

    async def close(self) -> None:
        await self._client.aclose()

    async def create_account(self, account_id: str, display_name: str, plan: Plan) -> AccountRecord:
        async with _translated():
            reply = await self._run_account(
                account_id, "create", display_name, plan.name, plan.starting_credits_milli
            )
            if not reply:
                raise Conflict(
                    reasons.ERROR_REASON_ACCOUNT_EXISTS,
                    "An account with this id exists already; choose another id.",
                    field="account_id",
                    metadata={"account_id": account_id},
                )
            await self._client.sadd(ACCOUNTS_KEY, account_id)
        return self._account_from(account_id, reply)

    async def get_account(self, account_id: str) -> AccountRecord:
        return await self._existing(account_id, "look")

    async def set_plan(self, account_id: str, plan: Plan) -> AccountRecord:
        return await self._existing(account_id, "plan", plan.name)

    async def grant(
        self, request_id: str, account_id: str, balance: str, credits_milli: int
    ) -> AccountRecord:
        return await self._existing(account_id, "grant", request_id, balance, credits_milli)

    async def list_accounts(self) -> list[str]:
        async with _translated():
            return sorted(await cast(Awaitable[set[str]], self._client.smembers(ACCOUNTS_KEY)))

    async def put_key(self, record: KeyRecord) -> None:
        await self.get_account(record.account_id)
        stored: dict[Any, Any] = {**asdict(record), "is_test": int(record.is_test)}
        async with _translated():
            await self._client.hset(f"mw:key:{record.key_id}", mapping=stored)
            await self._client.sadd(f"{_prefix(record.account_id)}:keys", record.key_id)

    async def get_key(self, key_id: str) -> KeyRecord | None:
        async with _translated():
            stored = await cast(Awaitable[dict[str, str]], self._client.hgetall(f"mw:key:{key_id}"))
        if not stored:
            return None
        return KeyRecord(
            key_id=stored["key_id"],
            account_id=stored["account_id"],
            secret_hash=stored["secret_hash"],
            display_name=stored["display_name"],
            is_test=stored["is_test"] == "1",
            created_us=int(stored["created_us"]),
            expires_us=int(stored["expires_us"]),
            revoked_us=int(stored["revoked_us"]),
        )

    async def list_keys(self, account_id: str) -> list[KeyRecord]:
        await self.get_account(account_id)
        async with _translated():
            ids = await cast(Awaitable[set[str]], self._client.smembers(f"{_prefix(account_id)}:keys"))
        found = [await self.get_key(key_id) for key_id in ids]
        return sorted((key for key in found if key), key=lambda key: (key.created_us, key.key_id))

    async def reserve(self, reservation: Reservation) -> Held:
        prices = [[price.credits_milli, price.is_free_call_eligible] for price in reservation.prices]
        async with _translated():
            reply = json.loads(
                await self._reserve(
                    [_prefix(reservation.account_id)],
                    [
                        self._now_us(), reservation.request_id, reservation.key_id, json.dumps(prices),
                        reservation.megapixels, reservation.fingerprint, reservation.time_to_live_us,
                        self._plans_json, self._repeat_window_us, self._record_ttl_s,
                    ],
                )
            )  # fmt: skip
        kind = reply["kind"]
        if kind == "missing":
            raise refusals.account_not_found(reservation.account_id)
        if kind == "reused":
            raise refusals.request_id_reused(reservation.request_id)
        rate = RateState(int(reply["limit"]), int(reply["remaining"]), int(reply["reset"]))
        if kind != "held":
            raise refusals.refused(kind, int(reply["retry_after"]), rate)
        return Held(
            reply["owner"], int(reply["amount"]), int(reply["price_index"]), rate, int(reply["expires"]),
            reply["is_repeat"],
        )  # fmt: skip

    async def commit(self, account_id: str, owner_request_id: str, request_id: str) -> int:
        return await self._settled(account_id, owner_request_id, request_id, "commit")

    async def release(self, account_id: str, owner_request_id: str, request_id: str) -> int:
        return await self._settled(account_id, owner_request_id, request_id, "release")

    async def release_overdue(self) -> int:
        count = 0
        for account_id in await self.list_accounts():
            async with _translated():
                count += int(await self._expire([_prefix(account_id)], [self._now_us()]))
        return count

    async def usage(self, account_id: str, first_day: int, last_day: int) -> list[DayUsage]:
        await self.get_account(account_id)
        days = range(first_day, last_day + 1)
        async with _translated(), self._client.pipeline(transaction=False) as pipeline:
            for day in days:
                pipeline.hgetall(f"{_prefix(account_id)}:usage:{day}")
            counters = await pipeline.execute()
        return [
            DayUsage(day, **{name: int(value) for name, value in counter.items()})
            for day, counter in zip(days, counters, strict=True)
            if counter
        ]

    def _now_us(self) -> int:
        return round(self._clock.unix_s() * 1e6) if self._clock else 0

    async def _run_account(self, account_id: str, *arguments: str | int) -> dict[str, str]:
        reply: list[str] = await self._account([_prefix(account_id)], [self._now_us(), *arguments])
        return dict(zip(reply[::2], reply[1::2], strict=True))

    async def _existing(self, account_id: str, *arguments: str | int) -> AccountRecord:
        async with _translated():
            reply = await self._run_account(account_id, *arguments)
        if not reply:
            raise refusals.account_not_found(account_id)
        return self._account_from(account_id, reply)

    def _account_from(self, account_id: str, reply: dict[str, str]) -> AccountRecord:
        plan = self._plans.find(reply["plan"])
        rate = quota.weigh(int(reply["tat"]), int(reply["now"]), plan.megapixels_per_minute, 0)
        amounts = {name: int(reply[name]) for name in (*BALANCES, "held", "spent", "granted")}
        return AccountRecord(
            account_id=account_id,
            display_name=reply["display_name"],
            plan=plan.name,
            free_calls=max(0, plan.free_calls_per_month - int(reply["month_free_calls"])),
            created_us=int(reply["created"]),
            rate=RateState(plan.megapixels_per_minute, rate.remaining, rate.reset_us),
            **amounts,
        )

    async def _settled(self, account_id: str, owner_request_id: str, request_id: str, verb: str) -> int:
        async with _translated():
            reply = json.loads(
                await self._settle(
                    [_prefix(account_id)], [self._now_us(), owner_request_id, request_id, verb]
                )
            )
        reservation_id = f"{account_id}:{owner_request_id}"
        if reply["kind"] == "missing":
            raise refusals.reservation_not_found(reservation_id)
        if reply["kind"] == "released":
            raise refusals.reservation_released(reservation_id)
        return int(reply["amount"])


def _prefix(account_id: str) -> str:
    return f"mw:{{{account_id}}}"


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    """A server that is away, full or a replica becomes STORE_UNAVAILABLE; a faulty script stays a bug."""
    try:
        yield
    except (
        ValkeyConnectionError, ValkeyTimeoutError, OutOfMemoryError, ReadOnlyError, OSError, TimeoutError,
    ) as error:  # fmt: skip
        raise store_unavailable() from error
