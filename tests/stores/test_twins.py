"""Whatever is done to both stores, they answer alike and the ledger adds up."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from matteworks_auth.ledger_check import check
from matteworks_auth.rules.calendar_us import day_of
from matteworks_auth.rules.keys import KeyRecord
from matteworks_auth.stores.contract import AccountStore, AuditQuery, CountedCall, RateState
from matteworks_auth.stores.memory.store import MemoryAccountStore
from matteworks_auth.stores.valkey.connection import open_valkey
from matteworks_auth.stores.valkey.store import ValkeyAccountStore
from matteworks_common.errors import MatteworksError
from tests.stores.conftest import PLANS, RECORD_TTL_US, REPEAT_WINDOW_US
from tests.stores.reservations import FULL, PREVIEW, hold
from tests.support.clock import ManualClock
from tests.support.valkey import ValkeyProcess

ALL_PLANS = ["plain", "free", "tight", "metered", "daily", "monthly"]
request_ids = st.sampled_from(["r1", "r2", "r3", "r4", "r5"])
steps = st.one_of(
    st.tuples(
        st.just("hold"), request_ids, st.sampled_from([(FULL,), (PREVIEW,), (FULL, PREVIEW)]),
        st.sampled_from([1, 30, 50]), st.sampled_from(["", "f", "g"]),
        st.sampled_from(["megapixels", "requests", "none"]), st.sampled_from(["account", "key"]),
        st.sampled_from(["interactive", "deferred"]), st.sampled_from([60, 90_000]),
    ),
    st.tuples(
        st.just("look"), request_ids, st.sampled_from([(FULL,), (PREVIEW,), (FULL, PREVIEW)]),
        st.sampled_from([1, 50]), st.sampled_from(["", "f", "g"]),
        st.sampled_from(["megapixels", "requests", "none"]), st.sampled_from(["account", "key"]),
    ),
    st.tuples(st.just("count_call"), request_ids, st.sampled_from(["account", "key"])),
    st.tuples(st.just("commit"), request_ids, request_ids, st.sampled_from([None, 0, 700])),
    st.tuples(st.just("release"), request_ids, request_ids),
    st.tuples(st.just("advance"), st.sampled_from([0.5, 7, 31, 61, 3_599, 90_000, 30 * 86_400])),
    st.tuples(st.just("sweep")),
    st.tuples(st.just("update_key"), st.sampled_from([5, 9]), st.sampled_from(["", "shop"])),
    st.tuples(st.just("revoke_key"), st.sampled_from([5, 9])),
    st.tuples(st.just("grant"), st.sampled_from(["g1", "g2"]), st.sampled_from([250, 1000])),
    st.tuples(st.just("plan"), st.sampled_from(ALL_PLANS)),
    st.tuples(st.just("update"), st.sampled_from(["", "bgremover"])),
)  # fmt: skip


async def apply(store: AccountStore, step: tuple[Any, ...]) -> object:
    try:
        match step:
            case ("hold", request_id, prices, megapixels, fingerprint, unit, scope, urgency, ttl_s):
                return await hold(
                    store,
                    request_id,
                    *prices,
                    megapixels=megapixels,
                    fingerprint=fingerprint,
                    rate_unit=unit,
                    rate_scope=scope,
                    urgency=urgency,
                    ttl_s=ttl_s,
                    key_id="key",
                    dialect=unit,
                )
            case ("look", request_id, prices, megapixels, fingerprint, unit, scope):
                return await hold(
                    store,
                    request_id,
                    *prices,
                    megapixels=megapixels,
                    fingerprint=fingerprint,
                    rate_unit=unit,
                    rate_scope=scope,
                    key_id="key",
                    is_dry=True,
                )
            case ("count_call", request_id, scope):
                return await store.count_call(CountedCall(request_id, "a", "key", "batch", scope))
            case ("commit", owner, member, processing_ms):
                return await store.commit("a", owner, member, processing_ms)
            case ("release", owner, member):
                return await store.release("a", owner, member)
            case ("grant", request_id, amount):
                return await store.grant(request_id, "a", "payg", amount)
            case ("update", dialect):
                return await store.update_account("a", {"dialect": dialect})
            case ("plan", name):
                return await store.set_plan("a", PLANS.find(name))
            case ("update_key", at_us, name):
                return await store.update_key("key", expires_us=at_us, display_name=name)
            case ("revoke_key", at_us):
                return await store.revoke_key("key", at_us)
            case ("sweep",):
                # Not its count: the real one looks at an account up to one step later.
                await store.release_overdue()
    except MatteworksError as error:
        return (error.reason, error.retry_after_s, error.metadata)
    return None


async def rates(store: AccountStore) -> list[RateState]:
    """What the key would be told, in every unit and scope."""
    key = await store.get_key("key")
    assert key is not None
    return [
        await store.rate_state(key, unit, scope)
        for unit in ("megapixels", "requests")
        for scope in ("account", "key")
    ]


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    plan=st.sampled_from(ALL_PLANS),
    max_settled=st.sampled_from([1, 3, 100]),
    script=st.lists(steps, max_size=30),
)
def test_both_stores_answer_alike(
    valkey: ValkeyProcess, plan: str, max_settled: int, script: list[tuple[Any, ...]]
) -> None:
    async def scenario() -> None:
        clock = ManualClock()
        client = open_valkey(valkey.url, timeout_s=5)
        await client.flushdb()
        twins: list[AccountStore] = [
            MemoryAccountStore(PLANS, clock, REPEAT_WINDOW_US, RECORD_TTL_US, max_settled),
            ValkeyAccountStore(client, PLANS, REPEAT_WINDOW_US, RECORD_TTL_US, clock, max_settled, 5),
        ]
        try:
            for store in twins:
                await store.create_account("a", "Anna", PLANS.find(plan))
                await store.put_key(KeyRecord("key", "a", "0" * 64, "", is_test=False, created_us=1))
            for step in script:
                if step[0] == "advance":
                    clock.advance(step[1])
                    continue
                memory, real = [await apply(store, step) for store in twins]
                assert memory == real, step
                memory, real = [await store.get_account("a") for store in twins]
                assert memory == real, step
                memory, real = [await rates(store) for store in twins]
                assert memory == real, step
                assert [await check(store) for store in twins] == [[], []]
            today = day_of(round(clock.unix_s() * 1e6))
            memory, real = [await store.usage("a", today - 399, today) for store in twins]
            assert memory == real
            memory, real = [await store.list_keys("a") for store in twins]
            assert memory == real
            memory, real = [await store.audit_events(AuditQuery(1000)) for store in twins]
            assert memory == real
        finally:
            await client.aclose()

    asyncio.run(scenario())
