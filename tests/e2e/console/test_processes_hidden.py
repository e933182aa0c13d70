"""What processes say of themselves is out of reach from outside, and through the proxy from inside."""

from __future__ import annotations

import grpc
import httpx
import pytest

from matteworks.common.v1 import instance_pb2, instance_pb2_grpc
from tests.support.stack import RunningStack

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]


@pytest.mark.parametrize(
    "path", ["/instance", "/%69nstance", "//instance", "/x/../instance", "/v1.0/../instance"]
)
def test_strangers_are_told_nothing_of_a_process(running_stack: RunningStack, path: str) -> None:
    answer = httpx.get(f"{running_stack.base_url}{path}", timeout=20)

    assert answer.status_code in (400, 404)
    assert b"MATTEWORKS_" not in answer.content


def test_the_internal_listener_knows_no_single_process(running_stack: RunningStack) -> None:
    with grpc.insecure_channel(running_stack.internal_target) as channel:
        stub = instance_pb2_grpc.InstanceServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.GetInstance(instance_pb2.GetInstanceRequest(), timeout=10)

    assert caught.value.code() in (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.NOT_FOUND)
