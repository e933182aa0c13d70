"""What a request id stands for, how long it is remembered, and what a refusal leaves behind."""

from __future__ import annotations

import asyncio

import pytest

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_auth.rules.calendar_us import day_of
from matteworks_auth.rules.quota import Price
from matteworks_auth.stores.contract import AccountStore, Reservation
from matteworks_common.errors import (
    Conflict,
    FailedPrecondition,
    InvalidField,
    LimitExceeded,
    NotFound,
)
from tests.stores.conftest import MAX_SETTLED, PLANS, RECORD_TTL_US
from tests.stores.reservations import FULL, PREVIEW, commit, hold
from tests.support.clock import ManualClock


@pytest.fixture(autouse=True)
async def account(store: AccountStore) -> None:
    await store.create_account("a", "Anna", PLANS.find("plain"))


async def test_twenty_at_once_under_one_id_hold_once(store: AccountStore) -> None:
    """T10: one run, one charge, the same answer for all."""
    answers = await asyncio.gather(*(hold(store, "r1", megapixels=7) for _ in range(20)))
    assert set(answers) == {answers[0]}
    record = await store.get_account("a")
    assert (record.held, record.rate.remaining) == (1000, 493)


async def test_a_repeat_gets_the_first_answer_although_the_balance_is_gone(store: AccountStore) -> None:
    first = await hold(store, "r1")
    for i in range(9):
        await hold(store, f"drain{i}")
    assert await hold(store, "r1") == first


async def test_a_refused_request_may_come_again_under_its_id(store: AccountStore) -> None:
    with pytest.raises(FailedPrecondition):
        await hold(store, "r1", Price(20_000, is_free_call_eligible=False))
    await store.grant("g", "a", "payg", 10_000)
    assert (await hold(store, "r1", Price(20_000, is_free_call_eligible=False))).credits_milli == 20_000


async def test_a_settled_id_is_new_again_after_its_time(store: AccountStore, clock: ManualClock) -> None:
    """T10, last part."""
    await hold(store, "r1")
    await commit(store, "a", "r1", "r1")
    clock.advance(RECORD_TTL_US / 1e6 - 1)
    assert await commit(store, "a", "r1", "r1") == 1000
    clock.advance(1)
    with pytest.raises(NotFound):
        await commit(store, "a", "r1", "r1")
    await hold(store, "r1")
    assert (await store.get_account("a")).held == 1000


async def test_only_so_many_settled_ids_are_remembered(store: AccountStore) -> None:
    test_key = Price(0, is_free_call_eligible=False)
    for i in range(MAX_SETTLED + 1):
        await hold(store, f"r{i}", test_key)
        await store.release("a", f"r{i}", f"r{i}")
    with pytest.raises(NotFound):
        await store.release("a", "r0", "r0")
    assert await store.release("a", "r1", "r1") == 0


async def test_an_open_request_is_never_forgotten(store: AccountStore) -> None:
    test_key = Price(0, is_free_call_eligible=False)
    await hold(store, "held")
    for i in range(MAX_SETTLED + 5):
        await hold(store, f"r{i}", test_key)
        await store.release("a", f"r{i}", f"r{i}")
    assert await commit(store, "a", "held", "held") == 1000


async def test_ids_of_two_accounts_are_apart(store: AccountStore) -> None:
    await store.create_account("b", "Ben", PLANS.find("plain"))
    await hold(store, "r1")
    with pytest.raises(NotFound):
        await commit(store, "b", "r1", "r1")
    other = Reservation("r1", "b", "k", (PREVIEW,), 1, "", 60_000_000)
    assert (await store.reserve(other)).credits_milli == 250


async def test_a_request_is_settled_under_its_own_reservation_only(store: AccountStore) -> None:
    await hold(store, "r1")
    await hold(store, "r2")
    with pytest.raises(NotFound):
        await commit(store, "a", "r1", "r2")


async def test_an_unknown_account_holds_nothing(store: AccountStore) -> None:
    with pytest.raises(NotFound) as caught:
        await store.reserve(Reservation("r1", "nobody", "k", (FULL,), 1, "", 60_000_000))
    assert caught.value.reason == reasons.ERROR_REASON_ACCOUNT_NOT_FOUND


async def test_a_test_key_reserves_nothing_but_counts_in_the_rate(store: AccountStore) -> None:
    held = await hold(store, "r1", Price(0, is_free_call_eligible=False), megapixels=3)
    assert (held.credits_milli, held.rate.remaining) == (0, 497)
    assert await commit(store, "a", "r1", "r1") == 0


async def test_the_rate_is_checked_before_the_balance(store: AccountStore) -> None:
    for i in range(10):
        await hold(store, f"fill{i}", PREVIEW, megapixels=50)
    with pytest.raises(LimitExceeded) as caught:
        await hold(store, "r1", Price(10**9, is_free_call_eligible=False))
    assert caught.value.reason == reasons.ERROR_REASON_RATE_LIMIT_EXCEEDED


async def test_the_quota_is_checked_before_the_concurrency(store: AccountStore) -> None:
    await store.set_plan("a", PLANS.find("tight"))
    await hold(store, "r0")
    await commit(store, "a", "r0", "r0")
    for i in (1, 2):
        await hold(store, f"r{i}")
    with pytest.raises(LimitExceeded) as caught:
        await hold(store, "r3")
    assert caught.value.reason == reasons.ERROR_REASON_QUOTA_EXCEEDED
    assert caught.value.metadata["quota"] == "requests_per_day"


async def test_a_released_request_gives_its_quota_back(store: AccountStore) -> None:
    await store.set_plan("a", PLANS.find("tight"))
    for i in range(10):
        await hold(store, f"r{i}")
        await store.release("a", f"r{i}", f"r{i}")
    await hold(store, "r10")


async def test_a_free_call_comes_back_only_in_its_own_month(store: AccountStore, clock: ManualClock) -> None:
    await store.set_plan("a", PLANS.find("free"))
    await hold(store, "old", PREVIEW, ttl_s=600)
    # From 2027-01-15 08:00 to the last minute of the month and over it.
    clock.advance(16 * 86_400 + 15 * 3600 + 59 * 60)
    await store.release_overdue()
    await hold(store, "last", PREVIEW, ttl_s=600)
    clock.advance(120)
    await hold(store, "new", PREVIEW)
    await store.release("a", "last", "last")
    assert (await store.get_account("a")).free_calls == 1


async def test_only_hundred_overdue_requests_are_given_back_in_one_step(
    store: AccountStore, clock: ManualClock
) -> None:
    """So that no single step of the store takes long; the sweeper takes as many steps as it needs."""
    free = Price(0, is_free_call_eligible=False)
    for i in range(250):
        await hold(store, f"r{i:03}", free, ttl_s=60)
    clock.advance(65)
    assert await store.release_overdue() == 250
    today = day_of(round(clock.unix_s() * 1e6))
    (row,) = await store.usage("a", today, today)
    assert row.counts.released == 250


async def test_a_grant_under_a_used_id_with_another_amount_is_refused(store: AccountStore) -> None:
    await store.grant("g1", "a", "payg", 500)
    with pytest.raises(Conflict) as caught:
        await store.grant("g1", "a", "payg", 501)
    assert caught.value.reason == reasons.ERROR_REASON_REQUEST_ID_REUSED


async def test_grants_end_where_sums_would_no_longer_be_exact(store: AccountStore) -> None:
    for i in range(9):
        await store.grant(f"g{i}", "a", "enterprise", 10**15)
    with pytest.raises(InvalidField):
        await store.grant("g9", "a", "enterprise", 10**15)
    assert (await store.get_account("a")).enterprise == 9 * 10**15


async def test_large_amounts_stay_exact(store: AccountStore) -> None:
    await store.grant("g", "a", "enterprise", 10**15 - 1)
    price = Price(10**15 - 7, is_free_call_eligible=False)
    assert (await hold(store, "r1", price)).credits_milli == 10**15 - 7
    assert (await store.get_account("a")).held == 10**15 - 7
    assert await commit(store, "a", "r1", "r1") == 10**15 - 7
    assert (await store.get_account("a")).spent == 10**15 - 7
