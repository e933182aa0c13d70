"""How the store talks: bounded in connections and in time, and failing in one way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    ConnectionError,
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    TimeoutError,
    TryAgainError,
)

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.errors import Unavailable

MAX_CONNECTIONS = 32
# What a later attempt may find mended. Other answers of the server are bugs of ours and stay visible.
_PASSING = (
    ConnectionError,
    TimeoutError,
    OSError,
    ReadOnlyError,
    MasterDownError,
    OutOfMemoryError,
    TryAgainError,
)
log = structlog.get_logger()


def open_valkey(url: str, timeout_s: float) -> Redis:
    """A pooled client for `url` (redis://HOST:PORT/DB). Nothing is sent yet.

    A broken connection is replaced and the command sent once more, so each of ours is either a read or
    safe to repeat.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=MAX_CONNECTIONS,
        timeout=timeout_s,
        decode_responses=False,
        socket_timeout=None,
        socket_connect_timeout=timeout_s,
        protocol=2,
        retry=Retry(NoBackoff(), 1, supported_errors=(ConnectionError,)),
    )
    return Redis.from_pool(pool)


@asynccontextmanager
async def answering(timeout_s: float) -> AsyncIterator[None]:
    """Bound the block to `timeout_s`.

    Raises Unavailable (STORE_UNAVAILABLE) when the server is away; its own words stay in the log.
    """
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except _PASSING as error:
        log.warning("store_unavailable", error=type(error).__name__)
        raise Unavailable(
            "The jobs cannot be read right now; nothing was charged.",
            reason=reasons.ERROR_REASON_STORE_UNAVAILABLE,
        ) from error
