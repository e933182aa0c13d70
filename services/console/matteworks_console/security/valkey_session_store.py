"""Sessions in Valkey."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, RedisError

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.errors import Unavailable

_PREFIX: Final = "mw:console:"
_TIMEOUT_S: Final = 2.0
# The window begins with the first and is not moved by the others.
_COUNT: Final = """
local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('EXPIRE', KEYS[1], ARGV[1]) end
return count
"""
log = structlog.get_logger()


class ValkeySessionStore:
    """See `SessionStore`. `url` is redis://HOST:PORT/DB."""

    def __init__(self, url: str) -> None:
        self._client = Redis.from_pool(
            BlockingConnectionPool.from_url(
                url,
                max_connections=16,
                timeout=_TIMEOUT_S,
                decode_responses=True,
                socket_timeout=None,
                socket_connect_timeout=_TIMEOUT_S,
                protocol=2,
                # After a restart of the server every pooled connection is dead.
                retry=Retry(NoBackoff(), 1, supported_errors=(ConnectionError,)),
            )
        )
        self._count = self._client.register_script(_COUNT)

    async def put(self, name: str, text: str, time_to_live_s: int) -> None:
        async with _answering():
            await self._client.set(_PREFIX + name, text, ex=time_to_live_s)

    async def get(self, name: str) -> str | None:
        async with _answering():
            text = await self._client.get(_PREFIX + name)
            return None if text is None else str(text)

    async def delete(self, name: str) -> None:
        async with _answering():
            await self._client.delete(_PREFIX + name)

    async def count(self, name: str, window_s: int) -> int:
        async with _answering():
            return int(await self._count(keys=[_PREFIX + name], args=[window_s]))

    async def close(self) -> None:
        await self._client.aclose()


@asynccontextmanager
async def _answering() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            yield
    except (RedisError, OSError, TimeoutError) as error:
        log.warning("session_store_unavailable", error=type(error).__name__)
        raise Unavailable(
            "Sign-ins are not available at the moment. Try again shortly.",
            reason=reasons.ERROR_REASON_STORE_UNAVAILABLE,
        ) from error
