"""What only the real store must prove: restarts, silence, cancellations, replicas, the server's clock."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from redis.asyncio import Redis

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_auth import ledger_check
from matteworks_auth.rules.quota import Price
from matteworks_auth.stores.valkey.connection import open_valkey
from matteworks_auth.stores.valkey.session import DUE_KEY
from matteworks_auth.stores.valkey.store import ValkeyAccountStore
from matteworks_common.errors import LimitExceeded, Unavailable
from tests.stores.conftest import PLANS, RECORD_TTL_US, REPEAT_WINDOW_US
from tests.stores.reservations import FULL, PREVIEW, commit, hold
from tests.stores.test_keys import record
from tests.support.clock import ManualClock
from tests.support.valkey import ValkeyProcess

FREE = Price(0, is_free_call_eligible=False)
TIMEOUT_S = 0.5


class Replicas:
    """Stores on one server, each with connections of its own, as in several processes."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stores: list[ValkeyAccountStore] = []
        self.client: Redis = open_valkey(url, timeout_s=5)

    def add(self, clock: ManualClock | None = None, timeout_s: float = 5.0) -> ValkeyAccountStore:
        store = ValkeyAccountStore(
            open_valkey(self._url, timeout_s), PLANS, REPEAT_WINDOW_US, RECORD_TTL_US, clock,
            timeout_s=timeout_s,
        )  # fmt: skip
        self._stores.append(store)
        return store

    async def close(self) -> None:
        for store in self._stores:
            await store.close()
        await self.client.aclose()


@pytest.fixture
async def replicas(valkey: ValkeyProcess) -> AsyncIterator[Replicas]:
    made = Replicas(valkey.url)
    await made.client.flushdb()
    yield made
    await made.close()


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[ValkeyProcess]:
    """One that a test may kill or pause."""
    process = ValkeyProcess(tmp_path)
    process.start()
    try:
        yield process
    finally:
        process.kill()


@pytest.fixture
async def fragile(own_valkey: ValkeyProcess) -> AsyncIterator[ValkeyAccountStore]:
    made = Replicas(own_valkey.url)
    store = made.add(timeout_s=TIMEOUT_S)
    await store.create_account("a", "Anna", PLANS.find("plain"))
    yield store
    await made.close()


@pytest.fixture
def plans_file(tmp_path: Path) -> Path:
    """A file with the plan that these tests use."""
    entries = "\n".join(
        f"{name} = {json.dumps(value)}"
        for name, value in asdict(PLANS.find("plain")).items()
        if name not in ("name", "display_name")
    )
    path = tmp_path / "plans.toml"
    path.write_text(f'default = "plain"\n[plans.plain]\n{entries}\n')
    return path


async def test_the_servers_clock_counts_when_none_is_given(replicas: Replicas) -> None:
    store = replicas.add()
    await store.create_account("a", "Anna", PLANS.find("plain"))
    held = await hold(store, "r1", ttl_s=60)
    assert held.expires_us / 1e6 == pytest.approx(time.time() + 60, abs=30)


async def test_replicas_share_one_rate_limit(replicas: Replicas) -> None:
    """T42: at most the limit passes, whichever replica is asked."""
    stores = [replicas.add() for _ in range(3)]
    await stores[0].create_account("a", "Anna", PLANS.find("plain"))
    answers = await asyncio.gather(
        *(hold(stores[i % 3], f"r{i}", FREE, megapixels=50) for i in range(30)), return_exceptions=True
    )
    refused = [answer for answer in answers if isinstance(answer, LimitExceeded)]
    assert len(refused) == 20


async def test_two_replicas_give_back_each_reservation_once(replicas: Replicas) -> None:
    clock = ManualClock()
    stores = [replicas.add(clock) for _ in range(2)]
    await stores[0].create_account("a", "Anna", PLANS.find("plain"))
    for i in range(5):
        await hold(stores[i % 2], f"r{i}")
    clock.advance(65)
    counts = await asyncio.gather(*(store.release_overdue() for store in stores))
    assert sum(counts) == 5
    assert (await stores[0].get_account("a")).subscription == 10_000


async def test_the_sweeper_reaches_accounts_that_nobody_uses(replicas: Replicas) -> None:
    """T12: what a dead gateway held comes back without anybody asking."""
    clock = ManualClock()
    dead = replicas.add(clock)
    for account_id in ("a", "b"):
        await dead.create_account(account_id, "", PLANS.find("plain"))
        await hold(dead, "r1", account_id=account_id, ttl_s=60)
    clock.advance(65)
    assert await replicas.add(clock).release_overdue() == 2
    assert await replicas.client.hget("mw:{b}:account", "held") == "0"
    assert await replicas.client.zcard(DUE_KEY) == 0


async def test_a_long_reservation_is_looked_at_again_when_it_is_due(replicas: Replicas) -> None:
    """A sweeper that runs ahead of the server's clock writes a new hint instead of losing it."""
    clock = ManualClock()
    store = replicas.add(clock)
    await store.create_account("a", "", PLANS.find("plain"))
    await hold(store, "short", ttl_s=10)
    await hold(store, "long", ttl_s=600)
    clock.advance(15)
    assert await store.release_overdue() == 1
    clock.advance(590)
    assert await replicas.add(clock).release_overdue() == 1


async def test_scripts_that_the_server_forgot_are_loaded_again(replicas: Replicas) -> None:
    store = replicas.add()
    await store.create_account("a", "Anna", PLANS.find("plain"))
    await replicas.client.script_flush()
    await hold(store, "r1")
    await replicas.client.script_flush()
    assert await commit(store, "a", "r1", "r1") == 1000


async def test_every_key_of_an_account_is_in_one_slot(replicas: Replicas) -> None:
    store = replicas.add()
    await store.create_account("a", "Anna", PLANS.find("free"))
    await store.grant("g", "a", "payg", 5000)
    await hold(store, "r1", PREVIEW, fingerprint="f")
    await commit(store, "a", "r1", "r1")
    keys = [str(key) for key in await replicas.client.keys("mw:*")]
    assert {key for key in keys if not key.startswith("mw:{a}:")} == {
        *("mw:account-ids", "mw:audit", "mw:due")
    }


async def test_what_is_settled_leaves_by_itself(replicas: Replicas) -> None:
    """Nothing but the account, its counters and its grants stays for good."""
    store = replicas.add()
    await store.create_account("a", "Anna", PLANS.find("plain"))
    await hold(store, "r1", fingerprint="f")
    await hold(store, "r2", fingerprint="f")
    assert await replicas.client.pttl("mw:{a}:request:r1") == -1
    await commit(store, "a", "r1", "r2")
    await store.release("a", "r1", "r1")
    for name in ("request:r1", "request:r2", "settled", "equal:f"):
        assert 0 < await replicas.client.pttl(f"mw:{{a}}:{name}") <= RECORD_TTL_US / 1000
    assert not await replicas.client.exists("mw:{a}:open")


async def test_cancelled_calls_never_get_each_others_answers(replicas: Replicas) -> None:
    """T09."""
    store = replicas.add()
    await store.create_account("a", "Anna", PLANS.find("plain"))
    await store.set_plan("a", PLANS.find("wide"))
    chance = random.Random(7)

    async def one(i: int) -> None:
        held = await hold(store, f"r{i}", FREE)
        assert held.owner_request_id == f"r{i}"
        await commit(store, "a", f"r{i}", f"r{i}")

    for start in range(0, 1000, 50):
        tasks = [asyncio.create_task(one(i)) for i in range(start, start + 50)]
        for task in tasks:
            await asyncio.sleep(0)
            if chance.random() < 0.5:
                asyncio.get_running_loop().call_later(chance.random() * 0.02, task.cancel)
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(end) for end in ends} <= {type(None), asyncio.CancelledError}
    assert await ledger_check.check(store) == []
    await hold(store, "after", FULL)


async def test_a_dead_server_refuses_and_a_new_one_goes_on(
    own_valkey: ValkeyProcess, fragile: ValkeyAccountStore
) -> None:
    """T07: fails closed, remembers what it answered, scripts are loaded again."""
    first = await hold(fragile, "r1")
    own_valkey.kill()
    for step in (hold(fragile, "r2"), commit(fragile, "a", "r1", "r1"), fragile.get_key("k")):
        with pytest.raises(Unavailable) as caught:
            await step
        assert caught.value.reason == reasons.ERROR_REASON_STORE_UNAVAILABLE
    own_valkey.start()
    assert await hold(fragile, "r1") == first
    assert [await commit(fragile, "a", "r1", "r1") for _ in range(2)] == [1000, 1000]
    assert (await fragile.get_account("a")).spent == 1000


async def test_a_silent_server_is_refused_in_time_and_charges_once_when_it_wakes(
    own_valkey: ValkeyProcess, fragile: ValkeyAccountStore
) -> None:
    """T08: what was sent before the silence is done after it, so the repeat must not do it again."""
    await fragile.get_account("a")
    own_valkey.pause()
    start_s = time.monotonic()
    with pytest.raises(Unavailable):
        await hold(fragile, "r1")
    assert time.monotonic() - start_s < 3 * TIMEOUT_S
    own_valkey.resume()
    held = await hold(fragile, "r1")
    own_valkey.pause()
    with pytest.raises(Unavailable):
        await commit(fragile, "a", held.owner_request_id, "r1")
    own_valkey.resume()
    assert await commit(fragile, "a", held.owner_request_id, "r1") == 1000
    record = await fragile.get_account("a")
    assert (record.subscription, record.held, record.spent) == (9000, 0, 1000)


async def test_the_ledger_check_passes_a_sound_store(
    replicas: Replicas, valkey: ValkeyProcess, plans_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await replicas.add().create_account("sound", "", PLANS.find("plain"))
    assert await run_check(valkey.url, plans_file) == 0
    assert capsys.readouterr().out == "1 accounts, 0 with a fault\n"


async def test_the_ledger_check_names_the_account_that_drifts(
    replicas: Replicas, valkey: ValkeyProcess, plans_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = replicas.add()
    for account_id in ("sound", "odd"):
        await store.create_account(account_id, "", PLANS.find("plain"))
    await replicas.client.hincrby("mw:{odd}:account", "payg", 5)
    assert await run_check(valkey.url, plans_file) == 1
    told = capsys.readouterr().err
    assert "odd: +5" in told
    assert "sound" not in told


async def test_accounts_and_keys_of_the_first_release_go_on(replicas: Replicas) -> None:
    store = replicas.add()
    await store.create_account("a", "Anna", PLANS.find("plain"))
    await store.put_key(record("key"))
    later = (
        "dialect",
        "email",
        "expired",
        "renewed",
        "emptied",
        "tat_requests",
        "free_day",
        "day_free_calls",
    )
    await replicas.client.hdel("mw:{a}:account", *later, "free_month")
    await replicas.client.hdel("mw:key:key", "dialect", "origins", "networks", "dialects")
    await replicas.client.hset("mw:{a}:usage:1", mapping={"committed": "2", "refused": "1"})
    await store.set_plan("a", PLANS.find("monthly"))
    held = await hold(store, "r1", PREVIEW, rate_unit="requests")
    assert await store.release("a", held.owner_request_id, "r1") == 250
    assert (await store.get_key("key")) == (await store.list_keys("a"))[0]
    assert [row.counts.committed for row in await store.usage("a", 1, 1)] == [2]
    assert await ledger_check.check(store) == []


async def test_the_ledger_check_renews_nothing(
    replicas: Replicas, valkey: ValkeyProcess, plans_file: Path
) -> None:
    """Whatever its plans file says: it may not be the one of the service."""
    await replicas.add().create_account("a", "", PLANS.find("plain"))
    await replicas.client.hset("mw:{a}:account", "renewed", "0")
    plans_file.write_text(
        plans_file.read_text().replace("monthly_credits_milli = 0", "monthly_credits_milli = 5")
    )
    assert await run_check(valkey.url, plans_file) == 0
    assert await replicas.client.hget("mw:{a}:account", "subscription") == "10000"


async def test_the_ledger_check_says_when_it_could_not_look(
    own_valkey: ValkeyProcess, plans_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own_valkey.kill()
    assert await run_check(own_valkey.url, plans_file) == 2
    assert "cannot be read" in capsys.readouterr().err


async def run_check(url: str, plans_file: Path) -> int:
    return await ledger_check.run(["--store-url", url, "--plans-file", str(plans_file)])
