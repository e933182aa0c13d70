"""Any service in this process, over a real local gRPC connection."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc

from matteworks_common.channels import open_channel
from matteworks_common.lifecycle import App, running
from matteworks_common.settings import MEBIBYTE, ServiceSettings


@asynccontextmanager
async def channel_to(app: App, settings: ServiceSettings) -> AsyncIterator[grpc.aio.Channel]:
    """Serve `app` on a free loopback port and yield a channel to it, once it is healthy.

    `settings` should have `listen_address="127.0.0.1:0"` and `drain_delay_s=0`.
    """
    async with running(app, settings) as service:
        await service.health.poll()
        async with open_channel(f"127.0.0.1:{service.port}", 96 * MEBIBYTE) as channel:
            yield channel
