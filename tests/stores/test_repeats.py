"""Equal uploads within seconds share one charge; a client that gave up waiting is not charged twice."""

from __future__ import annotations

import pytest

from matteworks_auth.store import AccountStore
from tests.stores.conftest import PLANS
from tests.stores.reservations import hold
from tests.support.clock import ManualClock


@pytest.fixture(autouse=True)
async def account(store: AccountStore) -> None:
    await store.create_account("a", "Anna", PLANS.find("plain"))


async def test_a_repeat_joins_the_first_reservation(store: AccountStore) -> None:
    await hold(store, "r1", fingerprint="f")
    again = await hold(store, "r2", fingerprint="f")
    assert (again.owner_request_id, again.is_repeat) == ("r1", True)
    assert (await store.get_account("a")).held == 1000


async def test_a_repeat_takes_nothing_of_the_rate(store: AccountStore) -> None:
    await hold(store, "r1", fingerprint="f", megapixels=50)
    again = await hold(store, "r2", fingerprint="f", megapixels=50)
    assert again.rate.remaining == 450


async def test_both_commits_charge_once_between_them(store: AccountStore) -> None:
    await hold(store, "r1", fingerprint="f")
    await hold(store, "r2", fingerprint="f")
    assert [await store.commit("a", "r1", r) for r in ("r2", "r1")] == [1000, 0]
    assert (await store.get_account("a")).spent == 1000


async def test_a_repeat_after_the_charge_is_free(store: AccountStore) -> None:
    await hold(store, "r1", fingerprint="f")
    await store.commit("a", "r1", "r1")
    await hold(store, "r2", fingerprint="f")
    assert await store.commit("a", "r1", "r2") == 0


async def test_credits_come_back_when_all_have_given_up(store: AccountStore) -> None:
    await hold(store, "r1", fingerprint="f")
    await hold(store, "r2", fingerprint="f")
    assert await store.release("a", "r1", "r1") == 0
    assert await store.release("a", "r1", "r2") == 1000


async def test_a_repeat_of_a_failed_request_is_charged_anew(store: AccountStore) -> None:
    await hold(store, "r1", fingerprint="f")
    await store.release("a", "r1", "r1")
    again = await hold(store, "r2", fingerprint="f")
    assert (again.owner_request_id, again.is_repeat) == ("r2", False)


async def test_after_the_window_it_is_a_new_request(store: AccountStore, clock: ManualClock) -> None:
    await hold(store, "r1", fingerprint="f")
    await store.commit("a", "r1", "r1")
    clock.advance(30)
    assert not (await hold(store, "r2", fingerprint="f")).is_repeat


async def test_without_a_fingerprint_nothing_is_shared(store: AccountStore) -> None:
    await hold(store, "r1")
    assert not (await hold(store, "r2")).is_repeat
    assert (await store.get_account("a")).held == 2000
