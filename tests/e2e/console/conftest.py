"""A real browser before the real stack."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.support.chromium import Visitor, axe_script, running_browser, visitor
from tests.support.stack import RunningStack

Visit = Callable[..., AbstractAsyncContextManager[Visitor]]


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def browser() -> AsyncIterator[Browser]:
    async with running_browser() as started:
        yield started


@pytest.fixture
def visit(browser: Browser, running_stack: RunningStack) -> Visit:
    """`async with visit() as visitor`: somebody with a browser of their own."""
    return lambda **context: visitor(browser, running_stack.base_url, **context)


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    return axe_script(tmp_path_factory.mktemp("axe"))
