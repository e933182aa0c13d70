"""The whole stack under mixed traffic, while its parts are killed: `make soak`, SECONDS=600.

Synchronous removals, stored results that are read and deleted, single removals that end by webhook, and
batches, all at once. A worker, Valkey and the S3 server that keeps the results are each killed and started
again. At the end every accepted item must have ended, every webhook have arrived under one id, the books
be even, and, when all results are deleted, nothing be left in the store.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import grpc
from redis.asyncio import Redis

from matteworks.auth.v1 import auth_pb2, auth_pb2_grpc
from matteworks.jobs.v1 import (
    jobs_pb2,
    jobs_pb2_grpc,
    removal_pb2,
    results_pb2,
    results_pb2_grpc,
    webhooks_pb2,
    webhooks_pb2_grpc,
)
from matteworks_auth.ledger_check import run as check_ledger
from matteworks_deploy.local.development import ACCOUNT_ID
from matteworks_deploy.local.options import StackOptions
from matteworks_deploy.local.process import ProcessSpec
from matteworks_deploy.local.stack import ReadyStack, running_stack
from matteworks_deploy.local.state import StateDirectory
from matteworks_deploy.topology import Service
from tools.object_server import BUCKET, ObjectServer
from tools.soak.receiver import Receiver
from tools.soak.traffic import Traffic

PHOTO = Path(__file__).resolve().parents[2] / "cli/matteworks_cli/demo/astronaut.jpg"
WORKERS = 2
# Beyond the longest pause of a delivery that failed twice: 5 min and a tenth.
SETTLE_S = 420.0
EVENTS = (
    webhooks_pb2.WEBHOOK_EVENT_IMAGE_COMPLETED,
    webhooks_pb2.WEBHOOK_EVENT_IMAGE_FAILED,
    webhooks_pb2.WEBHOOK_EVENT_BATCH_COMPLETED,
)


@dataclass(frozen=True)
class Soak:
    """What runs, and how to ask it."""

    ready: ReadyStack
    state: StateDirectory
    objects: ObjectServer
    receiver: Receiver
    traffic: Traffic
    channel: grpc.aio.Channel

    def valkey_url(self, database: int) -> str:
        facts = self.state.read_facts()
        assert facts is not None
        return f"redis://:{self.state.secret('valkey-password')}@{facts.addresses['valkey']}/{database}"

    def kill(self, name: str) -> None:
        """SIGKILL; the launcher starts it again."""
        facts = self.state.read_facts()
        assert facts is not None
        os.kill(facts.pids[name], signal.SIGKILL)

    async def restart_objects(self) -> None:
        """SIGKILL, five seconds without a store, and up again."""
        await asyncio.to_thread(self.objects.kill)
        await asyncio.sleep(5)
        await asyncio.to_thread(self.objects.start)


async def disturb(soak: Soak, seconds: float) -> None:
    """The three faults, at a quarter, a half and three quarters of the time."""
    faults: list[tuple[str, Callable[[], Awaitable[None]]]] = [
        ("a worker", lambda: asyncio.to_thread(soak.kill, "worker-1")),
        ("Valkey", lambda: asyncio.to_thread(soak.kill, "valkey")),
        ("the store", soak.restart_objects),
    ]
    for name, restart in faults:
        await asyncio.sleep(seconds / (len(faults) + 1))
        print(f"restarting {name}; so far {dict(soak.traffic.tally.done)}", flush=True)
        await restart()


async def accepted_items(soak: Soak) -> list[removal_pb2.Item]:
    """Every item that was accepted and told, ended or not."""
    jobs = jobs_pb2_grpc.JobServiceStub(soak.channel)
    items = []
    for item_id in soak.traffic.tally.item_ids:
        request = jobs_pb2.GetItemRequest(account_id=ACCOUNT_ID, item_id=item_id)
        items.append((await jobs.GetItem(request, timeout=10)).item)
    for batch_id in soak.traffic.tally.batch_ids:
        batch = jobs_pb2.GetBatchRequest(account_id=ACCOUNT_ID, batch_id=batch_id)
        items += (await jobs.GetBatch(batch, timeout=10)).items
    return items


async def settled(soak: Soak) -> tuple[int, int]:
    """Wait until nothing waits and nothing is to be delivered; what is left of both after SETTLE_S."""
    deadline_s = time.monotonic() + SETTLE_S
    client = Redis.from_url(soak.valkey_url(2))
    try:
        while True:
            left = (await client.zcard("mw:jobs:waiting"), await client.zcard("mw:jobs:due-deliveries"))
            if not any(left) or time.monotonic() > deadline_s:
                return left
            await asyncio.sleep(1)
    finally:
        await client.aclose()


async def empty_store(soak: Soak) -> list[str]:
    """Delete every result of the account; what the bucket still lists when the sweeper has been round."""
    results = results_pb2_grpc.ResultServiceStub(soak.channel)
    request = results_pb2.ListResultsRequest(account_id=ACCOUNT_ID, page_size=1000)
    while found := (await results.ListResults(request, timeout=30)).results:
        await soak.traffic.delete_all([result.result_id for result in found])
    deadline_s = time.monotonic() + 30
    while True:
        names = await asyncio.to_thread(soak.objects.names)
        if not names or time.monotonic() > deadline_s:
            return names
        await asyncio.sleep(1)


def webhook_faults(soak: Soak, items: list[removal_pb2.Item]) -> list[str]:
    """Events that never came, or came under several ids of one receiver."""
    names = {
        removal_pb2.ITEM_STATE_SUCCEEDED: "image.completed",
        removal_pb2.ITEM_STATE_FAILED: "image.failed",
    }
    expected = [(names.get(item.state, "no event"), item.item_id) for item in items]
    expected += [("batch.completed", batch_id) for batch_id in soak.traffic.tally.batch_ids]
    single = set(soak.traffic.tally.item_ids) | set(soak.traffic.tally.batch_ids)
    faults = []
    for event, subject in expected:
        # The endpoint is told of everything; what named a URL is told there too, under an id of its own.
        wanted, got = 1 + (subject in single), len(soak.receiver.ids[event, subject])
        if got != wanted:
            faults.append(f"{event} of {subject} came under {got} ids instead of {wanted}")
    if soak.receiver.forged_count:
        faults.append(f"{soak.receiver.forged_count} webhooks were not signed as they should be")
    return faults


async def judge(soak: Soak) -> list[str]:
    """What is wrong at the end; prints the figures."""
    tally, receiver = soak.traffic.tally, soak.receiver
    faults = list(tally.faults)
    waiting, due = await settled(soak)
    if waiting or due:
        faults.append(f"{waiting} items and {due} deliveries are still open after {SETTLE_S:.0f} s")
    items = await accepted_items(soak)
    states = {
        removal_pb2.ItemState.Name(state).removeprefix("ITEM_STATE_").lower(): count
        for state in sorted({item.state for item in items})
        if (count := sum(item.state == state for item in items))
    }
    if "pending" in states:
        faults.append(f"{states['pending']} items have not ended")
    faults += webhook_faults(soak, items)
    if await check_ledger(["--store-url", soak.valkey_url(0)]):
        faults.append("the books are not even")
    auth = auth_pb2_grpc.AuthServiceStub(soak.channel)
    account = (await auth.GetAccount(auth_pb2.GetAccountRequest(account_id=ACCOUNT_ID), timeout=10)).account
    told_milli = tally.charged + sum(item.charged_credits_milli for item in items)
    if account.spent_credits_milli < told_milli:
        faults.append(f"{account.spent_credits_milli} was spent, {told_milli} told: something was free")
    left = await empty_store(soak)
    if left:
        faults.append(f"{len(left)} objects are left in the store, such as {left[0]}")
    print(f"done: {dict(tally.done)}")
    print(f"refused while parts were away: {dict(tally.refused)}")
    print(f"items: {len(items)} accepted, {states}")
    print(
        f"webhooks: {len(receiver.accepted)} ids, {sum(receiver.accepted.values())} accepted, "
        f"{len(receiver.refused)} refused at first"
    )
    print(
        f"credits: {account.spent_credits_milli / 1000:.0f} spent, {told_milli / 1000:.0f} told to callers, "
        f"{account.held_credits_milli / 1000:.0f} held"
    )
    print(f"left in the store: {len(left)} objects")
    return faults


async def soak(seconds: float, options: StackOptions, directory: Path) -> list[str]:
    """Run it; what is wrong."""
    async with AsyncExitStack() as opened:
        objects = ObjectServer(directory / "objects")
        opened.callback(objects.kill)
        await asyncio.to_thread(objects.start)
        receiver = Receiver()
        opened.callback(receiver.close)

        def place(row: Service, spec: ProcessSpec) -> ProcessSpec:
            if not row.keeps_results:
                return spec
            own = {row.variable("OBJECT_STORE_URL"): f"s3://{BUCKET}", **objects.environment}
            return replace(spec, environment={**spec.environment, **own})

        environment = {
            **os.environ,
            "MATTEWORKS_JOBS_INTERNAL_RECEIVERS": "127.0.0.0/8",
            "MATTEWORKS_AUTH_LOG_LEVEL": "WARNING",
        }
        log = opened.enter_context((directory / "stack.log").open("w"))
        ready = await opened.enter_async_context(
            running_stack(options, environment, lambda who, line: print(who, line, file=log), place)
        )
        print(f"the stack is ready at {ready.base_url}; its log is {log.name}", flush=True)
        channel = await opened.enter_async_context(grpc.aio.insecure_channel(ready.internal_target))
        webhooks = webhooks_pb2_grpc.WebhookServiceStub(channel)
        endpoint = webhooks_pb2.CreateWebhookEndpointRequest(
            account_id=ACCOUNT_ID, url=receiver.url, events=EVENTS
        )
        receiver.secrets.append((await webhooks.CreateWebhookEndpoint(endpoint, timeout=10)).secret)
        of_requests = webhooks_pb2.GetRequestSecretRequest(account_id=ACCOUNT_ID)
        receiver.secrets.append((await webhooks.GetRequestSecret(of_requests, timeout=10)).secret)
        traffic = Traffic(
            ready.base_url, ready.internal_target, ACCOUNT_ID, ready.key, receiver.url, PHOTO.read_bytes()
        )
        opened.push_async_callback(traffic.close)
        running = Soak(ready, StateDirectory(options.state_directory), objects, receiver, traffic, channel)
        async with asyncio.TaskGroup() as group:
            group.create_task(disturb(running, seconds))
            group.create_task(traffic.run(seconds))
        return await judge(running)


def main() -> int:
    """The command; 0 when all is well."""
    parser = argparse.ArgumentParser(prog="python -m tools.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--models-dir", type=Path, default=Path("models"))
    parser.add_argument("--model", default="", help="one network instead of all that are there: u2netp")
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="matteworks-soak-", ignore_cleanup_errors=True) as scratch:
        directory = Path(scratch)
        options = StackOptions(
            port=0,
            state_directory=directory / "state",
            models_directory=parsed.models_dir,
            models=(parsed.model,) if parsed.model else (),
            workers={"worker": WORKERS},
        )
        began_s = time.monotonic()
        faults = asyncio.run(soak(parsed.seconds, options, directory))
    print(f"after {time.monotonic() - began_s:.0f} s: " + ("all is well" if not faults else "FAILED"))
    for fault in faults:
        print(f"  {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
