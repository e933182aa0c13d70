"""What every part of the Valkey store shares: the client, the scripts, the clock and the names."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from redis.asyncio import Redis

from matteworks_auth.rules.plans import Plans
from matteworks_auth.stores.contract import DEFAULT_MAX_SETTLED, AuditLimits, Author
from matteworks_auth.stores.valkey.connection import answering
from matteworks_common.clock import Clock, SystemClock

AUDIT_KEY = "mw:audit"
ACCOUNTS_KEY = "mw:account-ids"
DUE_KEY = "mw:due"
MEMO_ENTRIES = 10_000
SCRIPTS = files("matteworks_auth") / "stores/valkey/scripts"
# Each script, and what stands in front of it.
_PARTS = {
    "reserve": ("common", "records", "reserve"),
    "settle": ("common", "records", "settle"),
    "sweep": ("common", "records", "sweep"),
    "count_call": ("common", "count_call"),
    "account": ("common", "records", "audit", "account"),
    "key": ("common", "audit", "key"),
}


class ValkeySession:
    """`timeout_s` bounds each step, whatever fails; `clock` None: the server's. For the rest see
    `MemoryAccountStore`.
    """

    def __init__(
        self,
        client: Redis,
        plans: Plans,
        repeat_window_us: int,
        record_ttl_us: int,
        clock: Clock | None = None,
        max_settled: int = DEFAULT_MAX_SETTLED,
        timeout_s: float = 1.0,
        audit_limits: AuditLimits | None = None,
    ) -> None:
        self._client = client
        self._plans = plans
        self._repeat_window_us = repeat_window_us
        self._record_ttl_us = record_ttl_us
        self._clock = clock
        self._local_clock: Clock = clock or SystemClock()
        self._max_settled = max_settled
        self._timeout_s = timeout_s
        self._audit_limits = audit_limits or AuditLimits()
        self._monthly = json.dumps(plans.monthly_credits_milli())
        self._scripts = {
            name: client.register_script("\n".join((SCRIPTS / f"{part}.lua").read_text() for part in parts))
            for name, parts in _PARTS.items()
        }
        # The plan that each account had when last seen: sent along, checked by the script.
        self._seen_plans: OrderedDict[str, str] = OrderedDict()

    async def ping(self) -> None:
        async with answering(self._timeout_s):
            await self._client.ping()

    async def close(self) -> None:
        await self._client.aclose()
        await self._client.connection_pool.disconnect()

    async def _run(self, script: str, keys: Sequence[str], *arguments: str | int) -> Any:
        """The reply of a script; `arguments` follow the common ones."""
        now_us = round(self._clock.unix_s() * 1e6) if self._clock else 0
        common = [now_us, self._record_ttl_us, self._max_settled]
        async with answering(self._timeout_s):
            return await self._scripts[script](list(keys), [*common, *arguments])

    def _authorship(self, by: Author) -> list[str | int]:
        """What audit.lua asks for."""
        limits = self._audit_limits
        return [by.actor, by.request_id, limits.max_events, limits.retention_ms]


def prefix_of(account_id: str) -> str:
    """In front of every key of the account; the braces keep them in one slot of a cluster."""
    return f"mw:{{{account_id}}}"


def remember(memo: OrderedDict[str, Any], name: str, value: Any) -> None:
    """Keep the latest MEMO_ENTRIES."""
    memo[name] = value
    memo.move_to_end(name)
    if len(memo) > MEMO_ENTRIES:
        memo.popitem(last=False)
