"""AuthService: proto in, store call, proto out."""

from __future__ import annotations

import math
import re
from typing import Any

from google.protobuf.duration_pb2 import Duration

from matteworks.auth.v1 import auth_pb2, auth_pb2_grpc, plan_pb2, usage_pb2
from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_auth.authenticator import Authenticator, Caller
from matteworks_auth.metrics import AuthMetrics
from matteworks_auth.rules.calendar_us import day_from_text, day_of, day_to_text
from matteworks_auth.rules.keys import KeyRecord
from matteworks_auth.rules.plans import Plans
from matteworks_auth.rules.quota import Price
from matteworks_auth.rules.restrictions import checked_dialect
from matteworks_auth.rules.usage import sum_by_day
from matteworks_auth.stores import refusals
from matteworks_auth.stores.contract import AccountStore, CountedCall, Reservation, Urgency
from matteworks_auth.wire import (
    MAX_ID_LENGTH,
    account_to_proto,
    checked_id,
    checked_scope,
    checked_unit,
    day_to_proto,
    plan_to_proto,
    rate_to_proto,
    row_to_proto,
    timestamp_of,
)
from matteworks_common.clock import Clock
from matteworks_common.errors import InvalidField, MatteworksError, Unavailable

MAX_TTL_S = {"interactive": 600.0, "deferred": 7 * 86_400.0}
MAX_PROCESSING_S = 7 * 86_400
MAX_PRICES = 16
MAX_PRICE_MILLI = 10**15
MAX_USAGE_DAYS = 400
MAX_USAGE_ROWS = 10_000
DEFAULT_USAGE_DAYS = 30
_KEY_ID = re.compile(r"[A-Za-z0-9_-]{0,64}")
_URGENCIES: dict[int, Urgency] = {
    auth_pb2.URGENCY_UNSPECIFIED: "interactive",
    auth_pb2.URGENCY_INTERACTIVE: "interactive",
    auth_pb2.URGENCY_DEFERRED: "deferred",
}


class AuthServicer(auth_pb2_grpc.AuthServiceServicer):
    """`default_ttl_s`: life of a reservation whose caller names none. `low_milli`: thousandths of a credit
    below which an account runs low.
    """

    def __init__(
        self,
        store: AccountStore,
        plans: Plans,
        authenticator: Authenticator,
        clock: Clock,
        default_ttl_s: float,
        metrics: AuthMetrics,
        low_milli: int = 0,
    ) -> None:
        self._store = store
        self._plans = plans
        self._authenticator = authenticator
        self._clock = clock
        self._default_ttl_s = default_ttl_s
        self._metrics = metrics
        self._low_milli = low_milli

    async def Authenticate(
        self, request: auth_pb2.AuthenticateRequest, context: Any
    ) -> auth_pb2.AuthenticateResponse:
        caller = Caller(
            request.api_key,
            origin=request.origin,
            address=request.client_address,
            dialect=checked_dialect("dialect", request.dialect),
        )
        key = await self._authenticator.identify(caller)
        return auth_pb2.AuthenticateResponse(
            account_id=key.account_id,
            key_id=key.key_id,
            plan=key.plan,
            is_test=key.is_test,
            plan_details=plan_to_proto(self._plans.find(key.plan)),
            dialect=key.own_dialect,
            rate_limit=await self._rate_limit(key, request),
        )

    async def Reserve(self, request: auth_pb2.ReserveRequest, context: Any) -> auth_pb2.ReserveResponse:
        reservation = self._checked_reservation(request)
        if reservation.is_dry:
            seen = await self._store.reserve(reservation)
            return auth_pb2.ReserveResponse(
                credits_milli=seen.credits_milli,
                price_index=seen.price_index,
                rate_limit=rate_to_proto(seen.rate) if seen.rate else None,
                is_repeat=seen.is_repeat,
            )
        try:
            held = await self._store.reserve(reservation)
        except MatteworksError as error:
            self._metrics.reservations.labels(error.reason_name).inc()
            raise
        self._metrics.reservations.labels("repeat" if held.is_repeat else "held").inc()
        if not held.is_repeat:
            self._metrics.moved("held", held.credits_milli)
        return auth_pb2.ReserveResponse(
            reservation_id=f"{reservation.account_id}:{held.owner_request_id}",
            credits_milli=held.credits_milli,
            price_index=held.price_index,
            rate_limit=rate_to_proto(held.rate) if held.rate else None,
            expire_time=timestamp_of(held.expires_us),
            is_repeat=held.is_repeat,
        )

    async def Commit(self, request: auth_pb2.CommitRequest, context: Any) -> auth_pb2.CommitResponse:
        account_id, owner = _split(request.reservation_id)
        request_id = checked_id("request_id", request.request_id)
        processing_ms = None
        if request.HasField("processing_time"):
            processing_ms = _checked_milliseconds("processing_time", request.processing_time)
        charge = await self._store.commit(account_id, owner, request_id, processing_ms)
        self._metrics.commits.labels("charged" if charge.charged_milli else "free").inc()
        self._metrics.moved("charged", charge.charged_milli)
        return auth_pb2.CommitResponse(
            charged_credits_milli=charge.charged_milli,
            available_credits_milli=charge.available_milli,
            is_low=charge.charged_milli > 0 and charge.available_milli < self._low_milli,
            granted_credits_milli=charge.granted_milli,
        )

    async def Release(self, request: auth_pb2.ReleaseRequest, context: Any) -> auth_pb2.ReleaseResponse:
        account_id, owner = _split(request.reservation_id)
        request_id = checked_id("request_id", request.request_id)
        released = await self._store.release(account_id, owner, request_id)
        self._metrics.releases.labels("given_back" if released else "nothing").inc()
        self._metrics.moved("given_back", released)
        return auth_pb2.ReleaseResponse(released_credits_milli=released)

    async def CountCall(self, request: auth_pb2.CountCallRequest, context: Any) -> auth_pb2.CountCallResponse:
        call = CountedCall(
            request_id=checked_id("request_id", request.request_id),
            account_id=checked_id("account_id", request.account_id),
            key_id=_checked_key_id(request.key_id),
            dialect=checked_dialect("dialect", request.dialect),
            rate_scope=checked_scope(request.rate_scope, request.key_id),
        )
        return auth_pb2.CountCallResponse(rate_limit=rate_to_proto(await self._store.count_call(call)))

    async def GetAccount(
        self, request: auth_pb2.GetAccountRequest, context: Any
    ) -> auth_pb2.GetAccountResponse:
        record = await self._store.get_account(request.account_id)
        return auth_pb2.GetAccountResponse(
            account=account_to_proto(record),
            rate_limit=rate_to_proto(record.rate),
            plan_details=plan_to_proto(self._plans.find(record.plan)),
        )

    async def GetUsage(self, request: auth_pb2.GetUsageRequest, context: Any) -> auth_pb2.GetUsageResponse:
        today = day_of(round(self._clock.unix_s() * 1e6))
        last = _day("last_day", request.last_day, today)
        first = _day("first_day", request.first_day, last - DEFAULT_USAGE_DAYS)
        if not 0 <= last - first < MAX_USAGE_DAYS:
            raise InvalidField("first_day", f"Ask for at most {MAX_USAGE_DAYS} days, the first one first.")
        rows = [
            row
            for row in await self._store.usage(request.account_id, first, last)
            if request.key_id in ("", row.key_id) and request.dialect in ("", row.dialect)
        ]
        response = auth_pb2.GetUsageResponse(
            days=[day_to_proto(day, counts) for day, counts in sum_by_day(rows).items()]
        )
        if request.detail == usage_pb2.USAGE_DETAIL_ROWS:
            if len(rows) > MAX_USAGE_ROWS:
                # Whole days only, so that the next answer starts where this one ends; a day always fits.
                next_first = rows[MAX_USAGE_ROWS].day
                rows = [row for row in rows if row.day < next_first]
                response.next_first_day = day_to_text(next_first)
                del response.days[len(sum_by_day(rows)) :]
            response.rows.extend(row_to_proto(row) for row in rows)
        return response

    async def _rate_limit(
        self, key: KeyRecord, request: auth_pb2.AuthenticateRequest
    ) -> auth_pb2.RateLimit | None:
        """The limit that was asked for; None when it cannot be told, which is no reason to refuse a key."""
        unit = checked_unit(request.rate_unit)
        scope = checked_scope(request.rate_scope, key.key_id)
        if unit == "none" or request.rate_unit == plan_pb2.RATE_UNIT_UNSPECIFIED:
            return None
        try:
            return rate_to_proto(await self._store.rate_state(key, unit, scope))
        except Unavailable:
            return None

    def _checked_reservation(self, request: auth_pb2.ReserveRequest) -> Reservation:
        if not 1 <= len(request.prices) <= MAX_PRICES:
            raise InvalidField("prices", f"Give 1 to {MAX_PRICES} prices.")
        if not all(0 <= price.credits_milli <= MAX_PRICE_MILLI for price in request.prices):
            raise InvalidField("prices", "Give prices of 0 to 10^15 thousandths of a credit.")
        if not 1 <= request.megapixels <= 50:
            raise InvalidField("megapixels", "Give the input's megapixels, rounded up, 1 to 50.")
        if len(request.fingerprint) > MAX_ID_LENGTH:
            raise InvalidField("fingerprint", f"Give at most {MAX_ID_LENGTH} characters.")
        if request.urgency not in _URGENCIES:
            raise InvalidField("urgency", "Name interactive or deferred.")
        urgency = _URGENCIES[request.urgency]
        ttl_s = self._default_ttl_s
        if request.HasField("time_to_live"):
            ttl_s = request.time_to_live.ToNanoseconds() / 1e9
        if not 0 < ttl_s <= MAX_TTL_S[urgency]:
            raise InvalidField(
                "time_to_live", f"Give more than 0 and at most {MAX_TTL_S[urgency]:.0f} seconds."
            )
        return Reservation(
            request_id=checked_id("request_id", request.request_id),
            account_id=checked_id("account_id", request.account_id),
            key_id=_checked_key_id(request.key_id),
            prices=[Price(price.credits_milli, price.is_free_call_eligible) for price in request.prices],
            megapixels=request.megapixels,
            fingerprint=request.fingerprint,
            time_to_live_us=math.ceil(ttl_s * 1e6),
            rate_unit=checked_unit(request.rate_unit),
            rate_scope=checked_scope(request.rate_scope, request.key_id),
            dialect=checked_dialect("dialect", request.dialect),
            urgency=urgency,
            is_dry=request.dry_run,
        )


def _checked_key_id(text: str) -> str:
    if not _KEY_ID.fullmatch(text):
        raise InvalidField("key_id", "Give the public part of the key, or nothing.")
    return text


def _checked_milliseconds(field: str, duration: Duration) -> int:
    if not 0 <= duration.seconds <= MAX_PROCESSING_S:
        raise InvalidField(field, "Give a time from 0 to 7 days.")
    return duration.ToMilliseconds()


def _split(reservation_id: str) -> tuple[str, str]:
    account_id, colon, owner = reservation_id.partition(":")
    if not (account_id and colon and owner):
        raise refusals.reservation_not_found(reservation_id)
    return account_id, owner


def _day(field: str, text: str, default: int) -> int:
    if not text:
        return default
    try:
        return day_from_text(text)
    except ValueError as error:
        raise InvalidField(
            field, "Give a day as YYYY-MM-DD.", reason=reasons.ERROR_REASON_INVALID_ARGUMENT
        ) from error
