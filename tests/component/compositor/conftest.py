"""The compositor on a real port, with a real gRPC server in place of the inference service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray

from matteworks.compositor.v1 import compositor_pb2 as pb
from matteworks.compositor.v1 import compositor_pb2_grpc
from matteworks_common.errors import MatteworksError, from_rpc_error
from matteworks_compositor.app import build
from matteworks_compositor.settings import CompositorSettings
from tests.component.compositor.pictures import decoded
from tests.support.fake_inference import FakeInference, running_inference
from tests.support.harness import channel_to


@dataclass
class Service:
    """A running compositor and the inference server that it asks."""

    stub: compositor_pb2_grpc.CompositorServiceStub
    inference: FakeInference

    async def remove(
        self, image: bytes, timeout_s: float = 60, **options: Any
    ) -> pb.RemoveBackgroundResponse:
        """RemoveBackground with these RenderOptions."""
        request = pb.RemoveBackgroundRequest(image=image, options=pb.RenderOptions(**options))
        return await self.stub.RemoveBackground(request, timeout=timeout_s)

    async def pixels(self, image: bytes, **options: Any) -> NDArray[np.uint8]:
        """The pixels of the result."""
        return decoded((await self.remove(image, **options)).rendering.image)

    async def refusal(self, image: bytes, **options: Any) -> MatteworksError:
        """The error of a call that must fail."""
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await self.remove(image, **options)
        return from_rpc_error(raised.value)


def settings_for(inference: FakeInference, **changes: Any) -> CompositorSettings:
    """Settings for a test."""
    return CompositorSettings(
        listen_address="127.0.0.1:0", inference_target=inference.target, drain_delay_s=0, threads=2, **changes
    )


@pytest_asyncio.fixture
async def service() -> AsyncIterator[Service]:
    """One compositor with default limits."""
    async with running_inference() as inference:
        settings = settings_for(inference)
        async with channel_to(await build(settings), settings) as channel:
            yield Service(compositor_pb2_grpc.CompositorServiceStub(channel), inference)
