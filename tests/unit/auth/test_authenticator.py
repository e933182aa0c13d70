"""A remembered key is still checked, and only for a moment."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from prometheus_client import CollectorRegistry

from matteworks_auth.authenticator import Authenticator, Caller
from matteworks_auth.metrics import AuthMetrics
from matteworks_auth.rules.keys import KeyHasher, KeyRecord
from matteworks_auth.rules.plans import Plan, Plans
from matteworks_auth.stores.memory.store import MemoryAccountStore
from matteworks_common.errors import Unauthenticated
from matteworks_common.key_format import format_key
from tests.support.clock import ManualClock

PLANS = Plans({"plain": Plan("plain", 500, 0, 0, 0, 0, 0)}, "plain")


class CountingStore(MemoryAccountStore):
    """The memory store, and how often a key was looked up."""

    lookup_count = 0

    async def get_key(self, key_id: str) -> KeyRecord | None:
        self.lookup_count += 1
        return await super().get_key(key_id)


@dataclass
class Bench:
    clock: ManualClock = field(default_factory=ManualClock)
    hasher: KeyHasher = field(default_factory=lambda: KeyHasher(b"pepper-of-the-tests"))
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        self.store = CountingStore(PLANS, self.clock, 0, 3_600_000_000)
        self.authenticator = Authenticator(
            self.store, self.hasher, self.clock, 2.0, AuthMetrics(self.registry)
        )

    async def make_key(self, life_s: float = 0) -> tuple[str, str]:
        """Text and id of a new key of the account `a`."""
        new = self.hasher.new_key("live")
        now_us = round(self.clock.unix_s() * 1e6)
        expires_us = now_us + round(life_s * 1e6) if life_s else 0
        record = KeyRecord(new.key_id, "a", new.secret_hash, "", False, now_us, expires_us)
        await self.store.put_key(record)
        return new.text, new.key_id


@pytest.fixture
async def bench() -> Bench:
    made = Bench()
    await made.store.create_account("a", "Anna", PLANS.find(""))
    return made


async def test_a_burst_costs_one_look_up(bench: Bench) -> None:
    text, _ = await bench.make_key()
    for _ in range(5):
        assert (await bench.authenticator.identify(Caller(text))).plan == "plain"
    assert bench.store.lookup_count == 1


async def test_a_remembered_key_is_looked_up_again_after_its_time(bench: Bench) -> None:
    text, _ = await bench.make_key()
    await bench.authenticator.identify(Caller(text))
    bench.clock.advance(2)
    await bench.authenticator.identify(Caller(text))
    assert bench.store.lookup_count == 2


async def test_a_remembered_id_does_not_let_a_wrong_secret_in(bench: Bench) -> None:
    text, key_id = await bench.make_key()
    await bench.authenticator.identify(Caller(text))
    forged = bench.hasher.new_key("live").text.split("_")

    with pytest.raises(Unauthenticated):
        await bench.authenticator.identify(Caller(format_key("live", key_id, forged[3][:-6])))


async def test_a_remembered_key_still_expires_on_time(bench: Bench) -> None:
    text, _ = await bench.make_key(life_s=1)
    await bench.authenticator.identify(Caller(text))
    bench.clock.advance(1)
    with pytest.raises(Unauthenticated):
        await bench.authenticator.identify(Caller(text))


async def test_a_forgotten_key_is_looked_up_at_once(bench: Bench) -> None:
    text, key_id = await bench.make_key()
    await bench.authenticator.identify(Caller(text))
    await bench.store.revoke_key(key_id, 1)
    bench.authenticator.forget(key_id)
    with pytest.raises(Unauthenticated):
        await bench.authenticator.identify(Caller(text))


async def test_a_malformed_key_costs_no_look_up(bench: Bench) -> None:
    text, _ = await bench.make_key()
    with pytest.raises(Unauthenticated):
        await bench.authenticator.identify(Caller(text[:-1] + ("0" if text[-1] != "0" else "1")))
    assert bench.store.lookup_count == 0


async def test_unknown_ids_do_not_fill_the_memory(bench: Bench) -> None:
    for _ in range(3):
        with pytest.raises(Unauthenticated):
            await bench.authenticator.identify(Caller(bench.hasher.new_key("live").text))
    assert bench.store.lookup_count == 3
    assert not bench.authenticator._remembered
