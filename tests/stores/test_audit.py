"""Who did what: one event for each change, in the step that makes it."""

from __future__ import annotations

import pytest

from matteworks_auth.rules.restrictions import Restrictions
from matteworks_auth.stores.contract import AccountStore, AuditQuery, Author
from matteworks_common.errors import Conflict, InvalidField, NotFound
from tests.stores.conftest import AUDIT_LIMITS, PLANS
from tests.stores.test_keys import record
from tests.support.clock import ManualClock

EVE = Author("eve", "call-1")


async def actions(store: AccountStore, account_id: str = "") -> list[str]:
    return [event.action for event in await store.audit_events(AuditQuery(500, account_id))]


async def make(store: AccountStore, account_id: str = "a") -> None:
    await store.create_account(account_id, "Anna", PLANS.find("plain"), by=EVE)


async def test_every_change_is_written_down_latest_first(store: AccountStore) -> None:
    await make(store)
    await store.update_account("a", {"display_name": "Anne", "dialect": "bgremover"}, by=EVE)
    await store.set_plan("a", PLANS.find("tight"), by=EVE)
    await store.grant("g", "a", "payg", 250, by=EVE)
    await store.put_key(record("key1"), by=EVE)
    await store.update_key("key1", restrictions=Restrictions(dialects=("bgremover",)), by=EVE)
    await store.rotate_key("key1", record("key2"), 5, by=EVE)
    await store.revoke_key("key2", 7, by=EVE)
    events = list(reversed(await store.audit_events(AuditQuery(100))))
    assert [(event.action, event.key_id, dict(event.details)) for event in events] == [
        ("account.create", "", {"plan": "plain"}),
        ("account.update", "", {"display_name": "Anne", "dialect": "bgremover"}),
        ("plan.set", "", {"plan": "tight", "former_plan": "plain"}),
        ("credits.grant", "", {"balance": "payg", "credits_milli": "250", "grant_id": "g"}),
        ("key.create", "key1", {"name": "of a test"}),
        ("key.update", "key1", {"dialects": "bgremover"}),
        ("key.rotate", "key1", {"new_key_id": "key2"}),
        ("key.revoke", "key2", {}),
    ]
    assert {(event.actor, event.request_id, event.account_id) for event in events} == {("eve", "call-1", "a")}


async def test_what_changes_nothing_is_not_written_down(store: AccountStore) -> None:
    await make(store)
    await store.put_key(record("key1"))
    await store.revoke_key("key1", 5)
    await store.grant("g", "a", "payg", 1)
    before = await actions(store)
    await store.set_plan("a", PLANS.find("plain"))
    await store.update_account("a", {"display_name": "Anna"})
    await store.update_key("key1", display_name="of a test", restrictions=Restrictions())
    await store.revoke_key("key1", 9)
    await store.grant("g", "a", "payg", 1)
    await store.get_account("a")
    assert await actions(store) == before


async def test_what_fails_is_not_written_down(store: AccountStore) -> None:
    await make(store)
    with pytest.raises(Conflict):
        await make(store)
    await store.grant("g", "a", "payg", 1)
    with pytest.raises(Conflict):
        await store.grant("g", "a", "payg", 2)
    with pytest.raises(InvalidField):
        await store.grant("h", "a", "payg", 2**53)
    with pytest.raises(NotFound):
        await store.set_plan("b", PLANS.find("free"))
    assert await actions(store) == ["credits.grant", "account.create"]


async def test_events_of_one_account_are_found_among_those_of_others(store: AccountStore) -> None:
    for i in range(20):
        await make(store, f"acc{i:02}")
    await store.grant("g", "acc07", "payg", 1)
    assert await actions(store, "acc07") == ["credits.grant", "account.create"]


async def test_pages_follow_each_other_without_gap_or_double(store: AccountStore, clock: ManualClock) -> None:
    for i in range(7):
        await make(store, f"acc{i}")
        clock.advance(1 if i % 2 else 0)
    whole = await store.audit_events(AuditQuery(100))
    pages, last = [], ""
    while page := await store.audit_events(AuditQuery(3, before_id=last)):
        pages += page
        last = page[-1].event_id
    assert pages == whole
    assert [event.account_id for event in whole] == [f"acc{i}" for i in reversed(range(7))]


async def test_a_time_bounds_the_events(store: AccountStore, clock: ManualClock) -> None:
    times_ms = []
    for i in range(4):
        times_ms.append(round(clock.unix_s() * 1e3))
        await make(store, f"acc{i}")
        clock.advance(10)
    found = await store.audit_events(AuditQuery(100, start_ms=times_ms[1], end_ms=times_ms[3]))
    assert [event.account_id for event in found] == ["acc2", "acc1"]
    later = await store.audit_events(
        AuditQuery(100, start_ms=times_ms[1], end_ms=times_ms[3], before_id=found[0].event_id)
    )
    assert [event.account_id for event in later] == ["acc1"]


async def test_the_log_forgets_by_number_and_by_age(store: AccountStore, clock: ManualClock) -> None:
    """The store drops whole blocks of a hundred, so the bounds hold within one."""
    await make(store)
    for i in range(AUDIT_LIMITS.max_events + 150):
        await store.grant(f"g{i}", "a", "payg", 1)
    count = len(await store.audit_events(AuditQuery(10_000)))
    assert AUDIT_LIMITS.max_events <= count <= AUDIT_LIMITS.max_events + 100
    clock.advance(AUDIT_LIMITS.retention_ms / 1e3 + 1)
    for i in range(120):
        await store.grant(f"h{i}", "a", "payg", 1)
    assert len(await store.audit_events(AuditQuery(10_000))) <= 120 + 100
