"""Jobs over a real Valkey, emptied before each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from redis import Redis

from tests.support.jobs_harness import JobsStack, jobs_stack
from tests.support.valkey import ValkeyProcess


@pytest.fixture(scope="session")
def valkey_of_jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyProcess]:
    process = ValkeyProcess(tmp_path_factory.mktemp("valkey"))
    process.start()
    try:
        yield process
    finally:
        process.kill()


@pytest.fixture
def valkey(valkey_of_jobs: ValkeyProcess) -> ValkeyProcess:
    with Redis.from_url(valkey_of_jobs.url) as client:
        client.flushall()
    return valkey_of_jobs


@pytest_asyncio.fixture
async def stack(valkey: ValkeyProcess, tmp_path: Path) -> AsyncIterator[JobsStack]:
    async with jobs_stack(valkey, tmp_path / "objects") as running:
        yield running
