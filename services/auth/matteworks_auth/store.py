"""What the auth service needs of a store, and the words for it.

Two implementations pass the same tests: `store_valkey` for production, `store_memory` for one process.
Every method may raise Unavailable(STORE_UNAVAILABLE). Then it is not known whether the change was made;
all changes of money are idempotent on their request id, so repeating the call is safe and tells.

Rules that both follow:
- A request is open until it is committed, released, or overdue. Open requests are what an account's
  concurrency counts. Any step on an account first gives back what is overdue (at most 100 at once).
- Only what was admitted is remembered: a refused request may come again under the same id.
- An equal upload (same account, fingerprint, prices and megapixels, within the window, not given back)
  becomes another member of the first one's charge. The first commit of any member is charged; credits
  go back when every member has been released. A repeat takes no rate and no quota, but counts as open.
- A released request keeps its units of the rate limit: it was work.
- Settled requests are remembered for `record_ttl_us`, and at most `max_settled` of an account.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from matteworks_auth.keys import KeyRecord
from matteworks_auth.plans import Plan
from matteworks_auth.quota import Price

BALANCES = ("subscription", "payg", "enterprise")
# Sums of an account stay below this, so that the scripts' doubles are exact.
EXACT_LIMIT_MILLI = 2**53
MAX_OVERDUE_AT_ONCE = 100
CONCURRENCY_RETRY_US = 1_000_000
DEFAULT_MAX_SETTLED = 100_000

KeyEnd = Literal["expire", "revoke"]


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
    """What is held. `owner_request_id`: the request whose charge it is or shares."""

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
        """Balances and limits now. Raises NotFound."""

    async def set_plan(self, account_id: str, plan: Plan) -> AccountRecord:
        """Move to another plan, its keys too. Raises NotFound."""

    async def grant(
        self, request_id: str, account_id: str, balance: str, credits_milli: int
    ) -> AccountRecord:
        """Add credits to one of BALANCES, once for a request id.

        Raises NotFound; Conflict for an id that granted something else; InvalidField when the sum of all
        grants would reach EXACT_LIMIT_MILLI.
        """

    async def list_accounts(self) -> list[str]:
        """Ids of all accounts, sorted."""

    async def put_key(self, record: KeyRecord) -> KeyRecord:
        """Write a new key, with its account's plan. Raises NotFound for an unknown account."""

    async def get_key(self, key_id: str) -> KeyRecord | None:
        """A key's record, ended or not."""

    async def end_key(self, key_id: str, how: KeyEnd, at_us: int) -> KeyRecord:
        """Let a key expire at a time, or revoke it. The earlier end stays. Raises NotFound."""

    async def list_keys(self, account_id: str) -> list[KeyRecord]:
        """Keys of an account, oldest first. Raises NotFound."""

    async def reserve(self, reservation: Reservation) -> Held:
        """Check rate limit, quota, concurrency and balance, in this order, and hold the credits.

        A refusal changes nothing but the counter of refusals. Raises LimitExceeded, FailedPrecondition,
        Conflict, NotFound.
        """

    async def commit(self, account_id: str, owner_request_id: str, request_id: str) -> int:
        """Charge; returns the thousandths of a credit that this request is charged with: 0 when an equal
        request has paid already. Raises NotFound, FailedPrecondition.
        """

    async def release(self, account_id: str, owner_request_id: str, request_id: str) -> int:
        """Give back; returns thousandths of a credit given back by this call. Raises NotFound."""

    async def release_overdue(self) -> int:
        """Give back every reservation whose time has passed, in all accounts; returns how many."""

    async def usage(self, account_id: str, first_day: int, last_day: int) -> list[DayUsage]:
        """Counters of the days with any, oldest first. Raises NotFound."""
