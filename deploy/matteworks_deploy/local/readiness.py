"""Waiting for processes of other programs to be ready, each by the means that it offers."""

from __future__ import annotations

import asyncio
import ssl

import grpc
import httpx
from grpc_health.v1 import health_pb2, health_pb2_grpc

from matteworks_common.channels import open_channel
from matteworks_common.tls import Identity

_POLL_S = 0.05
_MESSAGE_BYTES = 4 * 1024 * 1024


async def wait_for_port(host: str, port: int) -> None:
    """Until somebody accepts connections there."""
    while True:
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError:
            await asyncio.sleep(_POLL_S)
        else:
            writer.close()
            return


async def wait_for_serving(target: str, identity: Identity | None = None) -> None:
    """Until the gRPC server at `target` (host:port) reports SERVING. It pushes; nothing is polled."""
    request = health_pb2.HealthCheckRequest()
    while True:
        async with open_channel(target, _MESSAGE_BYTES, identity) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            try:
                async for answer in stub.Watch(request, wait_for_ready=True):
                    if answer.status == health_pb2.HealthCheckResponse.SERVING:
                        return
            except grpc.aio.AioRpcError:
                # The process ended while it was being watched and is being started again.
                await asyncio.sleep(_POLL_S)


async def wait_for_http(url: str, tls: ssl.SSLContext | None = None) -> None:
    """Until GET `url` answers 200; with `tls` for what speaks https."""
    async with httpx.AsyncClient(timeout=2.0, trust_env=False, verify=tls or True) as client:
        while True:
            try:
                if (await client.get(url)).status_code == httpx.codes.OK:
                    return
            except httpx.HTTPError:
                pass
            await asyncio.sleep(_POLL_S)


def accept_any_certificate() -> ssl.SSLContext:
    """For a question to a listener of our own on this machine, whose certificate names the outside."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
