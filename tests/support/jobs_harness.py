"""Jobs on real ports: real Valkey, auth and compositor, a fake network, and workers in this process."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import grpc

from matteworks.auth.v1 import auth_pb2, auth_pb2_grpc
from matteworks.jobs.v1 import (
    jobs_pb2,
    jobs_pb2_grpc,
    removal_pb2,
    results_pb2,
    results_pb2_grpc,
    webhooks_pb2_grpc,
)
from matteworks_common.channels import call, open_channel
from matteworks_common.errors import Conflict, from_rpc_error
from matteworks_common.lifecycle import running
from matteworks_common.settings import MEBIBYTE
from matteworks_jobs.app import JobsApp, JobsDependencies, build
from matteworks_jobs.settings import JobsSettings, WorkerSettings
from matteworks_jobs.worker import build as build_worker
from tests.component.auth.harness import ADMIN, settings_for
from tests.support.edge_harness import SteeredCompositor, picture
from tests.support.fake_services import serving_auth, serving_compositor
from tests.support.valkey import ValkeyProcess

__all__ = ["JobsStack", "auth_store_url", "jobs_stack", "picture", "settings_for", "signature_of"]

SECRET = "signing-secret-of-the-tests"


@dataclass
class JobsStack:
    """Stubs and shorthands for account `a`."""

    jobs: jobs_pb2_grpc.JobServiceAsyncStub
    results: results_pb2_grpc.ResultServiceAsyncStub
    webhooks: webhooks_pb2_grpc.WebhookServiceAsyncStub
    auth: auth_pb2_grpc.AuthServiceAsyncStub
    admin: auth_pb2_grpc.KeyAdminServiceAsyncStub
    compositor: SteeredCompositor
    app: JobsApp
    environment: dict[str, str]
    objects: Path
    deps: JobsDependencies
    target: str

    def spec(self, width_px: int = 40, **more: Any) -> removal_pb2.RemovalSpec:
        """A small picture to cut out for one credit."""
        return removal_pb2.RemovalSpec(image=picture(width_px), **more)

    async def submit(
        self, items: Sequence[removal_pb2.RemovalSpec], account_id: str = "a", **header: Any
    ) -> jobs_pb2.CreateBatchResponse:
        """Send a batch. Raises the MatteworksError that the service raised."""

        async def parts() -> AsyncIterator[jobs_pb2.CreateBatchRequest]:
            caller = removal_pb2.Caller(account_id=account_id)
            yield jobs_pb2.CreateBatchRequest(header=jobs_pb2.BatchHeader(caller=caller, **header))
            for item in items:
                yield jobs_pb2.CreateBatchRequest(item=item)

        try:
            return await self.jobs.CreateBatch(parts(), timeout=30)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error

    async def remove(self, spec: removal_pb2.RemovalSpec, **more: Any) -> str:
        """Accept a single removal; its id."""
        request = jobs_pb2.CreateRemovalRequest(
            caller=removal_pb2.Caller(account_id="a"), removal=spec, **more
        )
        return (await call(self.jobs.CreateRemoval, request, timeout_s=5)).item.item_id

    async def item(self, item_id: str) -> removal_pb2.Item:
        request = jobs_pb2.GetItemRequest(account_id="a", item_id=item_id)
        return (await call(self.jobs.GetItem, request, timeout_s=5)).item

    async def batch(self, batch_id: str) -> jobs_pb2.GetBatchResponse:
        request = jobs_pb2.GetBatchRequest(account_id="a", batch_id=batch_id)
        return await call(self.jobs.GetBatch, request, timeout_s=5)

    async def watch(
        self, batch_id: str, timeout_s: float = 60, account_id: str = "a"
    ) -> list[jobs_pb2.Batch]:
        """Every state that was told until the end."""
        request = jobs_pb2.WatchBatchRequest(account_id=account_id, batch_id=batch_id)
        return [answer.batch async for answer in self.jobs.WatchBatch(request, timeout=timeout_s)]

    async def ended(self, item_id: str) -> removal_pb2.Item:
        """The item once it has ended."""
        deadline_s = time.monotonic() + 30
        while (item := await self.item(item_id)).state == removal_pb2.ITEM_STATE_PENDING:
            assert time.monotonic() < deadline_s, "the item does not end"
            await asyncio.sleep(0.02)
        return item

    async def store(
        self, content: bytes = b"bytes", timeout_s: float = 5, **more: Any
    ) -> removal_pb2.StoredResult:
        """Keep bytes as a PNG of account `a`."""
        facts: dict[str, Any] = {"caller": removal_pb2.Caller(account_id="a"), **more}
        request = results_pb2.StoreResultRequest(content=content, content_type="image/png", **facts)
        return (await call(self.results.StoreResult, request, timeout_s=timeout_s)).result

    async def read(self, result_id: str, **more: Any) -> tuple[results_pb2.ResultFacts, bytes]:
        """Facts and bytes. Raises the MatteworksError that the service raised."""
        request = results_pb2.ReadResultRequest(
            result_id=result_id, **({"account_id": "a"} if "signature" not in more else {}) | more
        )
        try:
            answers = [answer async for answer in self.results.ReadResult(request, timeout=10)]
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        return answers[0].facts, b"".join(answer.content for answer in answers[1:])

    async def delete(self, result_id: str, account_id: str = "a") -> None:
        request = results_pb2.DeleteResultRequest(account_id=account_id, result_id=result_id)
        await call(self.results.DeleteResult, request, timeout_s=5)

    async def listed(self) -> list[str]:
        """Ids of the results that the account is told of."""
        request = results_pb2.ListResultsRequest(account_id="a")
        found = (await call(self.results.ListResults, request, timeout_s=5)).results
        return [result.result_id for result in found]

    async def make_account(self, account_id: str, plan: str = "development") -> None:
        """One more, unless it is there already, as when a test starts its jobs anew."""
        request = auth_pb2.CreateAccountRequest(account_id=account_id, plan=plan)
        with contextlib.suppress(Conflict):
            await call(self.admin.CreateAccount, request, timeout_s=5, metadata=ADMIN)

    async def account(self) -> auth_pb2.Account:
        request = auth_pb2.GetAccountRequest(account_id="a")
        return (await call(self.auth.GetAccount, request, timeout_s=5)).account

    async def swept(self) -> None:
        """What is due to be deleted is."""
        assert self.app.upkeep is not None
        await self.app.upkeep.sweep()

    def files(self) -> list[str]:
        """Names of the objects that lie in the store."""
        return sorted(
            str(path.relative_to(self.objects)) for path in self.objects.rglob("*") if path.is_file()
        )

    @asynccontextmanager
    async def working(self, **changes: Any) -> AsyncIterator[None]:
        """A worker in this process while the block runs."""
        settings = WorkerSettings(**{**self.environment, **changes})
        async with running(await build_worker(settings, self.deps), settings):
            yield


def signature_of(url: str) -> results_pb2.UrlSignature:
    """What the query of a signed URL says."""
    query = parse_qs(urlsplit(url).query)
    return results_pb2.UrlSignature(expires=int(query["expires"][0]), signature=query["signature"][0])


def auth_store_url(valkey: ValkeyProcess) -> str:
    """Where the accounts are: beside the jobs, as in a deployment."""
    return valkey.url.replace("/0", "/1")


@asynccontextmanager
async def jobs_stack(
    valkey: ValkeyProcess, objects: Path, deps: JobsDependencies | None = None, **changes: Any
) -> AsyncIterator[JobsStack]:
    """Everything but workers, on free loopback ports; account `a` has plenty of credits."""
    deps = deps or JobsDependencies()
    async with AsyncExitStack() as opening:
        auth_target = await opening.enter_async_context(serving_auth(auth_store_url(valkey)))
        compositor = SteeredCompositor()
        compositor_target = await opening.enter_async_context(serving_compositor(compositor))
        environment = {
            "listen_address": "127.0.0.1:0",
            "store_url": valkey.url,
            "store_timeout_s": 5,
            "object_store_url": f"file://{objects}",
            "min_free_mb": 0,
            "signing_secret": SECRET,
            "public_url": "https://api.example.com",
            "drain_delay_s": 0,
            "health_interval_s": 3600,
            "sweep_interval_s": 0.05,
            "auth_target": auth_target,
            "compositor_target": compositor_target,
            "internal_receivers": "127.0.0.0/8",
            "internal_sources": "127.0.0.0/8",
            **changes,
        }
        settings = JobsSettings(**environment)
        app = await build(settings, deps)
        service = await opening.enter_async_context(running(app, settings))
        channel = await opening.enter_async_context(open_channel(f"127.0.0.1:{service.port}", 96 * MEBIBYTE))
        auth_channel = await opening.enter_async_context(open_channel(auth_target, 96 * MEBIBYTE))
        stack = JobsStack(
            jobs_pb2_grpc.JobServiceStub(channel),
            results_pb2_grpc.ResultServiceStub(channel),
            webhooks_pb2_grpc.WebhookServiceStub(channel),
            auth_pb2_grpc.AuthServiceStub(auth_channel),
            auth_pb2_grpc.KeyAdminServiceStub(auth_channel),
            compositor,
            app,
            environment,
            objects,
            deps,
            f"127.0.0.1:{service.port}",
        )
        await stack.make_account("a")
        yield stack
