"""One gateway with jobs for all tests of this directory; every test makes its own accounts."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.gateway_harness import Gateway, gateway
from tests.support.valkey import ValkeyProcess


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    valkey = ValkeyProcess(tmp_path_factory.mktemp("valkey"))
    valkey.start()
    try:
        async with gateway(valkey, tmp_path_factory.mktemp("objects")) as running:
            yield running
    finally:
        valkey.kill()
