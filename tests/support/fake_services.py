"""Auth and compositor on free loopback ports, for the services that call them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from matteworks.compositor.v1 import compositor_pb2_grpc
from matteworks_auth.app import build
from matteworks_common.lifecycle import App, running
from matteworks_common.settings import ServiceSettings
from tests.component.auth.harness import settings_for
from tests.support.edge_harness import SteeredCompositor


@asynccontextmanager
async def serving_auth(store_url: str = "memory:") -> AsyncIterator[str]:
    """The real auth service; yields its address."""
    settings = settings_for(store_url)
    async with running(await build(settings), settings) as service:
        yield f"127.0.0.1:{service.port}"


@asynccontextmanager
async def serving_compositor(compositor: SteeredCompositor) -> AsyncIterator[str]:
    """A compositor that does what a test says; yields its address."""
    settings = ServiceSettings(listen_address="127.0.0.1:0", drain_delay_s=0, grace_s=0.5)
    app = App(
        "compositor",
        ("matteworks.compositor.v1.CompositorService",),
        lambda server: compositor_pb2_grpc.add_CompositorServiceServicer_to_server(compositor, server),
    )
    async with running(app, settings) as service:
        yield f"127.0.0.1:{service.port}"
