"""First answers in this process's memory."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from matteworks_auth.stores import refusals
from matteworks_auth.stores.idempotency import KEPT_US, MAX_CALLS, CallId
from matteworks_common.clock import Clock


@dataclass(slots=True)
class _Call:
    fingerprint: str
    lease_id: str
    lease_end_us: int
    forget_us: int
    answer: str | None = None


class MemoryIdempotencyStore:
    """See `IdempotencyStore`. `max_calls` of an account are remembered; beyond, the oldest are forgotten."""

    def __init__(self, clock: Clock, max_calls: int = MAX_CALLS) -> None:
        self._clock = clock
        self._max_calls = max_calls
        # By account, then by digest, in the order in which they are forgotten.
        self._calls: dict[str, OrderedDict[str, _Call]] = {}

    async def begin(self, call: CallId, fingerprint: str, lease_us: int) -> str | None:
        now_us = self._now_us()
        calls = self._calls.setdefault(call.account_id, OrderedDict())
        while calls and next(iter(calls.values())).forget_us <= now_us:
            calls.popitem(last=False)
        known = calls.get(call.digest)
        if known and (known.answer is not None or known.lease_end_us > now_us):
            if known.fingerprint != fingerprint:
                raise refusals.idempotency_key_reused()
            if known.answer is not None:
                return known.answer
            if known.lease_id != call.lease_id:
                raise refusals.idempotency_key_in_use(known.lease_end_us - now_us)
        calls[call.digest] = _Call(fingerprint, call.lease_id, now_us + lease_us, now_us + KEPT_US)
        calls.move_to_end(call.digest)
        if len(calls) > self._max_calls:
            calls.popitem(last=False)
        return None

    async def complete(self, call: CallId, answer: str) -> bool:
        known = self._held(call)
        if known is None:
            return False
        if known.answer is None:
            known.answer = answer
        return True

    async def abandon(self, call: CallId) -> None:
        known = self._held(call)
        if known and known.answer is None:
            del self._calls[call.account_id][call.digest]

    def _now_us(self) -> int:
        return round(self._clock.unix_s() * 1e6)

    def _held(self, call: CallId) -> _Call | None:
        known = self._calls.get(call.account_id, OrderedDict()).get(call.digest)
        is_held = known and known.lease_id == call.lease_id and known.forget_us > self._now_us()
        return known if is_held else None
