"""Accounts in Valkey, their counters, and who changed what."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from matteworks_auth.rules import quota
from matteworks_auth.rules.plans import Plan
from matteworks_auth.rules.usage import UsageRow, rows_of
from matteworks_auth.stores import refusals
from matteworks_auth.stores.contract import (
    BALANCES,
    NOBODY,
    AccountRecord,
    AuditEvent,
    AuditQuery,
    Author,
    RateState,
)
from matteworks_auth.stores.valkey.connection import answering
from matteworks_auth.stores.valkey.session import (
    ACCOUNTS_KEY,
    AUDIT_KEY,
    ValkeySession,
    prefix_of,
    remember,
)

GRANT_TTL_S = 30 * 86_400
USAGE_BATCH_DAYS = 100
AUDIT_BATCH = 1000
# What an account lacks that was made before there were these.
_LATER_FIELDS = {
    "dialect": "",
    "email": "",
    "expired": "0",
    "free_day": "0",
    "day_free_calls": "0",
    "free_month": "0",
    "month_free_calls": "0",
}


class ValkeyAccounts(ValkeySession):
    """The part of the store that administrators and reports use."""

    async def create_account(
        self,
        account_id: str,
        display_name: str,
        plan: Plan,
        *,
        dialect: str = "",
        email: str = "",
        by: Author = NOBODY,
    ) -> AccountRecord:
        return await self._change(
            by, account_id, "create", display_name, plan.name, plan.starting_credits_milli, dialect, email
        )

    async def get_account(self, account_id: str) -> AccountRecord:
        return await self._on_account([prefix_of(account_id)], NOBODY, account_id, "look")

    async def update_account(
        self, account_id: str, changes: Mapping[str, str], *, by: Author = NOBODY
    ) -> AccountRecord:
        return await self._change(
            by, account_id, "update", *(part for change in changes.items() for part in change)
        )

    async def set_plan(self, account_id: str, plan: Plan, *, by: Author = NOBODY) -> AccountRecord:
        return await self._change(by, account_id, "plan", plan.name)

    async def grant(
        self, request_id: str, account_id: str, balance: str, credits_milli: int, *, by: Author = NOBODY
    ) -> AccountRecord:
        return await self._change(by, account_id, "grant", request_id, balance, credits_milli, GRANT_TTL_S)

    async def list_accounts(self, after: str = "", prefix: str = "", limit: int = 0) -> list[str]:
        low = f"({after}" if after >= prefix and after else f"[{prefix}" if prefix else "-"
        # Ids are ASCII, so nothing that starts with the prefix sorts behind this.
        high = f"[{prefix}\x7f" if prefix else "+"
        async with answering(self._timeout_s):
            if limit:
                return cast(
                    list[str], await self._client.zrangebylex(ACCOUNTS_KEY, low, high, start=0, num=limit)
                )
            return cast(list[str], await self._client.zrangebylex(ACCOUNTS_KEY, low, high))

    async def usage(self, account_id: str, first_day: int, last_day: int) -> list[UsageRow]:
        await self.get_account(account_id)
        found: list[UsageRow] = []
        for start in range(first_day, last_day + 1, USAGE_BATCH_DAYS):
            days = range(start, min(start + USAGE_BATCH_DAYS, last_day + 1))
            async with answering(self._timeout_s), self._client.pipeline(transaction=False) as pipeline:
                for day in days:
                    pipeline.hgetall(f"{prefix_of(account_id)}:usage:{day}")
                counters: list[dict[str, str]] = await pipeline.execute()
            for day, counter in zip(days, counters, strict=True):
                found += rows_of(day, {name: int(value) for name, value in counter.items()})
        return found

    async def audit_events(self, query: AuditQuery) -> list[AuditEvent]:
        low, high = str(query.start_ms), f"({query.end_ms}-0"
        if query.before_id and _order(query.before_id) < (query.end_ms, 0):
            high = f"({query.before_id}"
        found: list[AuditEvent] = []
        while len(found) < query.limit:
            # All that are asked for in one step, unless most belong to other accounts.
            count = AUDIT_BATCH if query.account_id else query.limit
            async with answering(self._timeout_s):
                found_entries: Any = await self._client.xrevrange(AUDIT_KEY, high, low, count=count)
            entries: list[tuple[str, dict[str, str]]] = found_entries
            events = [_event_from(event_id, entry) for event_id, entry in entries]
            found += [event for event in events if query.account_id in ("", event.account_id)]
            if len(entries) < count:
                break
            high = f"({events[-1].event_id}"
        return found[: query.limit]

    async def _change(self, by: Author, account_id: str, verb: str, *arguments: str | int) -> AccountRecord:
        keys = [prefix_of(account_id), AUDIT_KEY, ACCOUNTS_KEY]
        return await self._on_account(keys, by, account_id, verb, *arguments)

    async def _on_account(
        self, keys: list[str], by: Author, account_id: str, verb: str, *arguments: str | int
    ) -> AccountRecord:
        reply = await self._run("account", keys, *self._authorship(by), self._monthly, verb, *arguments)
        match reply[0]:
            case "missing":
                raise refusals.account_not_found(account_id)
            case "exists":
                raise refusals.account_exists(account_id)
            case "reused":
                raise refusals.request_id_reused(str(arguments[0]))
            case "overflow":
                raise refusals.too_many_credits()
        _, now_us, month, day, *rest = reply
        stored: dict[str, str] = _LATER_FIELDS | dict(zip(rest[::2], rest[1::2], strict=True))
        plan = self._plans.find(stored["plan"])
        remember(self._seen_plans, account_id, plan.name)
        rate = quota.weigh(int(stored["tat"]), now_us, plan.megapixels_per_minute, 0)
        used_today = int(stored["day_free_calls"]) if stored["free_day"] == str(day) else 0
        used_this_month = int(stored["month_free_calls"]) if stored["free_month"] == str(month) else 0
        return AccountRecord(
            account_id=account_id,
            display_name=stored["display_name"],
            plan=plan.name,
            free_calls=plan.free_calls_left(used_today, used_this_month),
            created_us=int(stored["created"]),
            rate=RateState("megapixels", plan.megapixels_per_minute, rate.remaining, rate.reset_us),
            dialect=stored["dialect"],
            email=stored["email"],
            **{name: int(stored[name]) for name in (*BALANCES, "held", "spent", "expired", "granted")},
        )


def _event_from(event_id: str, entry: Mapping[str, str]) -> AuditEvent:
    return AuditEvent(
        event_id=event_id,
        actor=entry["actor"],
        action=entry["action"],
        account_id=entry["account"],
        key_id=entry["key"],
        request_id=entry["request"],
        details=json.loads(entry["details"]),
    )


def _order(event_id: str) -> tuple[int, int]:
    milliseconds, _, number = event_id.partition("-")
    return int(milliseconds), int(number)
