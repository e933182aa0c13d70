"""InstanceService: what a process says of itself, over gRPC."""

from __future__ import annotations

from typing import Any

from matteworks.common.v1 import instance_pb2, instance_pb2_grpc
from matteworks_common.instance import Instance


class InstanceServicer(instance_pb2_grpc.InstanceServiceServicer):
    """See `Instance`."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance

    async def GetInstance(
        self, request: instance_pb2.GetInstanceRequest, context: Any
    ) -> instance_pb2.GetInstanceResponse:
        return self._instance.describe(own_requests=1)
