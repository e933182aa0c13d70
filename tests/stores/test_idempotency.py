"""The first answer again, for a request that is sent twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_auth.stores.idempotency import CallId, IdempotencyStore
from matteworks_auth.stores.memory.idempotency import MemoryIdempotencyStore
from matteworks_auth.stores.valkey.connection import open_valkey
from matteworks_auth.stores.valkey.idempotency import ValkeyIdempotencyStore
from matteworks_common.errors import Conflict, LimitExceeded
from tests.support.clock import ManualClock
from tests.support.valkey import ValkeyProcess

MAX_CALLS = 5
LEASE_US = 60_000_000
FIRST, SECOND = CallId("a", "key", "first"), CallId("a", "key", "second")


@pytest.fixture(params=["memory", "valkey"])
async def calls(
    request: pytest.FixtureRequest, clock: ManualClock, valkey: ValkeyProcess
) -> AsyncIterator[IdempotencyStore]:
    if request.param == "memory":
        yield MemoryIdempotencyStore(clock, MAX_CALLS)
        return
    client = open_valkey(valkey.url, timeout_s=5)
    await client.flushdb()
    yield ValkeyIdempotencyStore(client, clock, 5, MAX_CALLS)
    await client.aclose()


async def test_a_repeat_gets_the_first_answer(calls: IdempotencyStore) -> None:
    assert await calls.begin(FIRST, "f", LEASE_US) is None
    assert await calls.complete(FIRST, "answer")
    assert await calls.begin(SECOND, "f", LEASE_US) == "answer"


async def test_another_request_under_the_same_key_is_refused(calls: IdempotencyStore) -> None:
    await calls.begin(FIRST, "f", LEASE_US)
    for _ in range(2):
        with pytest.raises(Conflict) as caught:
            await calls.begin(SECOND, "other", LEASE_US)
        assert caught.value.reason == reasons.ERROR_REASON_IDEMPOTENCY_KEY_REUSED
        await calls.complete(FIRST, "answer")


async def test_a_repeat_while_the_first_runs_is_told_to_wait(calls: IdempotencyStore) -> None:
    await calls.begin(FIRST, "f", LEASE_US)
    with pytest.raises(LimitExceeded) as caught:
        await calls.begin(SECOND, "f", LEASE_US)
    assert caught.value.reason == reasons.ERROR_REASON_IDEMPOTENCY_KEY_IN_USE
    assert caught.value.retry_after_s is not None
    assert 0 < caught.value.retry_after_s <= 60


async def test_of_many_at_once_one_works(calls: IdempotencyStore) -> None:
    answers = await asyncio.gather(
        *(calls.begin(CallId("a", "key", f"attempt{i}"), "f", LEASE_US) for i in range(30)),
        return_exceptions=True,
    )
    assert [answer for answer in answers if not isinstance(answer, LimitExceeded)] == [None]


async def test_beginning_again_with_the_same_lease_is_safe(calls: IdempotencyStore) -> None:
    assert [await calls.begin(FIRST, "f", LEASE_US) for _ in range(2)] == [None, None]
    assert [await calls.complete(FIRST, "answer") for _ in range(2)] == [True, True]


async def test_keys_of_two_accounts_never_meet(calls: IdempotencyStore) -> None:
    await calls.begin(FIRST, "f", LEASE_US)
    await calls.complete(FIRST, "of a")
    assert await calls.begin(CallId("b", "key", "x"), "other", LEASE_US) is None


async def test_an_abandoned_key_is_free_at_once(calls: IdempotencyStore) -> None:
    await calls.begin(FIRST, "f", LEASE_US)
    await calls.abandon(FIRST)
    assert await calls.begin(SECOND, "other", LEASE_US) is None


async def test_who_does_not_hold_the_key_cannot_answer_or_free_it(calls: IdempotencyStore) -> None:
    await calls.begin(FIRST, "f", LEASE_US)
    await calls.abandon(SECOND)
    assert not await calls.complete(SECOND, "wrong")
    assert await calls.complete(FIRST, "right")
    await calls.abandon(FIRST)
    assert await calls.begin(SECOND, "f", LEASE_US) == "right"


async def test_a_lapsed_lease_passes_on_and_the_late_one_loses(
    calls: IdempotencyStore, clock: ManualClock
) -> None:
    await calls.begin(FIRST, "f", LEASE_US)
    clock.advance(60)
    assert await calls.begin(SECOND, "f", LEASE_US) is None
    assert not await calls.complete(FIRST, "late")
    assert await calls.complete(SECOND, "in time")


async def test_a_late_answer_counts_while_nobody_else_asked(
    calls: IdempotencyStore, clock: ManualClock
) -> None:
    await calls.begin(FIRST, "f", LEASE_US)
    clock.advance(120)
    assert await calls.complete(FIRST, "late")
    assert await calls.begin(SECOND, "f", LEASE_US) == "late"


async def test_an_answer_is_kept_for_a_day(calls: IdempotencyStore, clock: ManualClock) -> None:
    await calls.begin(FIRST, "f", LEASE_US)
    await calls.complete(FIRST, "answer")
    clock.advance(86_399)
    assert await calls.begin(SECOND, "f", LEASE_US) == "answer"
    clock.advance(1)
    assert await calls.begin(SECOND, "other", LEASE_US) is None


async def test_only_so_many_answers_of_an_account_are_kept(
    calls: IdempotencyStore, clock: ManualClock
) -> None:
    ids = [CallId("a", f"key{i}", "first") for i in range(MAX_CALLS + 1)]
    for call in ids:
        await calls.begin(call, "f", LEASE_US)
        await calls.complete(call, "answer")
        clock.advance(1)
    answers = [
        await calls.begin(CallId("a", call.idempotency_key, "second"), "f", LEASE_US) for call in ids[1:]
    ]
    assert answers == ["answer"] * MAX_CALLS
    assert await calls.begin(CallId("a", "key0", "second"), "f", LEASE_US) is None
