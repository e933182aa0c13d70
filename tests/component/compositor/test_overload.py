"""Bounded work: admission by megapixels, deadlines, callers that leave, readiness."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from matteworks.compositor.v1 import compositor_pb2 as pb
from matteworks.compositor.v1 import compositor_pb2_grpc
from matteworks_common.errors import from_rpc_error
from matteworks_common.lifecycle import running
from matteworks_compositor.app import build
from tests.component.compositor.conftest import Service, settings_for
from tests.component.compositor.pictures import encoded, gradient
from tests.support.fake_inference import FakeInference, running_inference
from tests.support.harness import channel_to

SMALL = encoded(gradient(60, 40))


async def test_a_full_queue_refuses_at_once_and_says_when_to_come_back() -> None:
    async with running_inference(FakeInference(hold=asyncio.Event())) as inference:
        settings = settings_for(inference, max_megapixels_in_flight=1, max_megapixels_waiting=1)
        async with channel_to(await build(settings), settings) as channel:
            stub = compositor_pb2_grpc.CompositorServiceStub(channel)
            request = pb.RemoveBackgroundRequest(image=SMALL)
            calls = [asyncio.ensure_future(_outcome(stub, request)) for _ in range(3)]
            done, _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            error = from_rpc_error(next(iter(done)).result())
            assert error.reason_name == "OVERLOADED"
            assert error.retry_after_s is not None
            assert error.retry_after_s >= 1
            inference.hold.set()
            outcomes = await asyncio.gather(*calls)
            assert sum(outcome is None for outcome in outcomes) == 2
            assert await _outcome(stub, request) is None


async def test_a_request_that_waits_beyond_its_deadline_is_told_so() -> None:
    async with running_inference(FakeInference(hold=asyncio.Event())) as inference:
        settings = settings_for(inference, max_megapixels_in_flight=1)
        async with channel_to(await build(settings), settings) as channel:
            stub = compositor_pb2_grpc.CompositorServiceStub(channel)
            request = pb.RemoveBackgroundRequest(image=SMALL)
            first = asyncio.ensure_future(_outcome(stub, request))
            await inference.arrived.wait()
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await stub.RemoveBackground(request, timeout=0.2)
            assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            inference.hold.set()
            assert await first is None
            assert await _outcome(stub, request) is None, "its place in the queue was given back"


async def test_a_slow_inference_service_ends_in_a_deadline_error(service: Service) -> None:
    service.inference.hold = asyncio.Event()
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await service.remove(SMALL, timeout_s=0.4)
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_caller_that_leaves_frees_its_place() -> None:
    async with running_inference(FakeInference(hold=asyncio.Event())) as inference:
        settings = settings_for(inference, max_megapixels_in_flight=1, max_megapixels_waiting=1)
        async with channel_to(await build(settings), settings) as channel:
            stub = compositor_pb2_grpc.CompositorServiceStub(channel)
            request = pb.RemoveBackgroundRequest(image=SMALL)
            first = asyncio.ensure_future(_outcome(stub, request))
            await inference.arrived.wait()
            first.cancel()
            inference.hold.set()
            # It waits in the queue until the server has heard that the first one left.
            assert await _outcome(stub, request) is None


async def test_a_picture_heavier_than_the_whole_capacity_still_runs() -> None:
    async with running_inference() as inference:
        settings = settings_for(inference, max_megapixels_in_flight=1)
        async with channel_to(await build(settings), settings) as channel:
            stub = compositor_pb2_grpc.CompositorServiceStub(channel)
            image = encoded(gradient(2000, 1500), "JPEG")
            assert await _outcome(stub, pb.RemoveBackgroundRequest(image=image)) is None


async def test_it_is_not_ready_while_the_inference_service_is_away() -> None:
    async with running_inference() as inference:
        settings = settings_for(inference)
        app = await build(settings)
        async with running(app, settings) as service:
            await service.health.poll()
            assert service.health.is_serving
    away = settings_for(FakeInference(port=1))
    async with running(await build(away), away) as service:
        await service.health.poll()
        assert not service.health.is_serving


async def _outcome(
    stub: compositor_pb2_grpc.CompositorServiceStub, request: pb.RemoveBackgroundRequest
) -> grpc.aio.AioRpcError | None:
    try:
        await stub.RemoveBackground(request, timeout=30)
    except grpc.aio.AioRpcError as error:
        return error
    return None
