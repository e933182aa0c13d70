"""AuthService: proto in, store call, proto out."""

from __future__ import annotations

import math
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from matteworks.auth.v1 import auth_pb2, auth_pb2_grpc
from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_auth import refusals
from matteworks_auth.authenticator import Authenticator
from matteworks_auth.calendar_us import day_from_text, day_of, day_to_text
from matteworks_auth.metrics import AuthMetrics
from matteworks_auth.quota import Price
from matteworks_auth.store import AccountRecord, AccountStore, RateState, Reservation
from matteworks_common.clock import Clock
from matteworks_common.errors import InvalidField, MatteworksError

MAX_ID_LENGTH = 128
MAX_TTL_S = 600.0
MAX_PRICES = 16
MAX_PRICE_MILLI = 10**15
MAX_USAGE_DAYS = 400
DEFAULT_USAGE_DAYS = 30


def timestamp_of(unix_us: int) -> Timestamp:
    """The wire form of Unix microseconds."""
    stamp = Timestamp()
    stamp.FromMicroseconds(unix_us)
    return stamp


def account_to_proto(record: AccountRecord) -> auth_pb2.Account:
    """The wire form of an account."""
    return auth_pb2.Account(
        account_id=record.account_id,
        display_name=record.display_name,
        plan=record.plan,
        subscription_credits_milli=record.subscription,
        payg_credits_milli=record.payg,
        enterprise_credits_milli=record.enterprise,
        free_call_count=record.free_calls,
        held_credits_milli=record.held,
        spent_credits_milli=record.spent,
        create_time=timestamp_of(record.created_us),
    )


def checked_id(field: str, text: str) -> str:
    """`text` when it is 1 to 128 characters. Raises InvalidField."""
    if not 0 < len(text) <= MAX_ID_LENGTH:
        raise InvalidField(field, f"Give an id of 1 to {MAX_ID_LENGTH} characters.")
    return text


class AuthServicer(auth_pb2_grpc.AuthServiceServicer):
    """`default_ttl_s`: life of a reservation whose caller names none."""

    def __init__(
        self,
        store: AccountStore,
        authenticator: Authenticator,
        clock: Clock,
        default_ttl_s: float,
        metrics: AuthMetrics,
    ) -> None:
        self._store = store
        self._authenticator = authenticator
        self._clock = clock
        self._default_ttl_s = default_ttl_s
        self._metrics = metrics

    async def Authenticate(
        self, request: auth_pb2.AuthenticateRequest, context: Any
    ) -> auth_pb2.AuthenticateResponse:
        key = await self._authenticator.identify(request.api_key)
        return auth_pb2.AuthenticateResponse(
            account_id=key.account_id, key_id=key.key_id, plan=key.plan, is_test=key.is_test
        )

    async def Reserve(self, request: auth_pb2.ReserveRequest, context: Any) -> auth_pb2.ReserveResponse:
        reservation = self._checked_reservation(request)
        try:
            held = await self._store.reserve(reservation)
        except MatteworksError as error:
            self._metrics.reservations.labels(error.reason_name).inc()
            raise
        self._metrics.reservations.labels("repeat" if held.is_repeat else "held").inc()
        return auth_pb2.ReserveResponse(
            reservation_id=f"{reservation.account_id}:{held.owner_request_id}",
            credits_milli=held.credits_milli,
            price_index=held.price_index,
            rate_limit=_rate_to_proto(held.rate),
            expire_time=timestamp_of(held.expires_us),
            is_repeat=held.is_repeat,
        )

    async def Commit(self, request: auth_pb2.CommitRequest, context: Any) -> auth_pb2.CommitResponse:
        account_id, owner = _split(request.reservation_id)
        request_id = checked_id("request_id", request.request_id)
        charged = await self._store.commit(account_id, owner, request_id)
        self._metrics.commits.labels("charged" if charged else "free").inc()
        return auth_pb2.CommitResponse(charged_credits_milli=charged)

    async def Release(self, request: auth_pb2.ReleaseRequest, context: Any) -> auth_pb2.ReleaseResponse:
        account_id, owner = _split(request.reservation_id)
        request_id = checked_id("request_id", request.request_id)
        released = await self._store.release(account_id, owner, request_id)
        self._metrics.releases.labels("given_back" if released else "nothing").inc()
        return auth_pb2.ReleaseResponse(released_credits_milli=released)

    async def GetAccount(
        self, request: auth_pb2.GetAccountRequest, context: Any
    ) -> auth_pb2.GetAccountResponse:
        record = await self._store.get_account(request.account_id)
        return auth_pb2.GetAccountResponse(
            account=account_to_proto(record), rate_limit=_rate_to_proto(record.rate)
        )

    async def GetUsage(self, request: auth_pb2.GetUsageRequest, context: Any) -> auth_pb2.GetUsageResponse:
        today = day_of(round(self._clock.unix_s() * 1e6))
        last = _day("last_day", request.last_day, today)
        first = _day("first_day", request.first_day, last - DEFAULT_USAGE_DAYS)
        if not 0 <= last - first < MAX_USAGE_DAYS:
            raise InvalidField("first_day", f"Ask for at most {MAX_USAGE_DAYS} days, the first one first.")
        days = await self._store.usage(request.account_id, first, last)
        return auth_pb2.GetUsageResponse(
            days=[
                auth_pb2.DailyUsage(
                    day=day_to_text(usage.day),
                    committed_request_count=usage.committed,
                    released_request_count=usage.released,
                    refused_request_count=usage.refused,
                    charged_credits_milli=usage.charged,
                    megapixel_count=usage.megapixels,
                    free_call_count=usage.free_calls,
                )
                for usage in days
            ]
        )

    def _checked_reservation(self, request: auth_pb2.ReserveRequest) -> Reservation:
        if not 1 <= len(request.prices) <= MAX_PRICES:
            raise InvalidField("prices", f"Give 1 to {MAX_PRICES} prices.")
        if not all(0 <= price.credits_milli <= MAX_PRICE_MILLI for price in request.prices):
            raise InvalidField("prices", "Give prices of 0 to 10^15 thousandths of a credit.")
        if not 1 <= request.megapixels <= 50:
            raise InvalidField("megapixels", "Give the input's megapixels, rounded up, 1 to 50.")
        if len(request.fingerprint) > MAX_ID_LENGTH:
            raise InvalidField("fingerprint", f"Give at most {MAX_ID_LENGTH} characters.")
        ttl_s = self._default_ttl_s
        if request.HasField("time_to_live"):
            ttl_s = request.time_to_live.ToNanoseconds() / 1e9
        if not 0 < ttl_s <= MAX_TTL_S:
            raise InvalidField("time_to_live", f"Give more than 0 and at most {MAX_TTL_S:.0f} seconds.")
        return Reservation(
            request_id=checked_id("request_id", request.request_id),
            account_id=checked_id("account_id", request.account_id),
            key_id=request.key_id,
            prices=[Price(price.credits_milli, price.is_free_call_eligible) for price in request.prices],
            megapixels=request.megapixels,
            fingerprint=request.fingerprint,
            time_to_live_us=math.ceil(ttl_s * 1e6),
        )


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


def _rate_to_proto(rate: RateState) -> auth_pb2.RateLimit:
    return auth_pb2.RateLimit(
        limit_megapixels=rate.limit,
        remaining_megapixels=rate.remaining,
        reset_time=timestamp_of(rate.reset_us),
    )
