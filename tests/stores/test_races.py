"""Many at once, on several replicas of one Valkey: limits hold exactly, and no credit is made or lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Iterable

from matteworks_auth.ledger_check import check
from matteworks_auth.rules.quota import Price
from matteworks_auth.stores.contract import AuditQuery, CountedCall
from matteworks_auth.stores.valkey.store import ValkeyAccountStore
from matteworks_common.errors import LimitExceeded, MatteworksError
from tests.stores.conftest import PLANS
from tests.stores.reservations import commit, hold
from tests.stores.test_keys import record
from tests.stores.test_plans import ELIGIBLE, UNTIL_FEBRUARY_S
from tests.stores.test_valkey import Replicas, replicas
from tests.support.clock import ManualClock

__all__ = ["replicas"]

FREE = Price(0, is_free_call_eligible=False)


async def at_once(steps: Iterable[Awaitable[object]]) -> Counter[str]:
    """How many of `steps` ended how: by the name of what was returned or raised."""
    ends = await asyncio.gather(*steps, return_exceptions=True)
    unexpected = [
        end for end in ends if isinstance(end, BaseException) and not isinstance(end, MatteworksError)
    ]
    assert unexpected == []
    return Counter(type(end).__name__ for end in ends)


async def make(made: Replicas, plan: str, clock: ManualClock | None = None) -> list[ValkeyAccountStore]:
    """Three replicas with one account."""
    stores = [made.add(clock) for _ in range(3)]
    await stores[0].create_account("a", "Anna", PLANS.find(plan))
    return stores


async def test_a_keys_daily_quota_is_exact(replicas: Replicas) -> None:
    stores = await make(replicas, "metered")
    ends = await at_once(
        hold(stores[i % 3], f"r{i}", FREE, key_id=f"k{i % 2}", rate_scope="key", rate_unit="none")
        for i in range(60)
    )
    # Two a key.
    assert ends == {"Held": 4, "LimitExceeded": 56}


async def test_a_rate_that_counts_requests_is_exact(replicas: Replicas, clock: ManualClock) -> None:
    stores = await make(replicas, "paced", clock)
    ends = await at_once(
        stores[i % 3].count_call(CountedCall(f"c{i}", "a", "k"))
        if i % 2
        else hold(stores[i % 3], f"r{i}", FREE, rate_unit="requests")
        for i in range(60)
    )
    assert ends["Held"] + ends["RateState"] == 3


async def test_one_call_sent_thirty_times_counts_once(replicas: Replicas, clock: ManualClock) -> None:
    stores = await make(replicas, "paced", clock)
    ends = await at_once(stores[i % 3].count_call(CountedCall("same", "a", "k")) for i in range(30))
    assert ends == {"RateState": 30}
    key = await stores[0].put_key(record("k"))
    assert (await stores[0].rate_state(key, "requests", "account")).remaining == 2


async def test_free_calls_of_a_day_are_exact(replicas: Replicas) -> None:
    stores = await make(replicas, "daily")
    ends = await at_once(hold(stores[i % 3], f"r{i}", ELIGIBLE) for i in range(40))
    assert ends == {"Held": 2, "FailedPrecondition": 38}


async def test_fifty_at_the_turn_of_the_month_renew_once(replicas: Replicas, clock: ManualClock) -> None:
    stores = await make(replicas, "monthly", clock)
    clock.advance(UNTIL_FEBRUARY_S - 30)
    for i in range(3):
        await hold(stores[0], f"old{i}", ttl_s=600)
    clock.advance(30)
    ends = await at_once(
        [
            *(hold(stores[i % 3], f"new{i}", ttl_s=600) for i in range(20)),
            *(stores[i % 3].get_account("a") for i in range(20)),
            *(stores[i % 3].release("a", f"old{i}", f"old{i}") for i in range(3)),
        ]
    )
    assert ends["Held"] == 5
    account = await stores[0].get_account("a")
    assert (account.subscription, account.held, account.expired, account.granted) == (0, 5000, 5000, 10_000)
    assert await check(stores[0]) == []


async def test_plans_grants_and_requests_at_once_keep_the_books(
    replicas: Replicas, clock: ManualClock
) -> None:
    stores = await make(replicas, "plain", clock)

    async def one(i: int) -> None:
        store = stores[i % 3]
        if i % 10 == 0:
            await store.set_plan("a", PLANS.find(("plain", "monthly", "daily")[i // 10 % 3]))
        elif i % 10 == 1:
            await store.grant(f"g{i // 20}", "a", "payg", 250)
        else:
            await hold(store, f"r{i}", ELIGIBLE)
            if i % 3:
                await commit(store, "a", f"r{i}", f"r{i}")

    await at_once(one(i) for i in range(200))
    assert await check(stores[0]) == []
    clock.advance(UNTIL_FEBRUARY_S)
    await stores[0].release_overdue()
    account = await stores[0].get_account("a")
    assert account.held == 0
    assert await check(stores[0]) == []


async def test_changes_at_once_are_each_written_down_once(replicas: Replicas) -> None:
    stores = await make(replicas, "plain")
    await stores[0].put_key(record("key"))
    await at_once(
        [
            *(stores[i % 3].revoke_key("key", 100 + i) for i in range(10)),
            *(stores[i % 3].grant("gift", "a", "payg", 5) for i in range(10)),
            *(stores[i % 3].rotate_key("key", record(f"next{i}"), 50) for i in range(5)),
        ]
    )
    events = await stores[0].audit_events(AuditQuery(100))
    assert Counter(event.action for event in events) == {
        "account.create": 1,
        "key.create": 1,
        "key.revoke": 1,
        "credits.grant": 1,
        "key.rotate": 5,
    }
    assert len({event.event_id for event in events}) == len(events)
    assert len(await stores[0].list_keys("a")) == 6


async def test_usage_misses_nobody(replicas: Replicas, clock: ManualClock) -> None:
    stores = await make(replicas, "paced", clock)
    ends = await at_once(
        stores[i % 3].count_call(CountedCall(f"c{i}", "a", f"k{i % 4}", "batch")) for i in range(80)
    )
    today = int(clock.unix_s()) // 86_400
    rows = await stores[0].usage("a", today, today)
    assert sum(row.counts.calls for row in rows) == 80
    assert sum(row.counts.refused_rate for row in rows) == ends[LimitExceeded.__name__] == 77
