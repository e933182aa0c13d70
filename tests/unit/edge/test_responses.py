"""The exact spellings that clients parse."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matteworks.auth.v1 import auth_pb2
from matteworks.common.v1 import image_pb2
from matteworks_common.vocabulary import SUBJECT_TYPES
from matteworks_edge.operations.account import account_document
from matteworks_edge.responses import (
    format_credits,
    rate_limit_headers,
    server_timing,
    type_name,
)


@pytest.mark.parametrize(
    ("credits_milli", "text"),
    [(0, "0"), (250, "0.25"), (1000, "1"), (10_000, "10"), (1, "0.001"), (1500, "1.5")],
)
def test_credits_have_the_shortest_decimal_form(credits_milli: int, text: str) -> None:
    assert format_credits(credits_milli) == text


@given(st.integers(0, 10**12))
def test_credits_are_exact(credits_milli: int) -> None:
    text = format_credits(credits_milli)
    whole, _, rest = text.partition(".")
    assert int(whole) * 1000 + int(rest.ljust(3, "0") or 0) == credits_milli
    assert not text.endswith(".0")


def test_rate_headers_are_whole_numbers() -> None:
    limit = auth_pb2.RateLimit(limit_units=500, remaining_units=-3)
    limit.reset_time.FromNanoseconds(1_800_000_000_000_000_001)
    assert rate_limit_headers(limit) == {
        "X-RateLimit-Limit": "500",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": "1800000001",
    }
    assert rate_limit_headers(None) == rate_limit_headers(auth_pb2.RateLimit()) == {}


def test_every_subject_type_has_a_name_at_both_levels() -> None:
    numbers = image_pb2.SubjectType.values()
    assert {type_name(number, "1") for number in numbers} == {"person", "product", "animal", "car", "other"}
    assert {type_name(number, "2") for number in numbers} == set(SUBJECT_TYPES)


def test_the_total_is_the_sum_of_the_balances() -> None:
    account = auth_pb2.Account(
        subscription_credits_milli=150_250, payg_credits_milli=50_000, enterprise_credits_milli=500
    )
    credits = account_document(account)["data"]["attributes"]["credits"]
    assert credits == {"subscription": 150.25, "payg": 50, "enterprise": 0.5, "total": 200.75}
    assert isinstance(credits["payg"], int)


def test_timing_is_in_milliseconds() -> None:
    assert server_timing([("a", 0.0123), ("b.c", 1)]) == "a;dur=12.3, b.c;dur=1000.0"
