"""What the auth service needs of a store, and the words for it.

Two implementations pass the same tests: `valkey` for production, `memory` for one process.
Every method may raise Unavailable(STORE_UNAVAILABLE). Then it is not known whether the change was made;
all changes of money are idempotent on their request id, so repeating the call is safe and tells.

Rules that both follow:
- A request is open until it is committed, released, or overdue. Open interactive requests are what an
  account's concurrency counts. Any step on an account first gives back what is overdue (at most 100 at
  once).
- Only what was admitted is remembered: a refused request may come again under the same id.
- An equal upload (same account, fingerprint, prices and megapixels, within the window, not given back)
  becomes another member of the first one's charge. The first commit of any member is charged; credits
  go back when every member has been released. A repeat takes no rate and no quota, but counts as open.
- A released request keeps its units of the rate limit: it was work.
- Settled requests are remembered for `record_ttl_us`, and at most `max_settled` of an account.
- The subscription of a plan with monthly credits is renewed by the first look or reservation of a UTC
  month. What is left of it expires, and so does what is released later.
- Each change by an administrator writes one event of the audit log in the same atomic step; a change
  that changes nothing writes none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from matteworks_auth.rules.keys import KeyRecord
from matteworks_auth.rules.plans import Plan
from matteworks_auth.rules.quota import Price
from matteworks_auth.rules.restrictions import Restrictions
from matteworks_auth.rules.usage import UsageRow

BALANCES = ("subscription", "payg", "enterprise")
# Sums of an account stay below this, so that the scripts' doubles are exact.
EXACT_LIMIT_MILLI = 2**53
MAX_OVERDUE_AT_ONCE = 100
CONCURRENCY_RETRY_US = 1_000_000
DEFAULT_MAX_SETTLED = 100_000
COUNTED_TTL_US = 60_000_000

RateUnit = Literal["megapixels", "requests", "none"]
RateScope = Literal["account", "key"]
Urgency = Literal["interactive", "deferred"]


@dataclass(frozen=True, slots=True)
class RateState:
    """State of a rate limit, in `unit`; `reset_us` in Unix microseconds."""

    unit: RateUnit
    limit: int
    remaining: int
    reset_us: int


@dataclass(frozen=True, slots=True)
class AccountRecord:
    """Amounts in thousandths of a credit.

    `granted = subscription + payg + enterprise + held + spent + expired`. `rate` is that of megapixels.
    """

    account_id: str
    display_name: str
    plan: str
    subscription: int
    payg: int
    enterprise: int
    held: int
    spent: int
    expired: int
    granted: int
    free_calls: int
    created_us: int
    rate: RateState
    dialect: str = ""
    email: str = ""


@dataclass(frozen=True, slots=True)
class Reservation:
    """What a caller asks to hold. `fingerprint` empty: never shared. `is_dry`: only look, hold nothing."""

    request_id: str
    account_id: str
    key_id: str
    prices: Sequence[Price]
    megapixels: int
    fingerprint: str
    time_to_live_us: int
    rate_unit: RateUnit = "megapixels"
    rate_scope: RateScope = "account"
    dialect: str = ""
    urgency: Urgency = "interactive"
    is_dry: bool = False


@dataclass(frozen=True, slots=True)
class Held:
    """What is held. `owner_request_id`: the request whose charge it is or shares. `rate` None: it took
    nothing of a rate limit.
    """

    owner_request_id: str
    credits_milli: int
    price_index: int
    rate: RateState | None
    expires_us: int
    is_repeat: bool


@dataclass(frozen=True, slots=True)
class CountedCall:
    """A call that holds no credits."""

    request_id: str
    account_id: str
    key_id: str
    dialect: str = ""
    rate_scope: RateScope = "account"


@dataclass(frozen=True, slots=True)
class Charge:
    """What a commit has charged, what all balances together still have, and what the account was ever
    given.
    """

    charged_milli: int
    available_milli: int
    granted_milli: int


@dataclass(frozen=True, slots=True)
class Author:
    """Who makes a change, and in which call."""

    actor: str = "administrator"
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One change. `event_id` is `MILLISECONDS-NUMBER`, growing with time."""

    event_id: str
    actor: str
    action: str
    account_id: str
    key_id: str
    request_id: str
    details: Mapping[str, str]

    @property
    def time_ms(self) -> int:
        """When, in Unix milliseconds."""
        return int(self.event_id.partition("-")[0])


@dataclass(frozen=True, slots=True)
class AuditLimits:
    """How much of the log is kept."""

    max_events: int = 100_000
    retention_ms: int = 400 * 86_400_000


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Which events: of one account or, empty, of all; from `start_ms` on and before `end_ms`; older than
    the event `before_id`, empty: from the latest.
    """

    limit: int
    account_id: str = ""
    before_id: str = ""
    start_ms: int = 0
    end_ms: int = 2**53


NOBODY = Author()


class AccountStore(Protocol):
    """Accounts, keys, reservations, counters, and who changed them."""

    async def ping(self) -> None:
        """Raise unless the store answers."""

    async def close(self) -> None:
        """Let go of every connection."""

    async def create_account(
        self,
        account_id: str,
        display_name: str,
        plan: Plan,
        *,
        dialect: str = "",
        email: str = "",
        by: Author = NOBODY,
    ) -> AccountRecord:
        """Make an account with the plan's starting and monthly credits as subscription. Raises Conflict."""

    async def get_account(self, account_id: str) -> AccountRecord:
        """Balances and limits now. Raises NotFound."""

    async def update_account(
        self, account_id: str, changes: Mapping[str, str], *, by: Author = NOBODY
    ) -> AccountRecord:
        """Change display_name, dialect or email. Raises NotFound."""

    async def set_plan(self, account_id: str, plan: Plan, *, by: Author = NOBODY) -> AccountRecord:
        """Move to another plan; a subscription below its monthly credits is raised to them.

        Raises NotFound.
        """

    async def grant(
        self, request_id: str, account_id: str, balance: str, credits_milli: int, *, by: Author = NOBODY
    ) -> AccountRecord:
        """Add credits to one of BALANCES, once for a request id.

        Raises NotFound; Conflict for an id that granted something else; InvalidField when the sum of all
        grants would reach EXACT_LIMIT_MILLI.
        """

    async def list_accounts(self, after: str = "", prefix: str = "", limit: int = 0) -> list[str]:
        """Ids of the accounts after `after` that start with `prefix`, sorted; `limit` 0: all."""

    async def put_key(self, record: KeyRecord, *, by: Author = NOBODY) -> KeyRecord:
        """Write a new key. Raises NotFound for an unknown account."""

    async def get_key(self, key_id: str) -> KeyRecord | None:
        """A key's record, ended or not, with its account's plan and dialect."""

    async def update_key(
        self,
        key_id: str,
        *,
        display_name: str | None = None,
        dialect: str | None = None,
        restrictions: Restrictions | None = None,
        expires_us: int | None = None,
        by: Author = NOBODY,
    ) -> KeyRecord:
        """Change what is given; an end can come nearer but not go away. Raises NotFound."""

    async def revoke_key(self, key_id: str, at_us: int, *, by: Author = NOBODY) -> KeyRecord:
        """End a key; the first revocation stays. Raises NotFound."""

    async def rotate_key(
        self, key_id: str, successor: KeyRecord, ends_us: int, *, by: Author = NOBODY
    ) -> KeyRecord:
        """Write the successor and let the old key end, in one step. Raises NotFound."""

    async def list_keys(self, account_id: str) -> list[KeyRecord]:
        """Keys of an account, oldest first, with when each was last used. Raises NotFound."""

    async def reserve(self, reservation: Reservation) -> Held:
        """Check rate limit, quota, concurrency and balance, in this order, and hold the credits.

        A refusal changes nothing but the counters; who only looks (`is_dry`) changes not even those. Raises
        LimitExceeded, FailedPrecondition, Conflict, NotFound.
        """

    async def commit(
        self, account_id: str, owner_request_id: str, request_id: str, processing_ms: int | None = None
    ) -> Charge:
        """Charge what this request is charged with: 0 when an equal request has paid already.

        Raises NotFound, FailedPrecondition.
        """

    async def release(self, account_id: str, owner_request_id: str, request_id: str) -> int:
        """Give back; returns thousandths of a credit given back by this call. Raises NotFound."""

    async def release_overdue(self) -> int:
        """Give back every reservation whose time has passed, in all accounts; returns how many."""

    async def count_call(self, call: CountedCall) -> RateState:
        """Take one request of the rate limit, once for a request id. Raises LimitExceeded, NotFound."""

    async def rate_state(self, key: KeyRecord, unit: RateUnit, scope: RateScope) -> RateState:
        """The rate limit that a request with this key would meet; takes nothing."""

    async def usage(self, account_id: str, first_day: int, last_day: int) -> list[UsageRow]:
        """Counters of the days with any, by day, key and dialect. Raises NotFound."""

    async def audit_events(self, query: AuditQuery) -> list[AuditEvent]:
        """Events, latest first."""
