"""What holding and charging credits costs on Valkey: `python -m tools.bench.accounts`.

Starts a Valkey of its own and takes turns: a bare PING, a reservation, its commit, as one caller that waits
for each answer. The ratio to PING is what the scripts add to a round trip, and holds on any machine.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path

from tests.support.valkey import ValkeyProcess

from matteworks_auth.rules.plans import Plan, Plans
from matteworks_auth.rules.quota import Price
from matteworks_auth.stores.contract import Reservation
from matteworks_auth.stores.valkey.connection import open_valkey
from matteworks_auth.stores.valkey.store import ValkeyAccountStore

PLAN = Plan("bench", 1_000_000, 0, 0, 0, 10**12, 0, requests_per_minute=1_000_000)
REPEAT_WINDOW_US = 30_000_000
RECORD_TTL_US = 86_400_000_000


async def measure(store: ValkeyAccountStore, rounds: int) -> dict[str, list[float]]:
    """Seconds of each step, by its name."""
    await store.create_account("bench", "", PLAN)
    times_s: dict[str, list[float]] = {"ping": [], "reserve": [], "commit": []}

    async def timed(name: str, step: Awaitable[object]) -> None:
        start_s = time.perf_counter()
        await step
        times_s[name].append(time.perf_counter() - start_s)

    for i in range(rounds):
        await timed("ping", store.ping())
        await timed(
            "reserve",
            store.reserve(
                Reservation(
                    f"r{i}",
                    "bench",
                    "key",
                    [Price(1000, False)],
                    12,
                    f"f{i}",
                    60_000_000,
                    dialect="removebg",
                )
            ),
        )
        await timed("commit", store.commit("bench", f"r{i}", f"r{i}", 900))
    return times_s


async def run(rounds: int) -> None:
    """Print a table."""
    with tempfile.TemporaryDirectory() as directory:
        valkey = ValkeyProcess(Path(directory), "everysec")
        valkey.start()
        try:
            store = ValkeyAccountStore(
                open_valkey(valkey.url, 5), Plans({"bench": PLAN}, "bench"), REPEAT_WINDOW_US, RECORD_TTL_US
            )
            await measure(store, rounds // 10 + 1)  # Warms up both sides.
            await open_valkey(valkey.url, 5).flushdb()
            report(await measure(store, rounds))
            await store.close()
        finally:
            valkey.kill()


def report(times_s: dict[str, list[float]]) -> None:
    """One line a step: median, 99th percentile, ratio of the medians to PING's."""
    ping_s = statistics.median(times_s["ping"])
    print("| step | median | p99 | to PING |\n|---|---|---|---|")
    for name, values in times_s.items():
        median_s = statistics.median(values)
        p99_s = statistics.quantiles(values, n=100)[98]
        print(f"| {name} | {median_s * 1e6:.0f} us | {p99_s * 1e6:.0f} us | {median_s / ping_s:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5000, help="reservations (5000)")
    asyncio.run(run(parser.parse_args().rounds))


if __name__ == "__main__":
    main()
