"""Credits are held, charged once, given back once, and never made or lost."""

from __future__ import annotations

import asyncio

import pytest

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_auth.ledger_check import check, drift_milli
from matteworks_auth.stores.contract import AccountStore
from matteworks_common.errors import Conflict, FailedPrecondition, NotFound
from tests.stores.conftest import PLANS
from tests.stores.reservations import FULL, PREVIEW, commit, hold
from tests.support.clock import ManualClock


@pytest.fixture(autouse=True)
async def account(store: AccountStore) -> None:
    await store.create_account("a", "Anna", PLANS.find("plain"))


async def test_a_reservation_moves_credits_from_balance_to_held(store: AccountStore) -> None:
    held = await hold(store, "r1")
    record = await store.get_account("a")
    assert (held.credits_milli, held.price_index, held.is_repeat) == (1000, 0, False)
    assert (record.subscription, record.held, record.spent) == (9000, 1000, 0)


async def test_a_commit_charges_once_however_often_it_is_sent(store: AccountStore) -> None:
    await hold(store, "r1")
    assert [await commit(store, "a", "r1", "r1") for _ in range(3)] == [1000, 1000, 1000]
    record = await store.get_account("a")
    assert (record.subscription, record.held, record.spent) == (9000, 0, 1000)


async def test_a_commit_tells_what_is_left_and_what_was_ever_given(store: AccountStore) -> None:
    await hold(store, "r1")
    await hold(store, "r2")
    charge = await store.commit("a", "r1", "r1")
    assert (charge.charged_milli, charge.available_milli, charge.granted_milli) == (1000, 8000, 10_000)
    await store.grant("g", "a", "payg", 5000)
    charge = await store.commit("a", "r2", "r2")
    assert (charge.charged_milli, charge.available_milli, charge.granted_milli) == (1000, 13_000, 15_000)


async def test_a_release_gives_back_once(store: AccountStore) -> None:
    await hold(store, "r1")
    assert [await store.release("a", "r1", "r1") for _ in range(2)] == [1000, 0]
    record = await store.get_account("a")
    assert (record.subscription, record.held, record.spent) == (10_000, 0, 0)


async def test_a_release_after_a_commit_changes_nothing(store: AccountStore) -> None:
    await hold(store, "r1")
    await commit(store, "a", "r1", "r1")
    assert await store.release("a", "r1", "r1") == 0
    assert (await store.get_account("a")).spent == 1000


async def test_a_released_reservation_cannot_be_charged(store: AccountStore) -> None:
    await hold(store, "r1")
    await store.release("a", "r1", "r1")
    with pytest.raises(FailedPrecondition) as caught:
        await commit(store, "a", "r1", "r1")
    assert caught.value.reason == reasons.ERROR_REASON_RESERVATION_RELEASED


async def test_a_repeated_reserve_gets_the_first_answer(store: AccountStore) -> None:
    first = await hold(store, "r1")
    assert await hold(store, "r1") == first
    assert (await store.get_account("a")).held == 1000


async def test_a_request_id_with_other_parameters_is_refused(store: AccountStore) -> None:
    await hold(store, "r1")
    with pytest.raises(Conflict) as caught:
        await hold(store, "r1", megapixels=2)
    assert caught.value.reason == reasons.ERROR_REASON_REQUEST_ID_REUSED


async def test_settling_what_was_never_reserved_is_not_found(store: AccountStore) -> None:
    for settle in (store.commit, store.release):
        with pytest.raises(NotFound) as caught:
            await settle("a", "nothing", "nothing")
        assert caught.value.reason == reasons.ERROR_REASON_RESERVATION_NOT_FOUND


async def test_fifty_at_once_on_a_balance_of_one_get_one(store: AccountStore) -> None:
    """T11: never negative, exactly one passes."""
    await asyncio.gather(*(hold(store, f"drain{i}") for i in range(9)))
    answers = await asyncio.gather(*(hold(store, f"r{i}") for i in range(50)), return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, FailedPrecondition)]
    assert len(refused) == 49
    assert {error.reason for error in refused} == {reasons.ERROR_REASON_INSUFFICIENT_CREDITS}
    assert (await store.get_account("a")).subscription == 0


async def test_the_first_price_that_is_covered_is_taken(store: AccountStore) -> None:
    for i in range(9):
        await hold(store, f"drain{i}")
    await hold(store, "drain-preview", PREVIEW)
    held = await hold(store, "r1", FULL, PREVIEW)
    assert (held.price_index, held.credits_milli) == (1, 250)


async def test_balances_are_spent_in_order_and_given_back_where_they_came_from(store: AccountStore) -> None:
    await store.grant("g1", "a", "payg", 700)
    await store.grant("g2", "a", "enterprise", 5000)
    for i in range(9):
        await hold(store, f"drain{i}")
    await hold(store, "drain", PREVIEW, PREVIEW)
    await hold(store, "r1", FULL)
    spending = await store.get_account("a")
    assert (spending.subscription, spending.payg, spending.enterprise) == (0, 450, 5000)
    await store.release("a", "r1", "r1")
    back = await store.get_account("a")
    assert (back.subscription, back.payg, back.enterprise) == (750, 700, 5000)


async def test_a_grant_counts_once(store: AccountStore) -> None:
    for _ in range(2):
        record = await store.grant("g1", "a", "payg", 500)
    assert (record.payg, record.granted) == (500, 10_500)


async def test_an_abandoned_reservation_comes_back_after_its_time(
    store: AccountStore, clock: ManualClock
) -> None:
    await hold(store, "r1", ttl_s=60)
    clock.advance(59)
    assert await store.release_overdue() == 0
    clock.advance(1)
    assert await store.release_overdue() == 1
    assert await store.release_overdue() == 0
    assert (await store.get_account("a")).subscription == 10_000


async def test_any_look_at_an_account_gives_overdue_credits_back(
    store: AccountStore, clock: ManualClock
) -> None:
    await hold(store, "r1", ttl_s=60)
    clock.advance(61)
    assert (await store.get_account("a")).held == 0


async def test_what_came_back_by_time_cannot_be_charged(store: AccountStore, clock: ManualClock) -> None:
    await hold(store, "r1", ttl_s=60)
    clock.advance(61)
    with pytest.raises(FailedPrecondition):
        await commit(store, "a", "r1", "r1")


async def test_the_ledger_check_finds_no_drift_and_sees_one(store: AccountStore) -> None:
    await hold(store, "r1")
    await hold(store, "r2")
    await commit(store, "a", "r1", "r1")
    assert await check(store) == []
    record = await store.get_account("a")
    object.__setattr__(record, "granted", record.granted + 1)
    assert drift_milli(record) == -1


async def test_an_account_can_be_made_once(store: AccountStore) -> None:
    with pytest.raises(Conflict):
        await store.create_account("a", "Again", PLANS.find("plain"))


async def test_an_unknown_account_is_not_found(store: AccountStore) -> None:
    with pytest.raises(NotFound):
        await store.get_account("nobody")
