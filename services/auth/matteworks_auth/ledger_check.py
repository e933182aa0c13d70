"""Proves that no credit was made or lost: `python -m matteworks_auth.ledger_check --store-url URL`.

For every account, what was granted equals balances + held + spent. Exits 1 and names the accounts
where it does not.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from matteworks_auth.plans import load_plans
from matteworks_auth.store import AccountRecord, AccountStore
from matteworks_auth.store_valkey import ValkeyAccountStore, open_valkey


def drift_milli(record: AccountRecord) -> int:
    """Thousandths of a credit that appeared (positive) or vanished (negative); 0 when all is well."""
    accounted = record.subscription + record.payg + record.enterprise + record.held + record.spent
    return accounted - record.granted


async def check(store: AccountStore) -> list[tuple[str, int]]:
    """Accounts that drift, with their drift."""
    records = [await store.get_account(account_id) for account_id in await store.list_accounts()]
    return [(record.account_id, drift_milli(record)) for record in records if drift_milli(record)]


async def _main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store-url", required=True, help="redis://HOST:PORT/DB")
    parser.add_argument("--plans-file", type=Path, default=Path(__file__).with_name("plans.toml"))
    arguments = parser.parse_args()
    client = open_valkey(arguments.store_url, timeout_s=5.0)
    store = ValkeyAccountStore(client, load_plans(arguments.plans_file), 0, 3_600_000_000)
    try:
        drifting = await check(store)
        count = len(await store.list_accounts())
    finally:
        await store.close()
    for account_id, drift in drifting:
        sys.stderr.write(f"{account_id}: {drift:+d} thousandths of a credit\n")
    sys.stdout.write(f"{count} accounts, {len(drifting)} drifting\n")
    return 1 if drifting else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(_main()))
