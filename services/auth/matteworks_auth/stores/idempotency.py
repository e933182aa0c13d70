"""First answers to requests that may be sent twice: what the service needs of a store.

A call is begun by an attempt, its lease. While the lease lasts no other attempt may begin it. Whoever holds
the call when the work ends completes it; the answer is then given to every later attempt of the same
request until it is forgotten.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol

KEPT_US = 24 * 3600 * 1_000_000
MAX_CALLS = 10_000


@dataclass(frozen=True, slots=True)
class CallId:
    """A call of an account, and the attempt that asks."""

    account_id: str
    idempotency_key: str
    lease_id: str

    @property
    def digest(self) -> str:
        """Of the caller's key, which may hold anything."""
        return hashlib.sha256(self.idempotency_key.encode()).hexdigest()


class IdempotencyStore(Protocol):
    """Every method may raise Unavailable(STORE_UNAVAILABLE), and is safe to repeat."""

    async def begin(self, call: CallId, fingerprint: str, lease_us: int) -> str | None:
        """The first answer, as text; None: the lease is taken, do the work.

        Raises Conflict for another fingerprint, LimitExceeded while another attempt runs.
        """

    async def complete(self, call: CallId, answer: str) -> bool:
        """Keep the answer; False when the lease is not held, so nothing was kept."""

    async def abandon(self, call: CallId) -> None:
        """Free the call, if the lease is held and nothing was answered."""
