"""Records wait for auth within bounds, and nobody waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from matteworks.auth.v1 import request_log_pb2
from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.errors import InvalidField, MatteworksError, Unavailable
from matteworks_removal.request_log import MAX_AT_ONCE, MAX_WAITING, RequestLog


class Recorder:
    """Auth, as a test wants it."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.failures: list[MatteworksError] = []
        self.recorded = asyncio.Event()

    async def record(self, records: Sequence[request_log_pb2.RequestRecord]) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.calls.append([record.request_id for record in records])
        self.recorded.set()


def away() -> Unavailable:
    return Unavailable("away", reason=reasons.ERROR_REASON_STORE_UNAVAILABLE)


def noted(log: RequestLog, count: int, start: int = 0) -> None:
    for number in range(start, start + count):
        log.note(request_log_pb2.RequestRecord(request_id=f"r{number}"))


async def test_what_ends_close_together_is_sent_together_and_in_parts_of_a_bounded_size() -> None:
    recorder, lost = Recorder(), list[int]()
    log = RequestLog(recorder, lost.append, flush_s=0.01)
    log.start()
    noted(log, MAX_AT_ONCE + 5)
    async with asyncio.timeout(5):
        while sum(map(len, recorder.calls)) < MAX_AT_ONCE + 5:
            recorder.recorded.clear()
            await recorder.recorded.wait()
    await log.close()

    assert [len(call) for call in recorder.calls] == [MAX_AT_ONCE, 5]
    assert lost == []


async def test_what_auth_could_not_take_is_sent_when_it_is_back() -> None:
    recorder, lost = Recorder(), list[int]()
    recorder.failures = [away(), away()]
    log = RequestLog(recorder, lost.append, flush_s=0.01)
    log.start()
    noted(log, 3)
    async with asyncio.timeout(5):
        await recorder.recorded.wait()
    await log.close()

    assert recorder.calls == [["r0", "r1", "r2"]]
    assert lost == []


async def test_while_auth_is_away_the_oldest_are_dropped_and_counted() -> None:
    recorder, lost = Recorder(), list[int]()
    log = RequestLog(recorder, lost.append)
    noted(log, MAX_WAITING + 7)
    assert sum(lost) == 7
    await log.close()

    assert recorder.calls[0][0] == "r7"
    assert sum(map(len, recorder.calls)) == MAX_WAITING


async def test_a_record_that_auth_never_takes_does_not_hold_up_others() -> None:
    recorder, lost, is_lost = Recorder(), list[int](), asyncio.Event()
    recorder.failures = [InvalidField("records", "No.")]

    def count_lost(count: int) -> None:
        lost.append(count)
        is_lost.set()

    log = RequestLog(recorder, count_lost, flush_s=0.01)
    log.start()
    noted(log, 2)
    async with asyncio.timeout(5):
        await is_lost.wait()
        noted(log, 1, start=2)
        await recorder.recorded.wait()
    await log.close()

    assert lost == [2]
    assert recorder.calls == [["r2"]]


async def test_what_waits_when_the_process_ends_is_sent_or_counted() -> None:
    recorder, lost = Recorder(), list[int]()
    recorder.failures = [away()]
    log = RequestLog(recorder, lost.append)
    log.start()
    noted(log, 4)
    await log.close()

    assert lost == [4]
