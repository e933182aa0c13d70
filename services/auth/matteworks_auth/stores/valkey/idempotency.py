"""First answers in Valkey: one hash a call, forgotten by the server."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis

from matteworks_auth.stores import refusals
from matteworks_auth.stores.idempotency import KEPT_US, MAX_CALLS, CallId
from matteworks_auth.stores.valkey.connection import answering
from matteworks_auth.stores.valkey.session import SCRIPTS, prefix_of
from matteworks_common.clock import Clock


class ValkeyIdempotencyStore:
    """See `IdempotencyStore`; `clock` None: the server's."""

    def __init__(
        self, client: Redis, clock: Clock | None = None, timeout_s: float = 1.0, max_calls: int = MAX_CALLS
    ) -> None:
        self._script = client.register_script((SCRIPTS / "idempotency.lua").read_text())
        self._clock = clock
        self._timeout_s = timeout_s
        self._max_calls = max_calls

    async def begin(self, call: CallId, fingerprint: str, lease_us: int) -> str | None:
        kind, *rest = await self._run("begin", call, fingerprint, lease_us)
        if kind == "other":
            raise refusals.idempotency_key_reused()
        if kind == "running":
            raise refusals.idempotency_key_in_use(rest[0])
        return rest[0] if rest else None

    async def complete(self, call: CallId, answer: str) -> bool:
        return bool((await self._run("complete", call, answer))[0])

    async def abandon(self, call: CallId) -> None:
        await self._run("abandon", call)

    async def _run(self, verb: str, call: CallId, *arguments: str | int) -> Any:
        now_us = round(self._clock.unix_s() * 1e6) if self._clock else 0
        async with answering(self._timeout_s):
            return await self._script(
                [prefix_of(call.account_id)],
                [now_us, KEPT_US, self._max_calls, verb, call.digest, call.lease_id, *arguments],
            )
