"""A real S3 server for the length of a block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tools.object_server import BUCKET, NotInstalled, ObjectServer

__all__ = ["BUCKET", "ObjectServer", "s3_server"]


@contextmanager
def s3_server(directory: Path) -> Iterator[ObjectServer]:
    """Run the server over `directory`; skips the test where its binary is missing."""
    try:
        server = ObjectServer(directory)
    except NotInstalled as error:
        pytest.skip(str(error))
    try:
        server.start()
        yield server
    finally:
        server.kill()
