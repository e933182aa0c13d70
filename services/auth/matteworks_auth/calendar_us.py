"""UTC days and months of Unix microseconds; what the scripts compute too."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

DAY_US = 86_400_000_000
_EPOCH = date(1970, 1, 1)


def day_of(unix_us: int) -> int:
    """Days since 1970-01-01."""
    return unix_us // DAY_US


def month_of(unix_us: int) -> str:
    """YYYY-MM."""
    return datetime.fromtimestamp(unix_us / 1e6, UTC).strftime("%Y-%m")


def until_next_day_us(unix_us: int) -> int:
    """Microseconds to the next midnight UTC."""
    return DAY_US - unix_us % DAY_US


def until_next_month_us(unix_us: int) -> int:
    """Microseconds to the first of the next month UTC."""
    now = datetime.fromtimestamp(unix_us / 1e6, UTC)
    first = (now.replace(day=1, hour=0, minute=0, second=0, microsecond=0) + timedelta(days=32)).replace(
        day=1
    )
    return round(first.timestamp()) * 1_000_000 - unix_us


def day_from_text(text: str) -> int:
    """Days since 1970-01-01 of YYYY-MM-DD. Raises ValueError."""
    return (date.fromisoformat(text) - _EPOCH).days


def day_to_text(day: int) -> str:
    """YYYY-MM-DD."""
    return (_EPOCH + timedelta(days=day)).isoformat()
