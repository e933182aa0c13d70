"""Equal uploads within seconds share one charge; a client that gave up waiting is not charged twice."""

from __future__ import annotations

import pytest

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_auth.stores.contract import AccountStore
from matteworks_common.errors import FailedPrecondition, LimitExceeded
from tests.stores.conftest import PLANS, RECORD_TTL_US
from tests.stores.reservations import FULL, PREVIEW, commit, hold
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
    assert [await commit(store, "a", "r1", r) for r in ("r2", "r1")] == [1000, 0]
    assert (await store.get_account("a")).spent == 1000


async def test_a_repeat_after_the_charge_is_free(store: AccountStore) -> None:
    await hold(store, "r1", fingerprint="f")
    await commit(store, "a", "r1", "r1")
    await hold(store, "r2", fingerprint="f")
    assert await commit(store, "a", "r1", "r2") == 0


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
    await commit(store, "a", "r1", "r1")
    clock.advance(30)
    assert not (await hold(store, "r2", fingerprint="f")).is_repeat


async def test_without_a_fingerprint_nothing_is_shared(store: AccountStore) -> None:
    await hold(store, "r1")
    assert not (await hold(store, "r2")).is_repeat
    assert (await store.get_account("a")).held == 2000


async def test_another_price_is_another_request(store: AccountStore) -> None:
    """Who paid for a preview must not get the full size for it."""
    await hold(store, "r1", PREVIEW, fingerprint="f")
    full = await hold(store, "r2", FULL, fingerprint="f")
    assert (full.is_repeat, full.credits_milli) == (False, 1000)


async def test_a_repeat_that_was_released_cannot_be_charged(store: AccountStore) -> None:
    await hold(store, "r1", fingerprint="f")
    await hold(store, "r2", fingerprint="f")
    await store.release("a", "r1", "r2")
    with pytest.raises(FailedPrecondition) as caught:
        await commit(store, "a", "r1", "r2")
    assert caught.value.reason == reasons.ERROR_REASON_RESERVATION_RELEASED
    assert await commit(store, "a", "r1", "r1") == 1000


async def test_a_repeat_stays_charged_although_the_first_gives_up(store: AccountStore) -> None:
    await hold(store, "r1", fingerprint="f")
    await hold(store, "r2", fingerprint="f")
    await store.release("a", "r1", "r1")
    assert await commit(store, "a", "r1", "r2") == 1000


async def test_each_commit_tells_again_what_it_told_first(store: AccountStore) -> None:
    await hold(store, "r1", fingerprint="f")
    await hold(store, "r2", fingerprint="f")
    assert [await commit(store, "a", "r1", r) for r in ("r1", "r2", "r1", "r2")] == [1000, 0, 1000, 0]


async def test_repeats_count_as_open_requests(store: AccountStore) -> None:
    """They run, so they must not get around the limit of requests at once."""
    await store.set_plan("a", PLANS.find("tight"))
    await hold(store, "r1", fingerprint="f")
    await hold(store, "r2", fingerprint="f")
    with pytest.raises(LimitExceeded) as caught:
        await hold(store, "r3", fingerprint="f")
    assert caught.value.reason == reasons.ERROR_REASON_CONCURRENCY_LIMIT_EXCEEDED


async def test_a_repeat_passes_when_the_rate_is_used_up(store: AccountStore) -> None:
    for i in range(10):
        await hold(store, f"r{i}", PREVIEW, megapixels=50, fingerprint=f"f{i}")
    assert (await hold(store, "again", PREVIEW, megapixels=50, fingerprint="f9")).is_repeat


async def test_a_repeat_keeps_the_first_one_remembered(store: AccountStore, clock: ManualClock) -> None:
    await hold(store, "r1", fingerprint="f")
    await commit(store, "a", "r1", "r1")
    clock.advance(29)
    await hold(store, "r2", fingerprint="f", ttl_s=2 * RECORD_TTL_US / 1e6)
    clock.advance(RECORD_TTL_US / 1e6 - 1)
    assert await commit(store, "a", "r1", "r2") == 0
    assert await commit(store, "a", "r1", "r1") == 1000


async def test_abandoned_members_give_the_charge_back_together(
    store: AccountStore, clock: ManualClock
) -> None:
    await hold(store, "r1", fingerprint="f", ttl_s=20)
    await hold(store, "r2", fingerprint="f", ttl_s=40)
    clock.advance(20)
    assert (await store.get_account("a")).held == 1000
    clock.advance(20)
    assert (await store.get_account("a")).held == 0


async def test_accounts_share_nothing(store: AccountStore) -> None:
    await store.create_account("b", "Ben", PLANS.find("plain"))
    await hold(store, "r1", fingerprint="f")
    other = await hold(store, "r2", fingerprint="f", account_id="b")
    assert not other.is_repeat
