"""Counters by day, key, dialect and outcome."""

from __future__ import annotations

import pytest

from matteworks_auth.rules.calendar_us import day_of
from matteworks_auth.rules.quota import Price
from matteworks_auth.rules.usage import MAX_FIELDS_A_DAY, UsageCounts, UsageRow, sum_by_day
from matteworks_auth.stores.contract import AccountStore, CountedCall
from matteworks_common.errors import FailedPrecondition, LimitExceeded
from tests.stores.conftest import PLANS
from tests.stores.reservations import hold
from tests.stores.test_keys import record
from tests.support.clock import ManualClock

FREE = Price(0, is_free_call_eligible=False)


async def rows(store: AccountStore, clock: ManualClock) -> list[UsageRow]:
    today = day_of(round(clock.unix_s() * 1e6))
    return await store.usage("a", today - 30, today)


async def test_each_key_and_dialect_has_counters_of_its_own(store: AccountStore, clock: ManualClock) -> None:
    await store.create_account("a", "", PLANS.find("plain"))
    for key_id, dialect, megapixels in (("k1", "removebg", 3), ("k1", "bgremover", 1), ("k2", "removebg", 2)):
        request_id = f"{key_id}-{dialect}"
        await hold(store, request_id, key_id=key_id, dialect=dialect, megapixels=megapixels)
        await store.commit("a", request_id, request_id)
    found = {(row.key_id, row.dialect): row.counts for row in await rows(store, clock)}
    assert {name: counts.megapixels for name, counts in found.items()} == {
        ("k1", "bgremover"): 1,
        ("k1", "removebg"): 3,
        ("k2", "removebg"): 2,
    }
    assert all((counts.calls, counts.committed, counts.charged) == (1, 1, 1000) for counts in found.values())


async def test_processing_times_are_added_up_where_they_were_told(
    store: AccountStore, clock: ManualClock
) -> None:
    await store.create_account("a", "", PLANS.find("plain"))
    for request_id, processing_ms in (("r1", 1200), ("r2", 800), ("r3", None)):
        await hold(store, request_id)
        await store.commit("a", request_id, request_id, processing_ms)
        await store.commit("a", request_id, request_id, processing_ms)
    (row,) = await rows(store, clock)
    assert (row.counts.committed, row.counts.timed, row.counts.processing_ms) == (3, 2, 2000)


async def test_every_refusal_counts_as_a_call_under_its_cause(
    store: AccountStore, clock: ManualClock
) -> None:
    await store.create_account("a", "", PLANS.find("metered"))
    with pytest.raises(FailedPrecondition):
        await hold(store, "poor", key_id="k")
    for i in range(2):
        await hold(store, f"r{i}", FREE, key_id="k", rate_unit="requests")
    with pytest.raises(LimitExceeded):
        await hold(store, "quota", FREE, key_id="k")
    await store.count_call(CountedCall("c1", "a", "k"))
    with pytest.raises(LimitExceeded):
        await store.count_call(CountedCall("c2", "a", "k"))
    (row,) = await rows(store, clock)
    assert row.counts == UsageCounts(calls=4, refused_credits=1, refused_quota=1, refused_rate=1)


async def test_pictures_of_a_batch_are_no_calls(store: AccountStore, clock: ManualClock) -> None:
    await store.create_account("a", "", PLANS.find("plain"))
    await store.count_call(CountedCall("batch", "a", "k"))
    for i in range(3):
        await hold(store, f"r{i}", key_id="k", rate_unit="none", urgency="deferred")
        await store.commit("a", f"r{i}", f"r{i}")
    (row,) = await rows(store, clock)
    assert (row.counts.calls, row.counts.committed) == (1, 3)


async def test_a_day_with_too_many_kinds_counts_the_rest_without_names(
    store: AccountStore, clock: ManualClock
) -> None:
    """No caller can fill the store with counters."""
    await store.create_account("a", "", PLANS.find("wide"))
    key_count = MAX_FIELDS_A_DAY + 20
    for i in range(key_count):
        await store.count_call(CountedCall(f"r{i}", "a", f"k{i}"))
    found = await rows(store, clock)
    assert len(found) == MAX_FIELDS_A_DAY + 1
    assert found[0] == UsageRow(found[0].day, "", "", UsageCounts(calls=20))
    assert [counts.calls for counts in sum_by_day(found).values()] == [key_count]


async def test_a_key_tells_when_it_was_last_used(store: AccountStore, clock: ManualClock) -> None:
    await store.create_account("a", "", PLANS.find("plain"))
    for key_id in ("used", "idle"):
        await store.put_key(record(key_id))
    await hold(store, "r1", key_id="used")
    clock.advance(60)
    await hold(store, "r2", key_id="used")
    found = {key.key_id: key.used_us for key in await store.list_keys("a")}
    assert found == {"used": round(clock.unix_s() * 1e6), "idle": 0}
