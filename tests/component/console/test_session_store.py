"""One suite, both stores of sessions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from matteworks_common.clock import SystemClock
from matteworks_common.errors import Unavailable
from matteworks_console.security.session_store import MAX_ENTRIES, MemorySessionStore, SessionStore
from matteworks_console.security.sessions import Sessions
from matteworks_console.security.valkey_session_store import ValkeySessionStore
from tests.support.clock import ManualClock
from tests.support.valkey import ValkeyProcess


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyProcess]:
    directory: Path = tmp_path_factory.mktemp("valkey")
    process = ValkeyProcess(directory)
    process.start()
    try:
        yield process
    finally:
        process.kill()


@pytest.fixture(params=["memory", "valkey"])
async def store(request: pytest.FixtureRequest, valkey: ValkeyProcess) -> AsyncIterator[SessionStore]:
    opened: SessionStore = (
        MemorySessionStore(SystemClock()) if request.param == "memory" else ValkeySessionStore(valkey.url)
    )
    try:
        yield opened
    finally:
        await opened.close()


async def test_what_is_put_is_found_until_it_is_deleted(store: SessionStore) -> None:
    await store.put("one", "text", 60)
    assert (await store.get("one"), await store.get("two")) == ("text", None)
    await store.put("one", "other", 60)
    assert await store.get("one") == "other"
    await store.delete("one")
    await store.delete("one")
    assert await store.get("one") is None


async def test_counting_is_by_name(store: SessionStore) -> None:
    assert [await store.count("x", 60), await store.count("x", 60), await store.count("y", 60)] == [1, 2, 1]


async def test_a_session_is_found_by_its_token_alone(store: SessionStore) -> None:
    sessions = Sessions(store)
    token = await sessions.begin("account", "a", "k")
    found = await sessions.find(token)

    assert found is not None
    assert (found.account_id, found.key_id, found.is_operator) == ("a", "k", False)
    assert await sessions.find(token[:-1]) is None
    assert await sessions.find("") is None
    await sessions.end_all(found.principal)
    assert await sessions.find(token) is None


async def test_memory_forgets_the_oldest_first() -> None:
    store = MemorySessionStore(ManualClock())
    for number in range(MAX_ENTRIES + 1):
        await store.put(str(number), "", 60)

    assert await store.get("0") is None
    assert await store.get("1") == ""


async def test_entries_end_with_their_time() -> None:
    clock = ManualClock()
    store = MemorySessionStore(clock)
    await store.put("one", "text", 60)
    await store.count("two", 60)
    clock.advance(61)

    assert await store.get("one") is None
    assert await store.count("two", 60) == 1


async def test_an_absent_valkey_is_a_clean_refusal() -> None:
    store = ValkeySessionStore("redis://127.0.0.1:1/0")
    with pytest.raises(Unavailable):
        await store.get("one")
    await store.close()
