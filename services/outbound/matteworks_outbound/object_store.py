"""Stores for bytes that outlive a request: a directory, or anybody's bucket."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from obstore.store import LocalStore, MemoryStore, ObjectStore, from_url


def open_object_store(url: str) -> ObjectStore:
    """The store at `url`: file:///directory (made when missing), memory:///, s3://…, gs://…, az://…"""
    parts = urlsplit(url)
    if parts.scheme == "memory":
        return MemoryStore()
    if parts.scheme == "file":
        directory = Path(parts.path)
        return LocalStore(directory, automatic_cleanup=False, mkdir=True)
    return from_url(url)
