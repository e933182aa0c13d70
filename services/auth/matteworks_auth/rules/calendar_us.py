"""UTC days and months of Unix microseconds, by the same arithmetic as the scripts."""

from __future__ import annotations

from datetime import date, timedelta

DAY_US = 86_400_000_000
_EPOCH = date(1970, 1, 1)


def day_of(unix_us: int) -> int:
    """Days since 1970-01-01."""
    return unix_us // DAY_US


def month_of(unix_us: int) -> int:
    """Months since the year 0: the year times 12, plus 0 for January to 11 for December."""
    day = _EPOCH + timedelta(days=day_of(unix_us))
    return day.year * 12 + day.month - 1


def until_next_day_us(unix_us: int) -> int:
    """Microseconds to the next midnight UTC."""
    return DAY_US - unix_us % DAY_US


def until_next_month_us(unix_us: int) -> int:
    """Microseconds to the first of the next month UTC."""
    year, month = divmod(month_of(unix_us) + 1, 12)
    return (date(year, month + 1, 1) - _EPOCH).days * DAY_US - unix_us


def day_from_text(text: str) -> int:
    """Days since 1970-01-01 of YYYY-MM-DD. Raises ValueError."""
    return (date.fromisoformat(text) - _EPOCH).days


def day_to_text(day: int) -> str:
    """YYYY-MM-DD."""
    return (_EPOCH + timedelta(days=day)).isoformat()
