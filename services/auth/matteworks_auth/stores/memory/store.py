"""The store in this process's memory: for tests and for one machine that may forget.

No await stands inside a change, so each method is atomic on the event loop. Step by step it does what
the scripts do; a test drives both with the same random steps and compares every answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import replace

from matteworks_auth.rules.calendar_us import month_of
from matteworks_auth.rules.keys import KeyRecord
from matteworks_auth.rules.plans import Plan, Plans
from matteworks_auth.rules.restrictions import Restrictions
from matteworks_auth.rules.usage import UsageRow, rows_of
from matteworks_auth.stores import refusals
from matteworks_auth.stores.contract import (
    BALANCES,
    DEFAULT_MAX_SETTLED,
    EXACT_LIMIT_MILLI,
    NOBODY,
    AccountRecord,
    AuditEvent,
    AuditLimits,
    AuditQuery,
    Author,
    Charge,
    CountedCall,
    Held,
    RateScope,
    RateState,
    RateUnit,
    Reservation,
)
from matteworks_auth.stores.memory.account import MAX_GRANTS, MemoryAccount, Request
from matteworks_auth.stores.memory.requests import MemoryRequests
from matteworks_common.clock import Clock


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
        audit_limits: AuditLimits | None = None,
    ) -> None:
        self._plans = plans
        self._requests = MemoryRequests(clock, repeat_window_us, record_ttl_us, max_settled)
        self._audit_limits = audit_limits or AuditLimits()
        self._accounts: dict[str, MemoryAccount] = {}
        self._keys: dict[str, KeyRecord] = {}
        self._events: deque[AuditEvent] = deque()

    async def ping(self) -> None:
        return

    async def close(self) -> None:
        return

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
        if account_id in self._accounts:
            raise refusals.account_exists(account_id)
        now_us = self._requests.now_us()
        granted = plan.starting_credits_milli + plan.monthly_credits_milli
        self._accounts[account_id] = MemoryAccount(
            account_id,
            display_name,
            plan,
            now_us,
            dict.fromkeys(BALANCES, 0) | {"subscription": granted},
            granted,
            dialect,
            email,
            renewed=month_of(now_us),
        )
        self._note(by, "account.create", account_id, {"plan": plan.name})
        return self._find(account_id).record(now_us)

    async def get_account(self, account_id: str) -> AccountRecord:
        return self._find(account_id).record(self._requests.now_us())

    async def update_account(
        self, account_id: str, changes: Mapping[str, str], *, by: Author = NOBODY
    ) -> AccountRecord:
        account = self._find(account_id)
        made = {name: value for name, value in changes.items() if getattr(account, name) != value}
        for name, value in made.items():
            setattr(account, name, value)
        if made:
            self._note(by, "account.update", account_id, made)
        return account.record(self._requests.now_us())

    async def set_plan(self, account_id: str, plan: Plan, *, by: Author = NOBODY) -> AccountRecord:
        account, now_us = self._find(account_id), self._requests.now_us()
        former = account.plan.name
        if former != plan.name:
            account.move_to(plan, now_us)
            self._note(by, "plan.set", account_id, {"plan": plan.name, "former_plan": former})
        return account.record(now_us)

    async def grant(
        self, request_id: str, account_id: str, balance: str, credits_milli: int, *, by: Author = NOBODY
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
            details = {"balance": balance, "credits_milli": str(credits_milli), "grant_id": request_id}
            self._note(by, "credits.grant", account_id, details)
        return account.record(self._requests.now_us())

    async def list_accounts(self, after: str = "", prefix: str = "", limit: int = 0) -> list[str]:
        found = sorted(name for name in self._accounts if name > after and name.startswith(prefix))
        return found[:limit] if limit else found

    async def put_key(self, record: KeyRecord, *, by: Author = NOBODY) -> KeyRecord:
        self._write_key(record)
        self._note(by, "key.create", record.account_id, {"name": record.display_name}, record.key_id)
        return self._known(record.key_id)

    async def get_key(self, key_id: str) -> KeyRecord | None:
        record = self._keys.get(key_id)
        if record is None:
            return None
        account = self._accounts[record.account_id]
        return replace(record, plan=account.plan.name, account_dialect=account.dialect)

    async def update_key(
        self,
        key_id: str,
        *,
        display_name: str | None = None,
        dialect: str | None = None,
        restrictions: Restrictions | None = None,
        expires_us: int | None = None,
        by: Author = NOBODY,
    ) -> KeyRecord:
        record = self._known(key_id)
        given: dict[str, str] = {}
        if display_name is not None:
            given["display_name"] = display_name
        if dialect is not None:
            given["dialect"] = dialect
        details = {name: value for name, value in given.items() if getattr(record, name) != value}
        changed = replace(record, **given)  # type: ignore[arg-type]  # Names and values fit by the lines above.
        if restrictions is not None:
            for name in ("origins", "networks", "dialects"):
                entries: tuple[str, ...] = getattr(restrictions, name)
                if entries != getattr(record.restrictions, name):
                    details[name] = " ".join(entries)
            changed = replace(changed, restrictions=restrictions)
        if expires_us and (not record.expires_us or expires_us < record.expires_us):
            changed = replace(changed, expires_us=expires_us)
            details["expires_us"] = str(expires_us)
        self._keys[key_id] = changed
        if details:
            self._note(by, "key.update", record.account_id, details, key_id)
        return self._known(key_id)

    async def revoke_key(self, key_id: str, at_us: int, *, by: Author = NOBODY) -> KeyRecord:
        record = self._known(key_id)
        if not record.revoked_us:
            self._keys[key_id] = replace(record, revoked_us=at_us)
            self._note(by, "key.revoke", record.account_id, {}, key_id)
        return self._known(key_id)

    async def rotate_key(
        self, key_id: str, successor: KeyRecord, ends_us: int, *, by: Author = NOBODY
    ) -> KeyRecord:
        record = self._known(key_id)
        self._write_key(successor)
        if not record.expires_us or ends_us < record.expires_us:
            self._keys[key_id] = replace(record, expires_us=ends_us)
        self._note(by, "key.rotate", record.account_id, {"new_key_id": successor.key_id}, key_id)
        return self._known(successor.key_id)

    async def list_keys(self, account_id: str) -> list[KeyRecord]:
        account = self._find(account_id)
        keys = [
            replace(self._known(key_id), used_us=account.used_us.get(key_id, 0)) for key_id in account.key_ids
        ]
        return sorted(keys, key=lambda key: (key.created_us, key.key_id))

    async def reserve(self, reservation: Reservation) -> Held:
        return self._requests.reserve(self._overdue_gone(reservation.account_id), reservation)

    async def commit(
        self, account_id: str, owner_request_id: str, request_id: str, processing_ms: int | None = None
    ) -> Charge:
        account, request = self._settling(account_id, owner_request_id, request_id)
        charged_milli = self._requests.commit(account, request, processing_ms)
        return Charge(charged_milli, sum(account.balances.values()), account.granted)

    async def release(self, account_id: str, owner_request_id: str, request_id: str) -> int:
        account, request = self._settling(account_id, owner_request_id, request_id)
        return self._requests.release(account, request) if request.state == "open" else 0

    async def release_overdue(self) -> int:
        released_count = 0
        for account in self._accounts.values():
            while step_count := self._requests.release_overdue(account):
                released_count += step_count
        return released_count

    async def count_call(self, call: CountedCall) -> RateState:
        account = self._accounts.get(call.account_id)
        if account is None:
            raise refusals.account_not_found(call.account_id)
        return self._requests.count_call(account, call)

    async def rate_state(self, key: KeyRecord, unit: RateUnit, scope: RateScope) -> RateState:
        meter = self._accounts[key.account_id].meter_of(scope, key.key_id)
        return meter.state(unit, self._plans.find(key.plan), self._requests.now_us())

    async def usage(self, account_id: str, first_day: int, last_day: int) -> list[UsageRow]:
        days = self._find(account_id).days
        wanted = [day for day in sorted(days) if first_day <= day <= last_day]
        return [row for day in wanted for row in rows_of(day, days[day])]

    async def audit_events(self, query: AuditQuery) -> list[AuditEvent]:
        found = [
            event
            for event in reversed(self._events)
            if query.account_id in ("", event.account_id)
            and query.start_ms <= event.time_ms < query.end_ms
            and (not query.before_id or _order(event.event_id) < _order(query.before_id))
        ]
        return found[: query.limit]

    def _overdue_gone(self, account_id: str) -> MemoryAccount:
        account = self._accounts.get(account_id)
        if account is None:
            raise refusals.account_not_found(account_id)
        self._requests.release_overdue(account)
        return account

    def _find(self, account_id: str) -> MemoryAccount:
        account = self._overdue_gone(account_id)
        account.renew(self._requests.now_us())
        return account

    def _known(self, key_id: str) -> KeyRecord:
        record = self._keys.get(key_id)
        if record is None:
            raise refusals.key_not_found(key_id)
        account = self._accounts[record.account_id]
        return replace(record, plan=account.plan.name, account_dialect=account.dialect)

    def _write_key(self, record: KeyRecord) -> None:
        account = self._accounts.get(record.account_id)
        if account is None:
            raise refusals.account_not_found(record.account_id)
        account.key_ids.append(record.key_id)
        self._keys[record.key_id] = record

    def _settling(
        self, account_id: str, owner_request_id: str, request_id: str
    ) -> tuple[MemoryAccount, Request]:
        account = self._accounts.get(account_id)
        if account:
            self._requests.release_overdue(account)
            request = self._requests.remembered(account, request_id)
            if request and request.held.owner_request_id == owner_request_id:
                return account, request
        raise refusals.reservation_not_found(f"{account_id}:{owner_request_id}")

    def _note(
        self, by: Author, action: str, account_id: str, details: Mapping[str, str], key_id: str = ""
    ) -> None:
        now_ms = self._requests.now_us() // 1000
        former_ms, former_number = _order(self._events[-1].event_id) if self._events else (0, 0)
        number = former_number + 1 if former_ms == now_ms else 0
        self._events.append(
            AuditEvent(f"{now_ms}-{number}", by.actor, action, account_id, key_id, by.request_id, details)
        )
        while len(self._events) > self._audit_limits.max_events or (
            self._events[0].time_ms < now_ms - self._audit_limits.retention_ms
        ):
            self._events.popleft()


def _order(event_id: str) -> tuple[int, int]:
    milliseconds, _, number = event_id.partition("-")
    return int(milliseconds), int(number)
