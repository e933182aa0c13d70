"""Bytes in a directory or a bucket."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import obstore
import structlog
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, S3Store

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.errors import LimitExceeded, MatteworksError, NotFound, Unavailable
from matteworks_outbound.object_store import open_object_store

CHUNK_BYTES = 1024 * 1024
_FULL_RETRY_S = 60.0
# What a file system, and the servers that speak S3, say when they are full.
_FULL = re.compile(
    r"No space left|os error 28\b|Disk quota|507 Insufficient|InsufficientStorage|StorageFull|QuotaExceeded"
)
log = structlog.get_logger()


class ObjectBox:
    """Puts, reads and deletes objects by name; a directory keeps `min_free_bytes` free.

    `on_failure` is told what failed (put, get, delete, check) and why: away or full.
    """

    def __init__(self, store: ObjectStore, directory: Path | None, min_free_bytes: int) -> None:
        self.on_failure: Callable[[str, str], None] = lambda _what, _why: None
        self._store = store
        self._directory = directory
        self._min_free_bytes = min_free_bytes

    async def put(self, name: str, content: bytes, content_type: str) -> None:
        """Keep `content`, in place of what was there. Raises LimitExceeded (RESULT_STORE_FULL) or
        Unavailable.
        """
        if self._directory is not None:
            free_bytes = await asyncio.to_thread(lambda: shutil.disk_usage(str(self._directory)).free)
            if free_bytes - len(content) < self._min_free_bytes:
                raise self._full("put")
        # A directory has no place for attributes; the index knows them.
        attributes = None if isinstance(self._store, LocalStore) else {"Content-Type": content_type}
        try:
            await obstore.put_async(self._store, name, content, attributes=attributes, use_multipart=False)
        except (BaseError, OSError) as error:
            if _FULL.search(str(error)):
                raise self._full("put") from error
            raise self._away("put", error) from error

    async def get(self, name: str) -> bytes:
        """The whole object. Raises NotFound (RESULT_NOT_FOUND), Unavailable."""
        try:
            found = await obstore.get_async(self._store, name)
            return bytes(await found.bytes_async())
        except FileNotFoundError as error:
            raise result_not_found() from error
        except (BaseError, OSError) as error:
            raise self._away("get", error) from error

    async def stream(self, name: str, first: int, count: int) -> AsyncIterator[bytes]:
        """`count` bytes from `first` on, in pieces of at most CHUNK_BYTES. Raises as `get`."""
        try:
            for start in range(first, first + count, CHUNK_BYTES):
                length = min(CHUNK_BYTES, first + count - start)
                yield bytes(await obstore.get_range_async(self._store, name, start=start, length=length))
        except FileNotFoundError as error:
            raise result_not_found() from error
        except (BaseError, OSError) as error:
            raise self._away("get", error) from error

    async def delete(self, name: str) -> None:
        """Afterwards it is not there; fine when it was not before. Raises Unavailable."""
        try:
            with contextlib.suppress(FileNotFoundError):
                await obstore.delete_async(self._store, name)
        except (BaseError, OSError) as error:
            raise self._away("delete", error) from error

    async def native_url(self, name: str, lifetime_s: float) -> str | None:
        """A URL of the store's own; None when it has none."""
        if not isinstance(self._store, S3Store):
            return None
        return await obstore.sign_async(self._store, "GET", name, timedelta(seconds=lifetime_s))

    async def check(self) -> None:
        """Raise Unavailable unless the store answers."""
        try:
            with contextlib.suppress(FileNotFoundError):
                await obstore.head_async(self._store, "results/none")
        except (BaseError, OSError) as error:
            raise self._away("check", error) from error

    def free_bytes(self) -> float:
        """Room that is left in a directory; infinity for a bucket."""
        return shutil.disk_usage(str(self._directory)).free if self._directory else float("inf")

    def _full(self, what: str) -> MatteworksError:
        self.on_failure(what, "full")
        return LimitExceeded(
            reasons.ERROR_REASON_RESULT_STORE_FULL,
            "The store of results is full; nothing was charged. Ask its operator for room.",
            retry_after_s=_FULL_RETRY_S,
        )

    def _away(self, what: str, error: BaseException) -> Unavailable:
        self.on_failure(what, "away")
        log.warning("object_store_unavailable", error=type(error).__name__)
        return Unavailable("The store of results does not answer; nothing was charged.")


def open_box(url: str, min_free_mb: int) -> ObjectBox:
    """The store that `url` names; a directory is made when it is missing."""
    parts = urlsplit(url)
    directory = Path(parts.path) if parts.scheme == "file" else None
    return ObjectBox(open_object_store(url), directory, min_free_mb * 1024 * 1024)


def result_not_found() -> NotFound:
    """It is not there, or somebody else's: the same words for both."""
    return NotFound(
        reasons.ERROR_REASON_RESULT_NOT_FOUND,
        "There is no such result, or it is gone.",
        field="result_id",
    )
