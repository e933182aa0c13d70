"""Days and months in UTC; the scripts' calendar agrees (tests/stores compares them)."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from matteworks_auth.rules.calendar_us import (
    day_from_text,
    day_of,
    day_to_text,
    month_of,
    until_next_day_us,
    until_next_month_us,
)


@given(st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1)))  # noqa: DTZ001 (hypothesis wants naive bounds)
def test_a_period_ends_exactly_where_the_next_begins(moment: datetime) -> None:
    unix_us = int(moment.replace(tzinfo=UTC, microsecond=0).timestamp()) * 1_000_000
    assert day_of(unix_us + until_next_day_us(unix_us)) == day_of(unix_us) + 1
    next_month = unix_us + until_next_month_us(unix_us)
    assert month_of(next_month - 1) == month_of(unix_us)
    assert month_of(next_month) != month_of(unix_us)


def test_days_go_to_text_and_back() -> None:
    assert day_to_text(day_from_text("2026-11-21")) == "2026-11-21"
