"""A channel to a name with several addresses."""

from __future__ import annotations

from contextlib import AsyncExitStack

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from matteworks_common.channels import open_channel
from matteworks_common.settings import MEBIBYTE


async def test_calls_go_to_every_address_of_a_name() -> None:
    """Otherwise all services of a cluster would hang on one of its proxies."""
    statuses = (health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING)
    async with AsyncExitStack() as opened:
        ports = []
        for status in statuses:
            server = grpc.aio.server()
            servicer = health.aio.HealthServicer()
            await servicer.set("", status)
            health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
            ports.append(server.add_insecure_port("127.0.0.1:0"))
            await server.start()
            opened.push_async_callback(server.stop, None)
        target = "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports)
        channel = await opened.enter_async_context(open_channel(target, 8 * MEBIBYTE))
        stub = health_pb2_grpc.HealthStub(channel)

        # The second address may still be connecting while the first answers.
        answers = [
            (await stub.Check(health_pb2.HealthCheckRequest(), wait_for_ready=True, timeout=10)).status
            for _ in range(200)
        ]

    assert set(answers) == set(statuses)
    assert answers[-2] != answers[-1]
