"""Whose key is this? Remembers valid keys for a moment, so that a burst costs one look-up."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_auth.keys import KeyHasher, KeyRecord
from matteworks_auth.metrics import AuthMetrics
from matteworks_auth.store import AccountRecord, AccountStore
from matteworks_common.clock import Clock
from matteworks_common.errors import Unauthenticated
from matteworks_common.key_format import parse_key

CACHE_ENTRIES = 10_000


@dataclass(frozen=True, slots=True)
class Identity:
    """A valid key and its account at the time of the look-up."""

    key: KeyRecord
    account: AccountRecord


class Authenticator:
    """`cache_s`: how long a valid key is remembered, and so how long a revocation may take."""

    def __init__(
        self, store: AccountStore, hasher: KeyHasher, clock: Clock, cache_s: float, metrics: AuthMetrics
    ) -> None:
        self._store = store
        self._hasher = hasher
        self._clock = clock
        self._cache_s = cache_s
        self._metrics = metrics
        # By the hash of the secret, so that no plaintext key stays in memory.
        self._remembered: OrderedDict[str, tuple[float, Identity]] = OrderedDict()

    async def identify(self, api_key: str) -> Identity:
        """The key's account. Raises Unauthenticated, with one reason for everything but a missing key."""
        if not api_key:
            raise Unauthenticated(reasons.ERROR_REASON_KEY_MISSING, "Send an API key.", field="api_key")
        parts = parse_key(api_key)
        if parts is None:
            self._metrics.authentications.labels("malformed").inc()
            raise _invalid()
        remembered_as = self._hasher.hash(parts.key_id + parts.kind + parts.secret)
        until_s, identity = self._remembered.get(remembered_as, (0.0, None))
        now_us = round(self._clock.unix_s() * 1e6)
        if identity is None or self._clock.monotonic_s() >= until_s:
            self._remembered.pop(remembered_as, None)
            record = await self._store.get_key(parts.key_id)
            if not self._hasher.matches(parts, record) or record is None or not record.is_valid_at(now_us):
                self._metrics.authentications.labels("invalid").inc()
                raise _invalid()
            identity = Identity(record, await self._store.get_account(record.account_id))
            self._remembered[remembered_as] = (self._clock.monotonic_s() + self._cache_s, identity)
            while len(self._remembered) > CACHE_ENTRIES:
                self._remembered.popitem(last=False)
        self._metrics.authentications.labels("valid").inc()
        return identity


def _invalid() -> Unauthenticated:
    return Unauthenticated(
        reasons.ERROR_REASON_KEY_INVALID,
        "This API key is not valid; check it, or ask for a new one.",
        field="api_key",
    )
