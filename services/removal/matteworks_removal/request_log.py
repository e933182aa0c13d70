"""What became of requests, told to auth after their end: no answer waits for it, and no work fails for it."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import structlog

from matteworks.auth.v1 import request_log_pb2
from matteworks_common.context import CallContext, current_call, new_request_id
from matteworks_common.errors import DeadlineExceeded, MatteworksError, Unavailable
from matteworks_common.stages import Stages

MAX_WAITING: Final = 5000
MAX_AT_ONCE: Final = 200
FLUSH_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 8.0
_LAST_TRY_S: Final = 2.0
# What one record may name; a request of many outputs has more.
_MAX_STAGES: Final = 60
log = structlog.get_logger()


class Recorder(Protocol):
    """What the log needs of `RequestLogClient`."""

    async def record(self, records: Sequence[request_log_pb2.RequestRecord]) -> None:
        """Add requests; a repeat adds nothing."""


class RequestLog:
    """Collects records and sends them together. While auth is away at most MAX_WAITING wait; beyond, the
    oldest are dropped. `count_lost` is told how many were.
    """

    def __init__(
        self, recorder: Recorder, count_lost: Callable[[int], None], *, flush_s: float = FLUSH_S
    ) -> None:
        self._recorder = recorder
        self._count_lost = count_lost
        self._flush_s = flush_s
        self._waiting: deque[request_log_pb2.RequestRecord] = deque()
        self._has_some = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Send from now on."""
        self._task = asyncio.create_task(self._run())

    def note(self, record: request_log_pb2.RequestRecord) -> None:
        """One more request has ended."""
        self._waiting.append(record)
        if len(self._waiting) > MAX_WAITING:
            self._waiting.popleft()
            self._count_lost(1)
        self._has_some.set()

    async def close(self) -> None:
        """Send what waits, if auth takes it now."""
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        with contextlib.suppress(Unavailable, DeadlineExceeded, TimeoutError):
            async with asyncio.timeout(_LAST_TRY_S):
                while self._waiting:
                    await self._send()
        if self._waiting:
            self._count_lost(len(self._waiting))
            self._waiting.clear()

    async def _run(self) -> None:
        pause_s = self._flush_s
        while True:
            await self._has_some.wait()
            await asyncio.sleep(pause_s)
            self._has_some.clear()
            try:
                while self._waiting:
                    await self._send()
                pause_s = self._flush_s
            except (Unavailable, DeadlineExceeded) as error:
                log.warning("requests_unlogged_yet", count=len(self._waiting), reason=error.reason_name)
                pause_s = min(_LONGEST_PAUSE_S, pause_s * 2)
                self._has_some.set()

    async def _send(self) -> None:
        current_call.set(CallContext(new_request_id(), None))
        records = [self._waiting[index] for index in range(min(MAX_AT_ONCE, len(self._waiting)))]
        try:
            await self._recorder.record(records)
        except (Unavailable, DeadlineExceeded):
            raise
        except MatteworksError as error:
            # Auth will not take these later either.
            log.error("requests_unloggable", count=len(records), reason=error.reason_name)
            self._count_lost(len(records))
        for record in records:
            # Some may have been dropped meanwhile, always the oldest.
            if self._waiting and self._waiting[0] is record:
                self._waiting.popleft()


def request_record(
    request_id: str,
    account_id: str,
    key_id: str,
    arrived_s: float,
    duration_s: float,
    stages: Stages,
    **facts: Any,
) -> request_log_pb2.RequestRecord:
    """A record; `arrived_s` in Unix seconds, `facts` are further fields of it."""
    record = request_log_pb2.RequestRecord(
        request_id=request_id,
        account_id=account_id,
        key_id=key_id,
        stages=stages.to_proto()[:_MAX_STAGES],
        **facts,
    )
    record.start_time.FromMicroseconds(round(arrived_s * 1e6))
    record.duration.FromNanoseconds(round(duration_s * 1e9))
    return record
