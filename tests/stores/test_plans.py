"""What plans promise: requests a minute, free calls a day, credits that are renewed each month."""

from __future__ import annotations

import pytest

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_auth.ledger_check import check
from matteworks_auth.rules.quota import Price
from matteworks_auth.stores.contract import AccountStore, CountedCall
from matteworks_common.errors import FailedPrecondition, LimitExceeded
from tests.stores.conftest import PLANS
from tests.stores.reservations import FULL, commit, hold
from tests.support.clock import ManualClock

FREE = Price(0, is_free_call_eligible=False)
ELIGIBLE = Price(1000, is_free_call_eligible=True)
# The manual clock starts at 2027-01-15 08:00 UTC.
UNTIL_FEBRUARY_S = 16 * 86_400 + 16 * 3600


async def make(store: AccountStore, plan: str) -> None:
    await store.create_account("a", "Anna", PLANS.find(plan))


async def test_a_dialect_that_counts_requests_takes_one_whatever_the_size(store: AccountStore) -> None:
    await make(store, "paced")
    for i in range(3):
        held = await hold(store, f"r{i}", FREE, megapixels=50, rate_unit="requests")
        assert held.rate is not None
        assert (held.rate.unit, held.rate.limit, held.rate.remaining) == ("requests", 3, 2 - i)
    with pytest.raises(LimitExceeded) as caught:
        await hold(store, "r3", FREE, rate_unit="requests")
    assert caught.value.reason == reasons.ERROR_REASON_RATE_LIMIT_EXCEEDED
    assert caught.value.retry_after_s == pytest.approx(20)
    assert caught.value.metadata["rate_unit"] == "requests"
    assert "limit_megapixels" not in caught.value.metadata


async def test_the_two_units_do_not_touch_each_other(store: AccountStore) -> None:
    await make(store, "paced")
    for i in range(3):
        await hold(store, f"r{i}", FREE, megapixels=50, rate_unit="requests")
    held = await hold(store, "r4", FREE, megapixels=50)
    assert held.rate is not None
    assert (held.rate.unit, held.rate.remaining) == ("megapixels", 450)


async def test_what_was_counted_before_takes_nothing(store: AccountStore) -> None:
    await make(store, "metered")
    held = await hold(store, "r1", FREE, megapixels=50, rate_unit="none")
    assert held.rate is None
    assert (await store.get_account("a")).rate.remaining == 500


async def test_keys_that_count_by_themselves_have_rate_and_quota_of_their_own(store: AccountStore) -> None:
    await make(store, "metered")
    for key_id in ("k1", "k2"):
        for i in range(2):
            held = await hold(
                store, f"{key_id}-{i}", FREE, rate_unit="requests", rate_scope="key", key_id=key_id
            )
            await commit(store, "a", held.owner_request_id, f"{key_id}-{i}")
        with pytest.raises(LimitExceeded) as caught:
            await hold(store, f"{key_id}-3", FREE, rate_scope="key", key_id=key_id)
        assert caught.value.metadata["quota"] == "requests_per_day"
    await hold(store, "of-the-account", FREE, rate_unit="requests")


async def test_a_released_request_gives_its_keys_quota_back(store: AccountStore) -> None:
    await make(store, "metered")
    for i in range(5):
        await hold(store, f"r{i}", FREE, rate_scope="key", key_id="k1")
        await store.release("a", f"r{i}", f"r{i}")


async def test_a_call_without_credits_counts_once_for_its_request_id(store: AccountStore) -> None:
    await make(store, "metered")
    states = [await store.count_call(CountedCall(r, "a", "k1")) for r in ("r1", "r1", "r2", "r3")]
    assert [state.remaining for state in states] == [2, 2, 1, 0]
    with pytest.raises(LimitExceeded):
        await store.count_call(CountedCall("r4", "a", "k1"))


async def test_free_calls_of_a_day_come_again_the_next_day(store: AccountStore, clock: ManualClock) -> None:
    await make(store, "daily")
    for i in range(2):
        assert (await hold(store, f"r{i}", ELIGIBLE)).credits_milli == 0
    assert (await store.get_account("a")).free_calls == 0
    with pytest.raises(FailedPrecondition):
        await hold(store, "r2", ELIGIBLE)
    clock.advance(86_400)
    assert (await store.get_account("a")).free_calls == 2


async def test_the_tighter_of_day_and_month_bounds_the_free_calls(
    store: AccountStore, clock: ManualClock
) -> None:
    await make(store, "daily")
    for day in range(2):
        for i in range(2 - day):
            await hold(store, f"r{day}{i}", ELIGIBLE)
            await commit(store, "a", f"r{day}{i}", f"r{day}{i}")
        clock.advance(86_400)
    assert (await store.get_account("a")).free_calls == 0


async def test_a_subscription_is_renewed_when_the_month_begins_and_the_rest_expires(
    store: AccountStore, clock: ManualClock
) -> None:
    await make(store, "monthly")
    await hold(store, "r1")
    await commit(store, "a", "r1", "r1")
    await store.grant("g", "a", "payg", 700)
    clock.advance(UNTIL_FEBRUARY_S - 1)
    assert (await store.get_account("a")).subscription == 4000
    clock.advance(1)
    record = await store.get_account("a")
    assert (record.subscription, record.payg, record.spent, record.expired) == (5000, 700, 1000, 4000)
    assert await check(store) == []


async def test_a_renewal_happens_once_however_often_one_looks(
    store: AccountStore, clock: ManualClock
) -> None:
    await make(store, "monthly")
    clock.advance(UNTIL_FEBRUARY_S)
    await hold(store, "r1")
    for _ in range(3):
        assert (await store.get_account("a")).subscription == 4000


async def test_months_without_a_look_are_not_made_up_for(store: AccountStore, clock: ManualClock) -> None:
    await make(store, "monthly")
    clock.advance(UNTIL_FEBRUARY_S + 100 * 86_400)
    record = await store.get_account("a")
    assert (record.subscription, record.granted) == (5000, 10_000)


async def test_the_first_reservation_of_a_month_finds_the_new_credits(
    store: AccountStore, clock: ManualClock
) -> None:
    await make(store, "monthly")
    for i in range(5):
        await hold(store, f"r{i}")
        await commit(store, "a", f"r{i}", f"r{i}")
    with pytest.raises(FailedPrecondition):
        await hold(store, "late")
    clock.advance(UNTIL_FEBRUARY_S)
    await hold(store, "first")
    assert await check(store) == []


async def test_what_was_held_over_a_renewal_expires_when_it_is_released(
    store: AccountStore, clock: ManualClock
) -> None:
    await make(store, "monthly")
    clock.advance(UNTIL_FEBRUARY_S - 10)
    await hold(store, "r1", ttl_s=600)
    await hold(store, "r2", ttl_s=600)
    clock.advance(20)
    await store.get_account("a")
    assert await store.release("a", "r1", "r1") == 0
    assert await commit(store, "a", "r2", "r2") == 1000
    record = await store.get_account("a")
    assert (record.subscription, record.held, record.spent, record.expired) == (5000, 0, 1000, 4000)
    assert await check(store) == []


async def test_a_plan_without_renewal_keeps_its_credits(store: AccountStore, clock: ManualClock) -> None:
    await make(store, "plain")
    clock.advance(400 * 86_400)
    assert (await store.get_account("a")).subscription == 10_000


async def test_a_better_plan_raises_the_subscription_at_once_and_once(
    store: AccountStore, clock: ManualClock
) -> None:
    await make(store, "free")
    await store.grant("g", "a", "subscription", 1500)
    for _ in range(2):
        record = await store.set_plan("a", PLANS.find("monthly"))
    assert (record.subscription, record.granted, record.expired) == (5000, 5000, 0)
    back = await store.set_plan("a", PLANS.find("free"))
    assert back.subscription == 5000
    clock.advance(UNTIL_FEBRUARY_S)
    assert (await store.get_account("a")).subscription == 5000


async def test_a_plan_with_less_takes_nothing_away(store: AccountStore) -> None:
    await make(store, "plain")
    assert (await store.set_plan("a", PLANS.find("monthly"))).subscription == 10_000


async def test_queued_work_does_not_count_as_in_flight(store: AccountStore) -> None:
    await make(store, "tight")
    await hold(store, "d1", FREE, urgency="deferred")
    await hold(store, "r1", FREE)
    await hold(store, "r2", FREE)
    with pytest.raises(LimitExceeded):
        await hold(store, "r3", FREE)


async def test_queued_work_is_held_for_days_and_given_back_after_its_time(
    store: AccountStore, clock: ManualClock
) -> None:
    await make(store, "plain")
    await hold(store, "d1", FULL, urgency="deferred", ttl_s=2 * 86_400)
    clock.advance(86_400)
    assert await store.release_overdue() == 0
    clock.advance(86_400 + 5)
    assert await store.release_overdue() == 1
    assert (await store.get_account("a")).held == 0
