"""Keys in the store: one look-up tells all, and an end is for good."""

from __future__ import annotations

import pytest

from matteworks_auth.rules.keys import KeyRecord
from matteworks_auth.stores.contract import AccountStore
from matteworks_common.errors import NotFound
from tests.stores.conftest import PLANS


@pytest.fixture(autouse=True)
async def account(store: AccountStore) -> None:
    await store.create_account("a", "Anna", PLANS.find("plain"))


def record(key_id: str, *, account_id: str = "a", created_us: int = 1) -> KeyRecord:
    return KeyRecord(key_id, account_id, "0" * 64, "of a test", is_test=False, created_us=created_us)


async def test_a_key_comes_back_as_it_was_written_with_its_accounts_plan(store: AccountStore) -> None:
    written = await store.put_key(record("key1"))
    assert await store.get_key("key1") == written
    assert written.plan == "plain"


async def test_a_key_of_no_account_is_refused(store: AccountStore) -> None:
    with pytest.raises(NotFound):
        await store.put_key(record("key1", account_id="nobody"))
    assert await store.get_key("key1") is None


async def test_a_change_of_plan_reaches_the_keys(store: AccountStore) -> None:
    await store.put_key(record("key1"))
    await store.set_plan("a", PLANS.find("tight"))
    found = await store.get_key("key1")
    assert found is not None
    assert found.plan == "tight"


async def test_keys_are_listed_oldest_first(store: AccountStore) -> None:
    for key_id, created_us in (("late", 3), ("early", 1), ("middle", 2)):
        await store.put_key(record(key_id, created_us=created_us))
    assert [key.key_id for key in await store.list_keys("a")] == ["early", "middle", "late"]


async def test_a_revocation_stays_whatever_follows(store: AccountStore) -> None:
    await store.put_key(record("key1"))
    await store.revoke_key("key1", 5)
    await store.revoke_key("key1", 9)
    ended = await store.update_key("key1", expires_us=7)
    assert (ended.revoked_us, ended.expires_us) == (5, 7)


async def test_an_end_can_come_nearer_but_not_go_away(store: AccountStore) -> None:
    await store.put_key(record("key1"))
    ends = [(await store.update_key("key1", expires_us=at_us)).expires_us for at_us in (9, 5, 7)]
    assert ends == [9, 5, 5]


async def test_an_unknown_key_cannot_be_ended(store: AccountStore) -> None:
    with pytest.raises(NotFound):
        await store.revoke_key("nothing", 1)
    assert await store.get_key("nothing") is None
