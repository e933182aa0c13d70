"""Large contents from one process to another on the same machine, by the name of a file in memory.

A message of 3 MiB is copied about ten times on its way through two sockets and a proxy. So services that see
one directory of a file system in memory (tmpfs) leave such a content there, and send its name. Contents are
copied out of the file, never mapped: nothing that a writer does to it can hurt a reader.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["Borrower", "Lender", "NotShared"]

_NAME: Final = re.compile(r"[0-9a-f]{32}")
# Files that wait for their next content: memory that was used before costs no page faults.
_MOST_KEPT: Final = 16
_YOUNG_S: Final = 10.0


class NotShared(Exception):
    """A content cannot be handed over this way; the message says why, and what to do."""


@dataclass(frozen=True)
class _File:
    name: str
    descriptor: int


class Lender:
    """Writes contents into files of `directory`, which are its own. Use from one thread.

    It holds a lock on each, which ends with its process: a new lender removes what a killed one left.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._kept: list[_File] = []
        self._sweep()

    @contextmanager
    def lend(self, content: bytes | memoryview) -> Iterator[str]:
        """The name under which `content` is read while the block runs.

        A file is used again only after a block that ended well: after any other, somebody may still read it.
        Raises NotShared when the content finds no place.
        """
        file = self._written(content)
        try:
            yield file.name
        except BaseException:
            self._forget(file)
            raise
        if len(self._kept) < _MOST_KEPT:
            self._kept.append(file)
        else:
            self._forget(file)

    def close(self) -> None:
        """Give the memory back."""
        while self._kept:
            self._forget(self._kept.pop())

    def _written(self, content: bytes | memoryview) -> _File:
        try:
            file = self._kept.pop() if self._kept else self._made()
        except OSError as error:
            raise NotShared(f"No file can be made in {self._directory}: {error.strerror}.") from error
        try:
            written = os.pwrite(file.descriptor, content, 0)
        except OSError as error:
            self._forget(file)
            raise NotShared(f"{self._directory} takes no more: {error.strerror}.") from error
        if written < len(content):
            self._forget(file)
            raise NotShared(f"{self._directory} is full: give it more memory.")
        return file

    def _made(self) -> _File:
        name = secrets.token_hex(16)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(self._directory / name, flags, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return _File(name, descriptor)

    def _sweep(self) -> None:
        for path in self._directory.glob("*"):
            with suppress(OSError):
                # One that was just made may not be locked yet.
                if _NAME.fullmatch(path.name) and time.time() - path.lstat().st_mtime > _YOUNG_S:
                    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
                    try:
                        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        path.unlink()
                    finally:
                        os.close(descriptor)

    def _forget(self, file: _File) -> None:
        os.close(file.descriptor)
        with suppress(OSError):
            (self._directory / file.name).unlink()


class Borrower:
    """Reads what lenders wrote into `directory`, on threads of `workers`."""

    def __init__(self, directory: Path, workers: Executor) -> None:
        self._directory = directory
        self._workers = workers

    async def read(self, name: str, size_bytes: int) -> bytes:
        """The first `size_bytes` of the content `name`.

        Raises NotShared when no lender made such a name, nothing is there, or it is shorter.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._workers, self._read, name, size_bytes)

    def _read(self, name: str, size_bytes: int) -> bytes:
        if not _NAME.fullmatch(name):
            raise NotShared("The name is not one that a lender makes.")
        try:
            # Not blocking: whatever else may lie there, opening it must not wait.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(self._directory / name, flags)
        except OSError as error:
            raise NotShared(f"Nothing of that name can be read here: {error.strerror}.") from error
        try:
            facts = os.fstat(descriptor)
            # Before reading: memory for the whole content is taken first.
            if not stat.S_ISREG(facts.st_mode) or facts.st_size < size_bytes:
                raise NotShared(f"Less than {size_bytes} bytes are there.")
            content = os.pread(descriptor, size_bytes, 0)
        finally:
            os.close(descriptor)
        if len(content) < size_bytes:
            raise NotShared(f"Less than {size_bytes} bytes are there.")
        return content
