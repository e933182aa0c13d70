"""RequestLogService: what became of an account's latest requests."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any, Final

from matteworks.auth.v1 import request_log_pb2, request_log_pb2_grpc
from matteworks_auth.rules.restrictions import checked_dialect
from matteworks_auth.stores.request_log import LogEntry, RequestLogStore
from matteworks_auth.wire import checked_id
from matteworks_common.clock import Clock
from matteworks_common.errors import InvalidField

MAX_RECORDS: Final = 500
MAX_STAGES: Final = 100
MAX_RECORD_BYTES: Final = 8192
PAGE: Final = 50
MAX_PAGE: Final = 200
FAILED: Final = "failed"
_LONGEST: Final = {"key_id": 64, "route": 64, "outcome": 64, "field": 128, "model": 64}
_PAGE_TOKEN: Final = re.compile(r"([0-9]{1,16})-([0-9]{1,6})")
_EVER_US: Final = 2**53


class RequestLogServicer(request_log_pb2_grpc.RequestLogServiceServicer):
    """Proto in, store call, proto out."""

    def __init__(self, store: RequestLogStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def RecordRequests(
        self, request: request_log_pb2.RecordRequestsRequest, context: Any
    ) -> request_log_pb2.RecordRequestsResponse:
        if not 1 <= len(request.records) <= MAX_RECORDS:
            raise InvalidField("records", f"Give 1 to {MAX_RECORDS} records.")
        now_us = round(self._clock.unix_s() * 1e6)
        by_account: dict[str, list[LogEntry]] = {}
        for record in request.records:
            _check(record)
            # A clock that goes fast must not put its requests before all others.
            time_us = max(0, min(record.start_time.ToMicroseconds(), now_us))
            text = base64.b64encode(record.SerializeToString(deterministic=True)).decode()
            by_account.setdefault(record.account_id, []).append(LogEntry(time_us, text))
        for account_id, entries in by_account.items():
            await self._store.add(account_id, entries)
        return request_log_pb2.RecordRequestsResponse()

    async def ListRequests(
        self, request: request_log_pb2.ListRequestsRequest, context: Any
    ) -> request_log_pb2.ListRequestsResponse:
        account_id = checked_id("account_id", request.account_id)
        if not 0 <= request.page_size <= MAX_PAGE:
            raise InvalidField("page_size", f"Give 1 to {MAX_PAGE}, or 0 for {PAGE}.")
        size = request.page_size or PAGE
        until_us, skip = _EVER_US, 0
        if request.page_token:
            token = _PAGE_TOKEN.fullmatch(request.page_token)
            if not token:
                raise InvalidField("page_token", "Give next_page_token of the page before, or nothing.")
            until_us, skip = int(token[1]), int(token[2])
        response = request_log_pb2.ListRequestsResponse()
        while True:
            entries = await self._store.latest(account_id, until_us, skip, MAX_PAGE)
            for entry in entries:
                record = request_log_pb2.RequestRecord.FromString(base64.b64decode(entry.text))
                if _is_wanted(record, request):
                    if len(response.records) == size:
                        response.next_page_token = f"{until_us}-{skip}"
                        return response
                    response.records.append(record)
                until_us, skip = entry.time_us, skip + 1 if entry.time_us == until_us else 1
            if len(entries) < MAX_PAGE:
                return response


def _is_wanted(record: request_log_pb2.RequestRecord, asked: request_log_pb2.ListRequestsRequest) -> bool:
    is_of_outcome = (
        record.outcome != "ok" if asked.outcome == FAILED else asked.outcome in ("", record.outcome)
    )
    return is_of_outcome and all(
        getattr(asked, name) in ("", getattr(record, name)) for name in ("request_id", "key_id", "dialect")
    )


def _check(record: request_log_pb2.RequestRecord) -> None:
    for field, problem in _problems(record):
        raise InvalidField(f"records.{field}", problem)
    checked_id("records.request_id", record.request_id)
    checked_id("records.account_id", record.account_id)
    checked_dialect("records.dialect", record.dialect)


def _problems(record: request_log_pb2.RequestRecord) -> Iterator[tuple[str, str]]:
    for name, longest in _LONGEST.items():
        if len(getattr(record, name)) > longest:
            yield name, f"Give at most {longest} characters."
    if not record.outcome:
        yield "outcome", "Give ok, or the name of a reason."
    if not record.HasField("start_time"):
        yield "start_time", "Tell when the request arrived."
    if record.charged_credits_milli < 0:
        yield "charged_credits_milli", "Give 0 or more."
    if record.status and not 100 <= record.status <= 599:
        yield "status", "Give an HTTP status, 100 to 599, or 0."
    if len(record.stages) > MAX_STAGES:
        yield "stages", f"Give at most {MAX_STAGES}."
    if record.ByteSize() > MAX_RECORD_BYTES:
        yield "stages", f"Give a record of at most {MAX_RECORD_BYTES} bytes."
