"""Proves that no credit was made or lost: `python -m matteworks_auth.ledger_check --store-url URL`.

For every account, what was granted equals balances + held + spent + expired, and no balance is negative.
Exits 0 when all is well, 1 and names the accounts when it is not, 2 when the accounts cannot be read. Safe
while the service runs: an account is read in one atomic step, which may give overdue reservations back.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from matteworks_auth.rules.plans import Plans, load_plans
from matteworks_auth.stores.contract import AccountRecord, AccountStore
from matteworks_auth.stores.valkey.connection import open_valkey
from matteworks_auth.stores.valkey.store import ValkeyAccountStore
from matteworks_common.errors import MatteworksError
from matteworks_common.settings import SettingsError

TIMEOUT_S = 5.0
# What settling an overdue reservation here needs; as the service's default.
RECORD_TTL_US = 86_400_000_000


def drift_milli(record: AccountRecord) -> int:
    """Thousandths of a credit that appeared (positive) or vanished (negative); 0 when all is well."""
    balances = record.subscription + record.payg + record.enterprise
    return balances + record.held + record.spent + record.expired - record.granted


def faults(record: AccountRecord) -> list[str]:
    """What is wrong with the account, in words; empty when all is well."""
    drift = drift_milli(record)
    found = [f"{drift:+d} thousandths of a credit"] if drift else []
    for name in ("subscription", "payg", "enterprise", "held", "spent", "expired"):
        amount: int = getattr(record, name)
        if amount < 0:
            found.append(f"{name} is {amount}")
    return found


async def check(store: AccountStore) -> list[tuple[str, list[str]]]:
    """Ids of the accounts with faults, with these."""
    found = []
    for account_id in await store.list_accounts():
        problems = faults(await store.get_account(account_id))
        if problems:
            found.append((account_id, problems))
    return found


async def run(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="matteworks_auth.ledger_check", description=__doc__)
    parser.add_argument("--store-url", required=True, help="redis://HOST:PORT/DB")
    parser.add_argument(
        "--plans-file",
        type=Path,
        default=Path(__file__).with_name("plans.toml"),
        help="the plans that the service runs with; the packaged ones by default",
    )
    parsed = parser.parse_args(arguments)
    try:
        plans = _without_renewal(load_plans(parsed.plans_file))
        store = ValkeyAccountStore(
            open_valkey(parsed.store_url, TIMEOUT_S), plans, 0, RECORD_TTL_US, timeout_s=TIMEOUT_S
        )
        try:
            account_count = len(await store.list_accounts())
            found = await check(store)
        finally:
            await store.close()
    except (MatteworksError, SettingsError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    for account_id, problems in found:
        sys.stderr.write(f"{account_id}: {'; '.join(problems)}\n")
    sys.stdout.write(f"{account_count} accounts, {len(found)} with a fault\n")
    return 1 if found else 0


def _without_renewal(plans: Plans) -> Plans:
    """A check grants nothing, whatever this file says of monthly credits."""
    return Plans(
        {name: replace(plan, monthly_credits_milli=0) for name, plan in plans.by_name.items()}, plans.default
    )


if __name__ == "__main__":
    sys.exit(asyncio.run(run(sys.argv[1:])))
