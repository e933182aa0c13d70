"""Rate, quota, concurrency and free calls."""

from __future__ import annotations

import pytest

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_auth.rules.calendar_us import day_of
from matteworks_auth.stores.contract import AccountStore
from matteworks_common.errors import FailedPrecondition, LimitExceeded
from tests.stores.conftest import PLANS
from tests.stores.reservations import FULL, PREVIEW, commit, hold
from tests.support.clock import ManualClock


async def make(store: AccountStore, plan: str) -> None:
    await store.create_account("a", "Anna", PLANS.find(plan))


async def test_each_picture_takes_its_megapixels_of_the_rate(store: AccountStore) -> None:
    await make(store, "plain")
    assert (await hold(store, "r1", megapixels=1)).rate.remaining == 499
    assert (await hold(store, "r2", megapixels=50)).rate.remaining == 449


async def test_the_rate_refuses_what_does_not_fit_and_says_when(
    store: AccountStore, clock: ManualClock
) -> None:
    await make(store, "plain")
    for i in range(10):
        await hold(store, f"fill{i}", PREVIEW, megapixels=50)
    with pytest.raises(LimitExceeded) as caught:
        await hold(store, "r1", megapixels=50)
    assert caught.value.reason == reasons.ERROR_REASON_RATE_LIMIT_EXCEEDED
    assert caught.value.retry_after_s == pytest.approx(6.0)
    clock.advance(6)
    assert (await hold(store, "r2", megapixels=50)).rate.remaining == 0


async def test_a_refusal_takes_nothing_of_the_rate(store: AccountStore) -> None:
    await make(store, "free")
    with pytest.raises(FailedPrecondition):
        await hold(store, "r1", FULL, megapixels=50)
    assert (await store.get_account("a")).rate.remaining == 500


async def test_the_rate_is_free_again_at_its_reset(store: AccountStore, clock: ManualClock) -> None:
    await make(store, "plain")
    held = await hold(store, "r1", megapixels=25)
    clock.advance(held.rate.reset_us / 1e6 - clock.unix_s())
    assert (await store.get_account("a")).rate.remaining == 500


async def test_looking_at_an_account_takes_nothing_of_the_rate(store: AccountStore) -> None:
    await make(store, "plain")
    for _ in range(5):
        assert (await store.get_account("a")).rate.remaining == 500


async def test_open_requests_are_bounded(store: AccountStore) -> None:
    await make(store, "tight")
    await hold(store, "r1")
    await hold(store, "r2")
    with pytest.raises(LimitExceeded) as caught:
        await hold(store, "r3")
    assert caught.value.reason == reasons.ERROR_REASON_CONCURRENCY_LIMIT_EXCEEDED
    await commit(store, "a", "r1", "r1")
    await hold(store, "r4")


async def test_the_daily_quota_ends_at_midnight(store: AccountStore, clock: ManualClock) -> None:
    await make(store, "tight")
    for i in range(3):
        await hold(store, f"r{i}")
        await commit(store, "a", f"r{i}", f"r{i}")
    with pytest.raises(LimitExceeded) as caught:
        await hold(store, "r9")
    assert caught.value.reason == reasons.ERROR_REASON_QUOTA_EXCEEDED
    assert caught.value.retry_after_s is not None
    clock.advance(caught.value.retry_after_s - 1)
    with pytest.raises(LimitExceeded):
        await hold(store, "r10")
    clock.advance(1)
    await hold(store, "r11")


async def test_the_monthly_quota_ends_with_the_month(store: AccountStore, clock: ManualClock) -> None:
    await make(store, "tight")
    for i in range(5):
        await hold(store, f"r{i}")
        await commit(store, "a", f"r{i}", f"r{i}")
        clock.advance(86_400 if i == 2 else 0)
    with pytest.raises(LimitExceeded) as caught:
        await hold(store, "r9")
    assert caught.value.retry_after_s is not None
    clock.advance(caught.value.retry_after_s)
    await hold(store, "r10")


async def test_free_calls_pay_for_previews_until_the_month_ends(
    store: AccountStore, clock: ManualClock
) -> None:
    await make(store, "free")
    for i in range(2):
        held = await hold(store, f"r{i}", PREVIEW)
        assert held.credits_milli == 0
        await commit(store, "a", f"r{i}", f"r{i}")
    assert (await store.get_account("a")).free_calls == 0
    with pytest.raises(FailedPrecondition):
        await hold(store, "r9", PREVIEW)
    clock.advance(32 * 86_400)
    assert (await hold(store, "r10", PREVIEW)).credits_milli == 0


async def test_a_released_free_call_comes_back(store: AccountStore) -> None:
    await make(store, "free")
    await hold(store, "r1", PREVIEW)
    await store.release("a", "r1", "r1")
    assert (await store.get_account("a")).free_calls == 2


async def test_daily_counters_say_what_happened(store: AccountStore, clock: ManualClock) -> None:
    await make(store, "free")
    await store.grant("g", "a", "payg", 2000)
    await hold(store, "r1", FULL, megapixels=4)
    await commit(store, "a", "r1", "r1")
    await hold(store, "r2", FULL)
    await store.release("a", "r2", "r2")
    await hold(store, "r3", PREVIEW)
    await commit(store, "a", "r3", "r3")
    await hold(store, "r4")
    with pytest.raises(FailedPrecondition):
        await hold(store, "r5")
    today = day_of(round(clock.unix_s() * 1e6))
    (row,) = await store.usage("a", today - 3, today)
    usage = row.counts
    assert (usage.committed, usage.released, usage.refused) == (2, 1, 1)
    assert (usage.charged, usage.megapixels, usage.free_calls) == (1000, 5, 1)


async def test_a_change_of_plan_changes_the_limits(store: AccountStore) -> None:
    await make(store, "tight")
    await store.set_plan("a", PLANS.find("plain"))
    for i in range(5):
        await hold(store, f"r{i}")
    assert (await store.get_account("a")).plan == "plain"
