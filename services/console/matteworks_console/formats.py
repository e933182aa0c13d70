"""Values in the form that people read."""

from __future__ import annotations

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
