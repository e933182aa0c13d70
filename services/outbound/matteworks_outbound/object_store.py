"""Stores for bytes that outlive a request: a directory, or anybody's bucket."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from obstore.store import LocalStore, MemoryStore, ObjectStore, from_url

if TYPE_CHECKING:
    from obstore.store import RetryConfig

# Somebody waits for the answer: a bucket that is away is told within seconds, not minutes.
_RETRY: Final[RetryConfig] = {"max_retries": 2, "retry_timeout": timedelta(seconds=10)}


def open_object_store(url: str) -> ObjectStore:
    """The store at `url`: file:///directory (made when missing), memory:///, s3://…, gs://…, az://…

    The variable `AWS_ALLOW_HTTP` lets a bucket be reached without TLS.
    """
    parts = urlsplit(url)
    if parts.scheme == "memory":
        return MemoryStore()
    if parts.scheme == "file":
        directory = Path(parts.path)
        return LocalStore(directory, automatic_cleanup=False, mkdir=True)
    return from_url(url, retry_config=_RETRY)
