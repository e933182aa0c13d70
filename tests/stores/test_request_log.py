"""The latest requests of an account: the same rules in memory and in Valkey."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import pytest

from matteworks_auth.stores.memory.request_log import MemoryRequestLogStore
from matteworks_auth.stores.request_log import LogEntry, LogLimits, RequestLogStore
from matteworks_auth.stores.valkey.connection import open_valkey
from matteworks_auth.stores.valkey.request_log import ValkeyRequestLogStore
from tests.support.clock import ManualClock
from tests.support.valkey import ValkeyProcess

LIMITS = LogLimits(max_entries=5, retention_us=60_000_000)
EVER_US = 2**53


@pytest.fixture(params=["memory", "valkey"])
async def requests(
    request: pytest.FixtureRequest, clock: ManualClock, valkey: ValkeyProcess
) -> AsyncIterator[RequestLogStore]:
    if request.param == "memory":
        yield MemoryRequestLogStore(clock, LIMITS)
        return
    client = open_valkey(valkey.url, timeout_s=5)
    await client.flushdb()
    yield ValkeyRequestLogStore(client, clock, LIMITS, 5)
    await client.aclose()


def now_us(clock: ManualClock) -> int:
    return round(clock.unix_s() * 1e6)


async def texts(store: RequestLogStore, account_id: str = "a") -> list[str]:
    return [entry.text for entry in await store.latest(account_id, EVER_US, 0, 100)]


async def test_the_latest_come_first_and_equal_times_in_the_order_of_their_texts(
    requests: RequestLogStore, clock: ManualClock
) -> None:
    start_us = now_us(clock)
    await requests.add("a", [LogEntry(start_us, "b"), LogEntry(start_us + 1, "a"), LogEntry(start_us, "c")])
    assert await texts(requests) == ["a", "c", "b"]
    assert await requests.latest("a", start_us, 1, 1) == [LogEntry(start_us, "b")]


async def test_a_repeated_entry_is_there_once(requests: RequestLogStore, clock: ManualClock) -> None:
    for _ in range(2):
        await requests.add("a", [LogEntry(now_us(clock), "same")])
    assert await texts(requests) == ["same"]


async def test_accounts_never_see_each_other(requests: RequestLogStore, clock: ManualClock) -> None:
    await requests.add("a", [LogEntry(now_us(clock), "of a")])
    assert await texts(requests, "b") == []


async def test_only_so_many_are_kept_and_the_oldest_go_first(
    requests: RequestLogStore, clock: ManualClock
) -> None:
    start_us = now_us(clock)
    await requests.add("a", [LogEntry(start_us + number, f"{number}") for number in range(8)])
    assert await texts(requests) == ["7", "6", "5", "4", "3"]
    # One that arrives late and is older than all that are kept is not kept.
    await requests.add("a", [LogEntry(start_us, "late")])
    assert await texts(requests) == ["7", "6", "5", "4", "3"]


async def test_none_is_kept_longer_than_it_should(requests: RequestLogStore, clock: ManualClock) -> None:
    await requests.add("a", [LogEntry(now_us(clock), "old")])
    clock.advance(59)
    await requests.add("a", [LogEntry(now_us(clock), "new")])
    assert await texts(requests) == ["new", "old"]
    clock.advance(1)
    assert await texts(requests) == ["new"]


async def test_both_stores_answer_alike(clock: ManualClock, valkey: ValkeyProcess) -> None:
    """Random steps on both; every look must be the same."""
    client = open_valkey(valkey.url, timeout_s=5)
    await client.flushdb()
    stores: list[RequestLogStore] = [
        MemoryRequestLogStore(clock, LIMITS), ValkeyRequestLogStore(client, clock, LIMITS, 5)
    ]  # fmt: skip
    chance = random.Random(7)
    for step in range(200):
        clock.advance(chance.choice([0, 0.001, 3, 25]))
        entries = [
            LogEntry(now_us(clock) - chance.randrange(0, 70_000_000, 7_000_000), f"{step}-{number}")
            for number in range(chance.randrange(1, 4))
        ]
        account_id = chance.choice("ab")
        until_us, skip = chance.choice([EVER_US, now_us(clock) - 10_000_000]), chance.randrange(3)
        looks = []
        for store in stores:
            await store.add(account_id, entries)
            looks.append(await store.latest(account_id, until_us, skip, 3))
        assert looks[0] == looks[1], step
    await client.aclose()
