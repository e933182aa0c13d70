"""The edge before real accounts and jobs over Valkey, with a worker, and a steered compositor."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import httpx

from matteworks.auth.v1 import auth_pb2, auth_pb2_grpc
from matteworks_common.channels import call
from matteworks_common.http_lifecycle import running as edge_running
from matteworks_edge.app import EdgeDependencies, build
from matteworks_edge.settings import EdgeSettings
from tests.component.auth.harness import ADMIN
from tests.support.jobs_harness import JobsStack, jobs_stack, picture
from tests.support.valkey import ValkeyProcess

__all__ = ["Gateway", "gateway", "picture"]


@dataclass
class Gateway:
    """`http` talks to the edge with the key of a fresh account of plan `development`."""

    http: httpx.AsyncClient
    jobs: JobsStack
    admin: auth_pb2_grpc.KeyAdminServiceAsyncStub
    numbers: Any = field(default_factory=itertools.count)

    async def new_key(
        self, plan: str = "development", *, credits_milli: int = 0, dialect: str = "", **more: Any
    ) -> tuple[str, str]:
        """Account and key."""
        account_id = f"acc-{next(self.numbers)}"
        request = auth_pb2.CreateAccountRequest(account_id=account_id, plan=plan, **more)
        await call(self.admin.CreateAccount, request, timeout_s=5, metadata=ADMIN)
        if credits_milli:
            grant = auth_pb2.GrantCreditsRequest(
                request_id=account_id,
                account_id=account_id,
                balance=auth_pb2.BALANCE_PAYG,
                credits_milli=credits_milli,
            )
            await call(self.admin.GrantCredits, grant, timeout_s=5, metadata=ADMIN)
        made = await call(
            self.admin.CreateKey,
            auth_pb2.CreateKeyRequest(account_id=account_id, dialect=dialect),
            timeout_s=5,
            metadata=ADMIN,
        )
        return account_id, made.api_key

    async def spent_milli(self, account_id: str) -> int:
        """What the account has paid."""
        request = auth_pb2.GetAccountRequest(account_id=account_id)
        account = (await call(self.jobs.auth.GetAccount, request, timeout_s=5)).account
        return account.spent_credits_milli

    async def held_milli(self, account_id: str) -> int:
        """What is held for work under way."""
        request = auth_pb2.GetAccountRequest(account_id=account_id)
        return (await call(self.jobs.auth.GetAccount, request, timeout_s=5)).account.held_credits_milli

    async def read(self, url: str, **more: Any) -> httpx.Response:
        """A result by its URL, whatever host it names."""
        parts = urlsplit(url)
        method = more.pop("method", "GET")
        return await self.http.request(method, f"{parts.path}?{parts.query}", **more)

    async def polled(self, path: str, key: str, timeout_s: float = 30) -> dict[str, Any]:
        """The data of a batch that has ended."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            answer = await self.http.get(path, headers={"Authorization": f"Bearer {key}"})
            data: dict[str, Any] = answer.json()["data"]
            if data["status"] != "processing":
                return data
            assert time.monotonic() < deadline_s, "the batch does not end"
            await asyncio.sleep(0.05)


@asynccontextmanager
async def gateway(
    valkey: ValkeyProcess,
    objects: Path,
    deps: EdgeDependencies | None = None,
    jobs: dict[str, Any] | None = None,
    **settings: Any,
) -> AsyncIterator[Gateway]:
    """Everything on free loopback ports, with one worker."""
    async with jobs_stack(valkey, objects, **(jobs or {})) as stack:
        edge_settings = EdgeSettings(
            **{
                "listen_address": "127.0.0.1:0",
                "auth_target": stack.environment["auth_target"],
                "compositor_target": stack.environment["compositor_target"],
                "jobs_target": stack.target,
                "drain_delay_s": 0,
                "fetch_ports": "*",
                "internal_sources": "127.0.0.0/8",
                "health_interval_s": 3600,
                **settings,
            }
        )
        app = await build(edge_settings, deps)
        async with (
            edge_running(app, edge_settings) as edge,
            stack.working(),
            grpc.aio.insecure_channel(stack.environment["auth_target"]) as channel,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{edge.port}", timeout=30) as http,
        ):
            yield Gateway(http, stack, auth_pb2_grpc.KeyAdminServiceStub(channel))
