"""A key's secret is in no log line and nowhere in the store."""

from __future__ import annotations

from pathlib import Path

import pytest
import structlog

from matteworks_auth.stores.valkey.connection import open_valkey
from tests.component.auth.harness import serving
from tests.support.valkey import ValkeyProcess


def written_files(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file())


async def test_the_store_holds_no_secret(tmp_path: Path) -> None:
    valkey = ValkeyProcess(tmp_path)
    valkey.start()
    try:
        async with serving(valkey.url) as auth:
            await auth.make_account()
            made = await auth.make_key()
            await auth.authenticate(made.api_key)
            client = open_valkey(valkey.url, timeout_s=5)
            stored = await client.hgetall(f"mw:key:{made.key.key_id}")
            await client.aclose()
    finally:
        valkey.kill()
    secret = made.api_key.split("_")[3]
    assert stored["key_id"] == made.key.key_id
    assert secret[:43] not in str(stored)
    assert secret[:43].encode() not in written_files(tmp_path)


async def test_no_log_line_has_the_key() -> None:
    with structlog.testing.capture_logs() as lines:
        async with serving() as auth:
            await auth.make_account()
            made = await auth.make_key()
            await auth.authenticate(made.api_key)
            with pytest.raises(Exception, match="not valid"):
                await auth.authenticate(made.api_key[:-1] + "!")
    assert lines
    assert made.api_key.split("_")[3][:40] not in str(lines)
