"""Which batches have changed: one subscription for all who watch in this process."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from redis.exceptions import RedisError

from matteworks_jobs.stores.session import CHANGES, Session

log = structlog.get_logger()
_RECONNECT_S = 1.0


class ChangeFeed:
    """Wakes watchers. A message may be lost with its connection, so they also look by themselves."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._watchers: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            try:
                async with self._session.client.pubsub() as subscription:
                    await subscription.subscribe(CHANGES)
                    async for message in _messages(subscription):
                        for event in self._watchers.get(message, ()):
                            event.set()
            except (RedisError, OSError) as error:
                log.warning("changes_interrupted", error=type(error).__name__)
            await asyncio.sleep(_RECONNECT_S)

    @contextmanager
    def watching(self, account_id: str, batch_id: str) -> Iterator[asyncio.Event]:
        """An event that is set when the batch changes."""
        name = f"{account_id}/{batch_id}"
        event = asyncio.Event()
        self._watchers[name].add(event)
        try:
            yield event
        finally:
            self._watchers[name].discard(event)
            if not self._watchers[name]:
                del self._watchers[name]


async def _messages(subscription: Any) -> AsyncIterator[str]:
    async for message in subscription.listen():
        if message["type"] == "message":
            yield message["data"].decode()
