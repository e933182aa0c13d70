"""Looks through the books while the service runs: whether credits appeared or vanished, who runs out."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import structlog

from matteworks_auth.ledger_check import drift_milli, faults
from matteworks_auth.metrics import AuthMetrics
from matteworks_auth.stores.contract import AccountRecord, AccountStore
from matteworks_common.clock import Clock
from matteworks_common.errors import NotFound, Unavailable

_PAGE_ACCOUNTS = 500
# At most 200 accounts a second, so that nobody notices.
_PAUSE_S = 0.005
# After a store that was away, which at the start is the rule.
_RETRY_S = 5.0
log = structlog.get_logger()


class Auditor:
    """Each replica looks; an account is read in one atomic step, as any caller reads it. `low_milli`:
    thousandths of a credit below which an account counts as low.
    """

    def __init__(
        self, store: AccountStore, clock: Clock, interval_s: float, low_milli: int, metrics: AuthMetrics
    ) -> None:
        self._store = store
        self._clock = clock
        self._interval_s = interval_s
        self._low_milli = low_milli
        self._metrics = metrics

    async def run(self) -> None:
        """One round after another until cancelled; none at all with an interval of 0."""
        while self._interval_s:
            try:
                await self.look()
            except Unavailable:
                await asyncio.sleep(min(_RETRY_S, self._interval_s))
                continue
            except Exception:
                # A bug must not end the looking; the age of the last round tells of it.
                log.exception("audit_failed")
            await asyncio.sleep(self._interval_s)

    async def look(self) -> None:
        """One round over all accounts. Raises Unavailable; then the numbers stay those of the last round."""
        credits: Counter[str] = Counter()
        accounts: Counter[str] = Counter()
        drift = 0
        async for record in self._records():
            problems = faults(record)
            if problems:
                log.error("books_do_not_balance", account_id=record.account_id, problems=problems)
            drift += abs(drift_milli(record))
            available = record.subscription + record.payg + record.enterprise
            accounts["all"] += 1
            accounts["faulty"] += bool(problems)
            accounts["low"] += 0 < available < self._low_milli
            accounts["empty"] += available == 0
            credits += Counter(
                available=available,
                held=record.held,
                spent=record.spent,
                expired=record.expired,
                granted=record.granted,
            )
        self._metrics.books_seen(credits, accounts, drift, self._clock.unix_s())

    async def _records(self) -> AsyncIterator[AccountRecord]:
        after = ""
        while page := await self._store.list_accounts(after, limit=_PAGE_ACCOUNTS):
            for account_id in page:
                try:
                    yield await self._store.get_account(account_id)
                except NotFound:
                    continue
                await asyncio.sleep(_PAUSE_S)
            after = page[-1]
