"""Who only looks is told what a reservation would answer, and changes nothing."""

from __future__ import annotations

import pytest

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_auth.stores.contract import AccountStore
from matteworks_common.errors import FailedPrecondition, LimitExceeded
from tests.stores.conftest import PLANS
from tests.stores.reservations import FULL, PREVIEW, commit, hold
from tests.support.clock import ManualClock


@pytest.fixture(autouse=True)
async def account(store: AccountStore) -> None:
    await store.create_account("a", "Anna", PLANS.find("plain"))


async def test_a_look_tells_the_price_and_holds_nothing(store: AccountStore, clock: ManualClock) -> None:
    before = await store.get_account("a")
    seen = await hold(store, "r1", FULL, megapixels=20, is_dry=True)
    assert (seen.credits_milli, seen.price_index, seen.is_repeat) == (1000, 0, False)
    assert await store.get_account("a") == before
    day = int(clock.unix_s() // 86_400)
    assert await store.usage("a", day, day) == []


async def test_after_a_look_the_id_is_free(store: AccountStore) -> None:
    await hold(store, "r1", FULL, is_dry=True)
    held = await hold(store, "r1", PREVIEW)
    assert held.credits_milli == 250


async def test_a_look_is_refused_as_the_reservation_would_be_and_counts_nothing(
    store: AccountStore, clock: ManualClock
) -> None:
    await hold(store, "r1", FULL, megapixels=50)
    spent = await store.get_account("a")
    while spent.rate.remaining >= 50:
        await hold(store, f"more {spent.rate.remaining}", PREVIEW, megapixels=50)
        spent = await store.get_account("a")
    day = int(clock.unix_s() // 86_400)
    counted = await store.usage("a", day, day)
    with pytest.raises(LimitExceeded) as refused:
        await hold(store, "look", FULL, megapixels=50, is_dry=True)
    assert refused.value.reason == reasons.ERROR_REASON_RATE_LIMIT_EXCEEDED
    assert await store.usage("a", day, day) == counted
    assert await store.get_account("a") == spent


async def test_a_look_at_what_cannot_be_paid_is_refused(store: AccountStore) -> None:
    available = (await store.get_account("a")).subscription
    for number in range(available // 1000):
        await hold(store, f"r{number}", FULL)
    with pytest.raises(FailedPrecondition) as refused:
        await hold(store, "look", FULL, is_dry=True)
    assert refused.value.reason == reasons.ERROR_REASON_INSUFFICIENT_CREDITS


async def test_a_look_at_an_equal_upload_costs_nothing(store: AccountStore) -> None:
    await hold(store, "r1", FULL, fingerprint="f")
    await commit(store, "a", "r1", "r1")
    seen = await hold(store, "r2", FULL, fingerprint="f", is_dry=True)
    assert (seen.credits_milli, seen.is_repeat) == (0, True)


async def test_a_look_makes_no_upload_equal(store: AccountStore) -> None:
    await hold(store, "r1", FULL, fingerprint="f", is_dry=True)
    assert not (await hold(store, "r2", FULL, fingerprint="f")).is_repeat
