"""Every process of the platform, asked one by one: no proxy chooses who answers."""

from __future__ import annotations

import asyncio
import http.client
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import grpc
from google.protobuf.message import DecodeError

from matteworks.common.v1 import instance_pb2, instance_pb2_grpc
from matteworks_common.channels import open_channel, probe
from matteworks_common.clock import Clock
from matteworks_common.errors import MatteworksError
from matteworks_common.settings import MEBIBYTE
from matteworks_common.tls import Identity

MAX_INSTANCES: Final = 200
# All pages that are open within this time share the answers.
KEPT_S: Final = 1.0
_ASK_S: Final = 3.0
_HTTP: Final = "http://"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a process of the service `name` listens, as HOST:PORT; `is_http`: it speaks HTTP."""

    name: str
    target: str
    is_http: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """What a process said of itself; None: it said nothing, and `problem` tells why."""

    address: Address
    told: instance_pb2.GetInstanceResponse | None
    problem: str
    duration_s: float


class InstancesClient:
    """`text` is the setting. Host names are looked up each time, so that new processes are found. With an
    `identity` by mutual TLS: each process must show the name of its service.
    """

    def __init__(self, text: str, clock: Clock, identity: Identity | None = None) -> None:
        self._identity = identity
        self._named = [_parse(entry) for entry in filter(None, text.split(","))]
        self._clock = clock
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._asking = asyncio.Lock()
        self._answers: list[Answer] = []
        self._answered_s = float("-inf")

    async def answers(self) -> list[Answer]:
        """All processes, those of one service together, in the order of the setting."""
        async with self._asking:
            if self._clock.monotonic_s() - self._answered_s > KEPT_S:
                self._answers = await self._ask_all()
                self._answered_s = self._clock.monotonic_s()
            return self._answers

    async def close(self) -> None:
        """Let go of every connection."""
        for channel in self._channels.values():
            await channel.close()

    async def _ask_all(self) -> list[Answer]:
        found = await asyncio.gather(*(_resolve(address) for address in self._named))
        addresses = list(dict.fromkeys(address for several in found for address in several))[:MAX_INSTANCES]
        for target in self._channels.keys() - {address.target for address in addresses}:
            await self._channels.pop(target).close()
        return await asyncio.gather(*(self._ask(address) for address in addresses))

    async def _ask(self, address: Address) -> Answer:
        start_s = time.perf_counter()
        told, problem = None, ""
        try:
            async with asyncio.timeout(_ASK_S):
                if address.is_http:
                    told = await asyncio.to_thread(_ask_over_http, address, self._identity)
                else:
                    told = await self._ask_over_grpc(address)
        except TimeoutError:
            problem = f"No answer within {_ASK_S:g} s."
        except MatteworksError as error:
            problem = error.message
        except (OSError, http.client.HTTPException, DecodeError):
            problem = "It cannot be reached."
        return Answer(address, told, problem, time.perf_counter() - start_s)

    async def _ask_over_grpc(self, address: Address) -> instance_pb2.GetInstanceResponse:
        target = address.target
        if target not in self._channels:
            self._channels[target] = open_channel(
                target, 8 * MEBIBYTE, self._identity, server_name=address.name
            )
        stub = instance_pb2_grpc.InstanceServiceStub(self._channels[target])
        return await probe(stub.GetInstance, instance_pb2.GetInstanceRequest(), timeout_s=_ASK_S)


def by_service(answers: Iterable[Answer]) -> dict[str, list[Answer]]:
    """The answers by the name of the service."""
    found: dict[str, list[Answer]] = {}
    for answer in answers:
        found.setdefault(answer.address.name, []).append(answer)
    return found


def _parse(entry: str) -> Address:
    name, _, target = entry.partition("=")
    return Address(name, target.removeprefix(_HTTP), target.startswith(_HTTP))


async def _resolve(address: Address) -> list[Address]:
    """All addresses behind a host name; the name itself where it has none now."""
    host, _, port = address.target.rpartition(":")
    try:
        async with asyncio.timeout(_ASK_S):
            found = await asyncio.get_running_loop().getaddrinfo(
                host.strip("[]"), int(port), type=socket.SOCK_STREAM
            )
    except (OSError, TimeoutError):
        return [address]
    hosts = sorted({str(place[4][0]) for place in found})
    return [
        Address(address.name, f"[{one}]:{port}" if ":" in one else f"{one}:{port}", address.is_http)
        for one in hosts
    ]


def _ask_over_http(address: Address, identity: Identity | None) -> instance_pb2.GetInstanceResponse:
    host, _, port = address.target.rpartition(":")
    connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=_ASK_S)
    try:
        if identity:
            connection.connect()
            connection.sock = identity.client_context().wrap_socket(
                connection.sock, server_hostname=address.name
            )
        connection.request("GET", "/instance")
        answer = connection.getresponse()
        if answer.status != 200:
            raise http.client.HTTPException(answer.status)
        return instance_pb2.GetInstanceResponse.FromString(answer.read(MEBIBYTE))
    finally:
        connection.close()
