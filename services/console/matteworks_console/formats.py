"""Values in the form that people read."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp


def credits(milli: int) -> str:
    """Thousandths of a credit as credits: `1,234.5`."""
    return f"{milli / 1000:,.3f}".rstrip("0").rstrip(".")


def moment(time: Timestamp) -> str:
    """UTC to the minute: `2026-11-23 18:05`."""
    return time.ToDatetime().strftime("%Y-%m-%d %H:%M")


def limit(value: int) -> str:
    """A limit of a plan, 0 for none."""
    return f"{value:,}" if value else "unlimited"


def size(size_bytes: int) -> str:
    """Bytes as megabytes."""
    if not size_bytes:
        return ""
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes < 1e7 else f"{size_bytes / 1e6:.0f} MB"


def second(time: Timestamp) -> str:
    """UTC to the second: `2026-11-23 18:05:09`."""
    return time.ToDatetime().strftime("%Y-%m-%d %H:%M:%S")


def seconds(duration_s: float) -> str:
    """A time that something took: `0.4 ms`, `85 ms`, `1.25 s`."""
    if duration_s >= 1:
        return f"{duration_s:,.2f} s"
    return f"{duration_s * 1000:.0f} ms" if duration_s >= 0.01 else f"{duration_s * 1000:.1f} ms"


def span(duration: Duration) -> str:
    """As `seconds`."""
    return seconds(duration.ToNanoseconds() / 1e9)


def reason(name: str) -> str:
    """The name of an ErrorReason or of a route as words: `rate limit exceeded`."""
    return name.replace("_", " ").replace("-", " ").lower()


FILTERS = (credits, moment, second, limit, size, seconds, span, reason)
