"""The errors of a store, built in one place for both."""

from __future__ import annotations

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_auth.stores.contract import RateState
from matteworks_common.errors import (
    Conflict,
    FailedPrecondition,
    InvalidField,
    LimitExceeded,
    MatteworksError,
    NotFound,
    Unavailable,
)

IN_USE_RETRY_S = 2.0


def store_unavailable() -> Unavailable:
    """The store does not answer."""
    return Unavailable(
        "The accounts cannot be read right now; nothing was charged.",
        reason=reasons.ERROR_REASON_STORE_UNAVAILABLE,
    )


def account_not_found(account_id: str) -> NotFound:
    """No account has this id."""
    return NotFound(
        reasons.ERROR_REASON_ACCOUNT_NOT_FOUND,
        "There is no such account.",
        field="account_id",
        metadata={"account_id": account_id},
    )


def account_exists(account_id: str) -> Conflict:
    """The id is taken."""
    return Conflict(
        reasons.ERROR_REASON_ACCOUNT_EXISTS,
        "An account with this id exists already; choose another id.",
        field="account_id",
        metadata={"account_id": account_id},
    )


def key_not_found(key_id: str) -> NotFound:
    """No key has this id."""
    return NotFound(
        reasons.ERROR_REASON_KEY_NOT_FOUND,
        "There is no key with this id.",
        field="key_id",
        metadata={"key_id": key_id},
    )


def reservation_not_found(reservation_id: str) -> NotFound:
    """It was never made, or its record has been forgotten."""
    return NotFound(
        reasons.ERROR_REASON_RESERVATION_NOT_FOUND,
        "There is no such reservation, or its record has been forgotten.",
        field="reservation_id",
        metadata={"reservation_id": reservation_id},
    )


def reservation_released(reservation_id: str) -> FailedPrecondition:
    """It was given back, by its caller or by its deadline."""
    return FailedPrecondition(
        reasons.ERROR_REASON_RESERVATION_RELEASED,
        "The reservation has been given back, so it cannot be charged; reserve again.",
        metadata={"reservation_id": reservation_id},
    )


def request_id_reused(request_id: str) -> Conflict:
    """The id belongs to another request."""
    return Conflict(
        reasons.ERROR_REASON_REQUEST_ID_REUSED,
        "This request id was used before with other parameters; use a fresh one.",
        field="request_id",
        metadata={"request_id": request_id},
    )


def too_many_credits() -> InvalidField:
    """The sum would no longer be exact."""
    return InvalidField("credits_milli", "With this the account would have been granted 2^53 or more.")


def refused(kind: str, retry_after_us: int, rate: RateState, detail: str = "") -> MatteworksError:
    """The error of a refused request; `kind` is rate, quota, concurrency or credits.

    `detail` names the quota, or the thousandths of a credit that are left. The state of the rate limit,
    if any was asked for, is in the metadata of each, for the headers of the answer.
    """
    metadata = _rate_metadata(rate)
    if kind == "credits":
        return FailedPrecondition(
            reasons.ERROR_REASON_INSUFFICIENT_CREDITS,
            "The balances do not cover this request; add credits or ask for a smaller size.",
            metadata={**metadata, "available_credits_milli": detail},
        )
    if kind == "quota":
        metadata["quota"] = detail
    reason, message = {
        "rate": (
            reasons.ERROR_REASON_RATE_LIMIT_EXCEEDED,
            f"Too many {rate.unit} in the last minute; wait as long as Retry-After says.",
        ),
        "quota": (
            reasons.ERROR_REASON_QUOTA_EXCEEDED,
            "The plan's quota of requests is used up; wait for the next period or change the plan.",
        ),
        "concurrency": (
            reasons.ERROR_REASON_CONCURRENCY_LIMIT_EXCEEDED,
            "Too many requests of this account are running; send the next when one has finished.",
        ),
    }[kind]
    return LimitExceeded(reason, message, retry_after_s=retry_after_us / 1e6, metadata=metadata)


def idempotency_key_reused() -> Conflict:
    """It belongs to another request."""
    return Conflict(
        reasons.ERROR_REASON_IDEMPOTENCY_KEY_REUSED,
        "This Idempotency-Key was used for another request within 24 hours; use a fresh one.",
        field="idempotency_key",
    )


def idempotency_key_in_use(retry_after_us: int) -> LimitExceeded:
    """Its first request still runs."""
    return LimitExceeded(
        reasons.ERROR_REASON_IDEMPOTENCY_KEY_IN_USE,
        "The first request with this Idempotency-Key still runs; ask again a little later.",
        # It ends long before its lease as a rule.
        retry_after_s=min(retry_after_us / 1e6, IN_USE_RETRY_S),
    )


def _rate_metadata(rate: RateState) -> dict[str, str]:
    if rate.unit == "none":
        return {}
    metadata = {
        "rate_unit": rate.unit,
        "limit_units": str(rate.limit),
        "remaining_units": str(rate.remaining),
        "reset_unix_s": str(-(-rate.reset_us // 1_000_000)),
    }
    if rate.unit == "megapixels":
        metadata |= {"limit_megapixels": str(rate.limit), "remaining_megapixels": str(rate.remaining)}
    return metadata
