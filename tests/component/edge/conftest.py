"""One running edge for all tests of this directory; every test gets a fresh account on it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.edge_harness import EdgeStack, Origin, edge_stack, origin


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_stack() -> AsyncIterator[EdgeStack]:
    async with edge_stack(
        internal_sources="127.0.0.0/8", collect_submissions=True, object_store_url="memory:///"
    ) as stack:
        yield stack


@pytest.fixture
def edge(shared_stack: EdgeStack) -> EdgeStack:
    shared_stack.renew()
    return shared_stack


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def guarded_stack() -> AsyncIterator[EdgeStack]:
    async with edge_stack() as stack:
        yield stack


@pytest.fixture
def guarded(guarded_stack: EdgeStack) -> EdgeStack:
    """An edge with the judge that production has."""
    guarded_stack.renew()
    return guarded_stack


@pytest_asyncio.fixture(loop_scope="session")
async def inside() -> AsyncIterator[Origin]:
    """A web server that must not be reached."""
    async with origin() as site:
        yield site
