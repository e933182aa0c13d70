"""The console on a real HTTP server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import pytest

from matteworks_common.http_lifecycle import running
from matteworks_console.app import build
from matteworks_console.settings import ConsoleSettings
from tests.component.console.site import Site, running_site

Serve = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]
HTML = {"Accept": "text/html"}


@asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a console with these settings."""
    values = ConsoleSettings(listen_address="127.0.0.1:0", drain_delay_s=0, grace_s=1, **settings)
    async with (
        running(await build(values), values) as service,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{service.port}", headers=HTML) as client,
    ):
        yield client


@pytest.fixture
def serve() -> Serve:
    return serving


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with running_site() as started:
        yield started
