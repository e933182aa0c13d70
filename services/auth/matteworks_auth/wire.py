"""What the auth service knows, as the contracts say it, and the checks of what comes in."""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf.timestamp_pb2 import Timestamp

from matteworks.auth.v1 import audit_pb2, auth_pb2, key_restrictions_pb2, plan_pb2, usage_pb2
from matteworks_auth.rules.calendar_us import day_to_text
from matteworks_auth.rules.keys import KeyRecord
from matteworks_auth.rules.plans import Plan
from matteworks_auth.rules.usage import UsageCounts, UsageRow
from matteworks_auth.stores.contract import AccountRecord, AuditEvent, RateScope, RateState, RateUnit
from matteworks_common.errors import InvalidField

MAX_ID_LENGTH = 128
BYTES_A_MB = 1024 * 1024
_UNITS: Mapping[RateUnit, plan_pb2.RateUnit.ValueType] = {
    "megapixels": plan_pb2.RATE_UNIT_MEGAPIXELS,
    "requests": plan_pb2.RATE_UNIT_REQUESTS,
    "none": plan_pb2.RATE_UNIT_NONE,
}
_UNITS_FROM_WIRE: Mapping[int, RateUnit] = {
    plan_pb2.RATE_UNIT_UNSPECIFIED: "megapixels",
    **{number: unit for unit, number in _UNITS.items()},
}
_SCOPES_FROM_WIRE: Mapping[int, RateScope] = {
    plan_pb2.RATE_SCOPE_UNSPECIFIED: "account",
    plan_pb2.RATE_SCOPE_ACCOUNT: "account",
    plan_pb2.RATE_SCOPE_KEY: "key",
}


def checked_id(field: str, text: str) -> str:
    """`text` when it is 1 to 128 characters. Raises InvalidField."""
    if not 0 < len(text) <= MAX_ID_LENGTH:
        raise InvalidField(field, f"Give an id of 1 to {MAX_ID_LENGTH} characters.")
    return text


def checked_unit(number: int) -> RateUnit:
    """What the rate limit counts. Raises InvalidField."""
    if number not in _UNITS_FROM_WIRE:
        raise InvalidField("rate_unit", "Name megapixels, requests or none.")
    return _UNITS_FROM_WIRE[number]


def checked_scope(number: int, key_id: str) -> RateScope:
    """Whose requests count together. Raises InvalidField."""
    if number not in _SCOPES_FROM_WIRE:
        raise InvalidField("rate_scope", "Name account or key.")
    scope = _SCOPES_FROM_WIRE[number]
    if scope == "key" and not key_id:
        raise InvalidField("key_id", "Name the key whose requests count together.")
    return scope


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
        expired_credits_milli=record.expired,
        dialect=record.dialect,
        email=record.email,
    )


def plan_to_proto(plan: Plan) -> plan_pb2.Plan:
    """The wire form of a plan."""
    message = plan_pb2.Plan(
        name=plan.name,
        display_name=plan.display_name or plan.name,
        megapixels_per_minute=plan.megapixels_per_minute,
        requests_per_minute=plan.requests_per_minute,
        requests_per_day=plan.requests_per_day,
        requests_per_month=plan.requests_per_month,
        concurrent_requests=plan.concurrent_requests,
        max_file_bytes=plan.max_file_mb * BYTES_A_MB,
        max_batch_items=plan.max_batch_items,
        starting_credits_milli=plan.starting_credits_milli,
        monthly_credits_milli=plan.monthly_credits_milli,
        free_calls_per_day=plan.free_calls_per_day,
        free_calls_per_month=plan.free_calls_per_month,
    )
    message.result_retention.FromSeconds(plan.retention_hours * 3600)
    return message


def rate_to_proto(rate: RateState) -> auth_pb2.RateLimit:
    """The wire form of a rate limit."""
    is_megapixels = rate.unit == "megapixels"
    return auth_pb2.RateLimit(
        limit_megapixels=rate.limit if is_megapixels else 0,
        remaining_megapixels=rate.remaining if is_megapixels else 0,
        reset_time=timestamp_of(rate.reset_us),
        unit=_UNITS[rate.unit],
        limit_units=rate.limit,
        remaining_units=rate.remaining,
    )


def key_to_proto(record: KeyRecord) -> auth_pb2.Key:
    """The wire form of a key, without its secret."""
    key = auth_pb2.Key(
        key_id=record.key_id,
        account_id=record.account_id,
        display_name=record.display_name,
        is_test=record.is_test,
        create_time=timestamp_of(record.created_us),
        dialect=record.dialect,
        restrictions=key_restrictions_pb2.KeyRestrictions(
            allowed_origins=record.restrictions.origins,
            allowed_networks=record.restrictions.networks,
            allowed_dialects=record.restrictions.dialects,
        ),
    )
    if record.expires_us:
        key.expire_time.FromMicroseconds(record.expires_us)
    if record.revoked_us:
        key.revoke_time.FromMicroseconds(record.revoked_us)
    if record.used_us:
        key.last_use_time.FromMicroseconds(record.used_us)
    return key


def counts_to_proto(counts: UsageCounts) -> usage_pb2.UsageCounts:
    """The wire form of counters."""
    return usage_pb2.UsageCounts(
        call_count=counts.calls,
        committed_request_count=counts.committed,
        released_request_count=counts.released,
        rate_refused_count=counts.refused_rate,
        quota_refused_count=counts.refused_quota,
        concurrency_refused_count=counts.refused_concurrency,
        credits_refused_count=counts.refused_credits,
        charged_credits_milli=counts.charged,
        megapixel_count=counts.megapixels,
        free_call_count=counts.free_calls,
        timed_request_count=counts.timed,
        processing_time_ms=counts.processing_ms,
    )


def row_to_proto(row: UsageRow) -> usage_pb2.UsageRow:
    """The wire form of a key's counters in a dialect."""
    return usage_pb2.UsageRow(
        day=day_to_text(row.day), key_id=row.key_id, dialect=row.dialect, counts=counts_to_proto(row.counts)
    )


def day_to_proto(day: int, counts: UsageCounts) -> auth_pb2.DailyUsage:
    """The wire form of a day's counters."""
    return auth_pb2.DailyUsage(
        day=day_to_text(day),
        committed_request_count=counts.committed,
        released_request_count=counts.released,
        refused_request_count=counts.refused,
        charged_credits_milli=counts.charged,
        megapixel_count=counts.megapixels,
        free_call_count=counts.free_calls,
        counts=counts_to_proto(counts),
    )


def event_to_proto(event: AuditEvent) -> audit_pb2.AuditEvent:
    """The wire form of a change."""
    return audit_pb2.AuditEvent(
        event_id=event.event_id,
        time=timestamp_of(event.time_ms * 1000),
        actor=event.actor,
        action=event.action,
        account_id=event.account_id,
        key_id=event.key_id,
        details=event.details,
        request_id=event.request_id,
    )
