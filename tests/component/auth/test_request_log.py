"""What became of requests, over gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from matteworks.auth.v1 import request_log_pb2
from matteworks_common.channels import call
from matteworks_common.errors import InvalidField
from tests.component.auth.harness import Auth, serving
from tests.support.clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def auth(clock: ManualClock) -> AsyncIterator[Auth]:
    async with serving(clock=clock) as running:
        yield running


def record(number: int, clock: ManualClock, **more: Any) -> request_log_pb2.RequestRecord:
    made = request_log_pb2.RequestRecord(
        **{"request_id": f"r{number}", "account_id": "a", "key_id": "k", "dialect": "removebg",
           "route": "removebg", "status": 200, "outcome": "ok", **more}
    )  # fmt: skip
    made.start_time.FromMicroseconds(round(clock.unix_s() * 1e6) - 1_000_000 + number // 2)
    return made


async def add(auth: Auth, *records: request_log_pb2.RequestRecord) -> None:
    request = request_log_pb2.RecordRequestsRequest(records=records)
    await call(auth.log.RecordRequests, request, timeout_s=5)


async def listed(auth: Auth, **asked: Any) -> request_log_pb2.ListRequestsResponse:
    request = request_log_pb2.ListRequestsRequest(**{"account_id": "a", **asked})
    return await call(auth.log.ListRequests, request, timeout_s=5)


async def ids(auth: Auth, **asked: Any) -> list[str]:
    return [found.request_id for found in (await listed(auth, **asked)).records]


async def test_a_request_comes_back_as_it_was_told(auth: Auth, clock: ManualClock) -> None:
    told = record(1, clock, field="size", charged_credits_milli=250, model="isnet")
    told.duration.FromMilliseconds(420)
    told.stages.add(stage="render.queue").duration.FromMilliseconds(3)
    await add(auth, told)
    await add(auth, told)

    assert list((await listed(auth)).records) == [told]


async def test_pages_together_are_all_of_them_once(auth: Auth, clock: ManualClock) -> None:
    """Two of each time, so that pages end between equal ones."""
    await add(auth, *(record(number, clock) for number in range(401)))
    found: list[str] = []
    token = ""
    while True:
        page = await listed(auth, page_size=37, page_token=token)
        found += [one.request_id for one in page.records]
        token = page.next_page_token
        if not token:
            break

    assert sorted(found) == sorted(f"r{number}" for number in range(401))
    assert found[0] == "r400"


async def test_requests_are_found_by_what_they_are(auth: Auth, clock: ManualClock) -> None:
    await add(
        auth,
        record(2, clock),
        record(4, clock, key_id="other"),
        record(6, clock, dialect="photoroom"),
        record(8, clock, outcome="RATE_LIMIT_EXCEEDED", status=429),
    )

    assert await ids(auth, request_id="r4") == ["r4"]
    assert await ids(auth, key_id="other") == ["r4"]
    assert await ids(auth, dialect="photoroom") == ["r6"]
    assert await ids(auth, outcome="failed") == ["r8"]
    assert await ids(auth, outcome="RATE_LIMIT_EXCEEDED") == ["r8"]
    assert await ids(auth, outcome="ok") == ["r6", "r4", "r2"]
    assert await ids(auth, account_id="b") == []


async def test_a_clock_that_goes_fast_does_not_put_its_requests_first_for_ever(
    auth: Auth, clock: ManualClock
) -> None:
    early = record(0, clock)
    early.start_time.FromMicroseconds(round(clock.unix_s() * 1e6) + 3_600_000_000)
    await add(auth, early)
    clock.advance(2)
    await add(auth, record(1, clock))

    assert await ids(auth) == ["r1", "r0"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("request_id", ""),
        ("account_id", "x" * 129),
        ("key_id", "x" * 65),
        ("dialect", "NOT A NAME"),
        ("outcome", ""),
        ("status", 42),
        ("charged_credits_milli", -1),
        ("model", "x" * 65),
    ],
)
async def test_a_record_that_is_none_is_refused_and_named(
    auth: Auth, clock: ManualClock, field: str, value: Any
) -> None:
    with pytest.raises(InvalidField) as caught:
        await add(auth, record(1, clock), record(2, clock, **{field: value}))

    assert caught.value.field == f"records.{field}"
    assert await ids(auth) == []


async def test_what_is_too_much_is_refused(auth: Auth, clock: ManualClock) -> None:
    many_stages = record(1, clock)
    for _ in range(101):
        many_stages.stages.add(stage="x")
    for records in ([], [record(1, clock)] * 501, [many_stages]):
        with pytest.raises(InvalidField):
            await add(auth, *records)


@pytest.mark.parametrize("token", ["x", "1", "1-2-3", "-1-2", "9" * 30 + "-1"])
async def test_a_page_that_nobody_gave_is_refused(auth: Auth, token: str) -> None:
    with pytest.raises(InvalidField) as caught:
        await ids(auth, page_token=token)

    assert caught.value.field == "page_token"
