"""What the auth service needs of a store, and the words for it.

Two implementations pass the same tests: `store_valkey` for production, `store_memory` for one process.
Every method may raise Unavailable(STORE_UNAVAILABLE); then nothing was changed that a retry with the
same request id would not find again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_auth.keys import KeyRecord
from matteworks_auth.plans import Plan
from matteworks_auth.quota import Price
from matteworks_common.errors import Unavailable

BALANCES = ("subscription", "payg", "enterprise")


def store_unavailable() -> Unavailable:
    """The one error of a store that does not answer."""
    return Unavailable(
        "The accounts cannot be read right now; nothing was charged.",
        reason=reasons.ERROR_REASON_STORE_UNAVAILABLE,
    )


@dataclass(frozen=True, slots=True)
class RateState:
    """State of an account's rate limit; `reset_us` in Unix microseconds."""

    limit: int
    remaining: int
    reset_us: int


@dataclass(frozen=True, slots=True)
class AccountRecord:
    """Amounts in thousandths of a credit. `granted = subscription + payg + enterprise + held + spent`."""

    account_id: str
    display_name: str
    plan: str
    subscription: int
    payg: int
    enterprise: int
    held: int
    spent: int
    granted: int
    free_calls: int
    created_us: int
    rate: RateState


@dataclass(frozen=True, slots=True)
class Reservation:
    """What a caller asks to hold. `fingerprint` empty: never shared."""

    request_id: str
    account_id: str
    key_id: str
    prices: Sequence[Price]
    megapixels: int
    fingerprint: str
    time_to_live_us: int


@dataclass(frozen=True, slots=True)
class Held:
    """What is held. `expires_us` in Unix microseconds."""

    owner_request_id: str
    credits_milli: int
    price_index: int
    rate: RateState
    expires_us: int
    is_repeat: bool


@dataclass(frozen=True, slots=True)
class DayUsage:
    """Counters of one UTC day, given as days since 1970-01-01."""

    day: int
    committed: int = 0
    released: int = 0
    refused: int = 0
    charged: int = 0
    megapixels: int = 0
    free_calls: int = 0


class AccountStore(Protocol):
    """Accounts, keys, reservations, counters."""

    async def ping(self) -> None:
        """Raise unless the store answers."""

    async def close(self) -> None:
        """Let go of every connection."""

    async def create_account(self, account_id: str, display_name: str, plan: Plan) -> AccountRecord:
        """Make an account with the plan's starting credits as subscription. Raises Conflict."""

    async def get_account(self, account_id: str) -> AccountRecord:
        """Balances and limits now, overdue reservations given back first. Raises NotFound."""

    async def set_plan(self, account_id: str, plan: Plan) -> AccountRecord:
        """Move to another plan. Raises NotFound."""

    async def grant(
        self, request_id: str, account_id: str, balance: str, credits_milli: int
    ) -> AccountRecord:
        """Add credits to one of BALANCES, once for a request id. Raises NotFound."""

    async def list_accounts(self) -> list[str]:
        """Ids of all accounts, sorted."""

    async def put_key(self, record: KeyRecord) -> None:
        """Write or overwrite a key's record. Raises NotFound for an unknown account."""

    async def get_key(self, key_id: str) -> KeyRecord | None:
        """A key's record."""

    async def list_keys(self, account_id: str) -> list[KeyRecord]:
        """Keys of an account, oldest first. Raises NotFound."""

    async def reserve(self, reservation: Reservation) -> Held:
        """Check rate, quota, concurrency, balance and hold the credits; nothing changes on refusal
        but the counter of refusals. Raises LimitExceeded, FailedPrecondition, Conflict, NotFound.
        """

    async def commit(self, account_id: str, owner_request_id: str, request_id: str) -> int:
        """Charge; returns thousandths of a credit that this request is charged with.
        Raises NotFound, FailedPrecondition.
        """

    async def release(self, account_id: str, owner_request_id: str, request_id: str) -> int:
        """Give back; returns thousandths of a credit given back by this call. Raises NotFound."""

    async def release_overdue(self) -> int:
        """Give back every reservation whose time has passed, in all accounts; returns how many."""

    async def usage(self, account_id: str, first_day: int, last_day: int) -> list[DayUsage]:
        """Counters of the days with any, oldest first. Raises NotFound."""
