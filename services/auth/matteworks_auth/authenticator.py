"""Whose key is this? Remembers records for a moment, so that a burst costs one look-up."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_auth.metrics import AuthMetrics
from matteworks_auth.rules.keys import KeyHasher, KeyRecord
from matteworks_auth.stores.contract import AccountStore
from matteworks_common.clock import Clock
from matteworks_common.errors import Forbidden, Unauthenticated
from matteworks_common.key_format import KeyParts, parse_key

CACHE_ENTRIES = 10_000


@dataclass(frozen=True, slots=True)
class Caller:
    """Who knocks, and from where; empty: not told. An empty dialect is the key's own."""

    api_key: str
    origin: str = ""
    address: str = ""
    dialect: str = ""


class Authenticator:
    """`cache_s`: how long a key's record is remembered, and so how long a revocation may take on other
    replicas. Only records are remembered: the secret is compared and the end checked every time.
    """

    def __init__(
        self, store: AccountStore, hasher: KeyHasher, clock: Clock, cache_s: float, metrics: AuthMetrics
    ) -> None:
        self._store = store
        self._hasher = hasher
        self._clock = clock
        self._cache_s = cache_s
        self._metrics = metrics
        # By key id: until when on the monotonic clock, and the record.
        self._remembered: OrderedDict[str, tuple[float, KeyRecord]] = OrderedDict()

    async def identify(self, caller: Caller) -> KeyRecord:
        """The key's record, its account and plan in it.

        Raises Unauthenticated, with one reason and text for everything but a missing key, so that an
        answer tells nothing about which keys exist; Forbidden for a good key in the wrong place.
        """
        api_key = caller.api_key
        if not api_key:
            raise Unauthenticated(reasons.ERROR_REASON_KEY_MISSING, "Send an API key.", field="api_key")
        parts = parse_key(api_key)
        if parts is None:
            self._metrics.authentications.labels("malformed").inc()
            raise _invalid()
        record = await self._find(parts)
        is_match = self._hasher.matches(parts, record)
        if record is None or not is_match or not record.is_valid_at(round(self._clock.unix_s() * 1e6)):
            self._metrics.authentications.labels("invalid").inc()
            raise _invalid()
        try:
            record.restrictions.check(
                origin=caller.origin, address=caller.address, dialect=caller.dialect or record.own_dialect
            )
        except Forbidden:
            self._metrics.authentications.labels("restricted").inc()
            raise
        self._metrics.authentications.labels("valid").inc()
        return record

    def forget(self, key_id: str) -> None:
        """Look the key up again next time: it was changed here."""
        self._remembered.pop(key_id, None)

    async def _find(self, parts: KeyParts) -> KeyRecord | None:
        until_s, record = self._remembered.get(parts.key_id, (0.0, None))
        if record is not None and self._clock.monotonic_s() < until_s:
            return record
        self.forget(parts.key_id)
        asked_s = self._clock.monotonic_s()
        record = await self._store.get_key(parts.key_id)
        # Unknown ids are not remembered: who guesses ids must not push out the keys in use.
        if record is not None:
            self._remembered[parts.key_id] = (asked_s + self._cache_s, record)
            if len(self._remembered) > CACHE_ENTRIES:
                self._remembered.popitem(last=False)
        return record


def _invalid() -> Unauthenticated:
    return Unauthenticated(
        reasons.ERROR_REASON_KEY_INVALID,
        "This API key is not valid; check it, or ask for a new one.",
        field="api_key",
    )
