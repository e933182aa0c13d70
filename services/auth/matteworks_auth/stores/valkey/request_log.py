"""The latest requests in Valkey: one sorted set an account, by time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

from redis.asyncio import Redis

from matteworks_auth.stores.request_log import LogEntry, LogLimits
from matteworks_auth.stores.valkey.connection import answering
from matteworks_auth.stores.valkey.session import prefix_of
from matteworks_common.clock import Clock


class ValkeyRequestLogStore:
    """See `RequestLogStore`. Times are those of the callers' clocks, so `clock` is this machine's."""

    def __init__(self, client: Redis, clock: Clock, limits: LogLimits, timeout_s: float = 1.0) -> None:
        self._client = client
        self._clock = clock
        self._limits = limits
        self._timeout_s = timeout_s

    async def add(self, account_id: str, entries: Sequence[LogEntry]) -> None:
        name = _name(account_id)
        # An entry is its own name, so a command that the server sees twice changes nothing.
        async with answering(self._timeout_s), self._client.pipeline(transaction=True) as pipeline:
            pipeline.zadd(name, {entry.text: entry.time_us for entry in entries})
            pipeline.zremrangebyscore(name, "-inf", self._oldest_us())
            pipeline.zremrangebyrank(name, 0, -self._limits.max_entries - 1)
            pipeline.pexpire(name, math.ceil(self._limits.retention_us / 1000))
            await pipeline.execute()

    async def latest(self, account_id: str, until_us: int, skip: int, limit: int) -> list[LogEntry]:
        async with answering(self._timeout_s):
            found = await self._client.zrevrangebyscore(
                _name(account_id), until_us, f"({self._oldest_us()}", start=skip, num=limit, withscores=True
            )
        return [LogEntry(int(score), text) for text, score in cast(list[tuple[str, float]], found)]

    def _oldest_us(self) -> int:
        return round(self._clock.unix_s() * 1e6) - self._limits.retention_us


def _name(account_id: str) -> str:
    return f"{prefix_of(account_id)}:latest-requests"
