"""Workers that are killed: every item ends once and is charged once, whatever they were doing."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from matteworks.auth.v1 import auth_pb2
from matteworks.compositor.v1 import compositor_pb2
from matteworks.jobs.v1 import removal_pb2, webhooks_pb2
from matteworks_auth.ledger_check import run as check_ledger
from matteworks_common.channels import call
from matteworks_common.errors import Unavailable
from matteworks_jobs.app import JobsDependencies
from matteworks_jobs.stores.items import ItemStore
from tests.support.edge_harness import SteeredCompositor
from tests.support.jobs_harness import JobsStack, auth_store_url, jobs_stack
from tests.support.valkey import ValkeyProcess
from tests.support.worker_process import WorkerPool, worker_pool

ITEMS = 100
WORKERS = 3
RECLAIM_S = 1.0


@pytest_asyncio.fixture
async def stack(valkey: ValkeyProcess, tmp_path: Path) -> AsyncIterator[JobsStack]:
    """Without upkeep: nobody reminds the queue of an item, so what comes again is the queue's own work."""
    deps = JobsDependencies(does_upkeep=False)
    async with jobs_stack(valkey, tmp_path / "objects", deps, reclaim_s=RECLAIM_S) as running:
        yield running


@pytest.fixture
def pool(stack: JobsStack, tmp_path: Path) -> Iterator[WorkerPool]:
    with worker_pool(stack.environment, tmp_path / "workers") as workers:
        yield workers


async def deliveries(stack: JobsStack) -> Counter[int]:
    """How many deliveries there are of each event."""
    request = webhooks_pb2.ListWebhookDeliveriesRequest(account_id="a", page_size=1000)
    answer = await call(stack.webhooks.ListWebhookDeliveries, request, timeout_s=5)
    return Counter(delivery.event for delivery in answer.deliveries)


@pytest.mark.timeout(240)
async def test_each_item_of_a_batch_ends_once_and_is_charged_once_while_workers_are_killed_at_random(
    stack: JobsStack, pool: WorkerPool, valkey: ValkeyProcess
) -> None:
    chance = random.Random(17)

    async def dawdle(
        request: compositor_pb2.RemoveBackgroundRequest,
    ) -> compositor_pb2.RemoveBackgroundResponse:
        await asyncio.sleep(chance.uniform(0.05, 0.6))
        return await SteeredCompositor.cut_out(request)

    stack.compositor.answer = dawdle
    endpoint = webhooks_pb2.CreateWebhookEndpointRequest(
        account_id="a",
        url="https://hooks.example.com/",
        events=[webhooks_pb2.WEBHOOK_EVENT_IMAGE_COMPLETED, webhooks_pb2.WEBHOOK_EVENT_BATCH_COMPLETED],
    )
    await call(stack.webhooks.CreateWebhookEndpoint, endpoint, timeout_s=5)
    for _ in range(WORKERS):
        pool.start()
    accepted = await stack.submit([stack.spec(40 + n) for n in range(ITEMS)])
    ended = asyncio.create_task(stack.watch(accepted.batch.batch_id, timeout_s=200))

    kills = 0
    while not ended.done():
        await asyncio.wait([ended], timeout=chance.uniform(0.3, 1.5))
        if not ended.done() and len(stack.compositor.requests) > kills:
            pool.kill(chance.choice(pool.workers))
            kills += 1
            pool.start()
    told = await ended

    items = (await stack.batch(accepted.batch.batch_id)).items
    account = await stack.account()
    usage = await call(stack.auth.GetUsage, auth_pb2.GetUsageRequest(account_id="a"), timeout_s=5)
    await stack.swept()
    # Figures for docs/jobs.md.
    print(f"{kills} workers killed, {len(stack.compositor.requests)} renderings for {ITEMS} items")
    assert kills >= 5
    assert len(stack.compositor.requests) > ITEMS, "no worker was killed at work"
    counts = [batch.succeeded_count for batch in told]
    assert counts == sorted(set(counts)), "the progress went back"
    assert (told[-1].succeeded_count, told[-1].failed_count) == (ITEMS, 0)
    assert [item.item_id for item in items] == list(accepted.item_ids)
    assert {item.state for item in items} == {removal_pb2.ITEM_STATE_SUCCEEDED}
    assert {item.charged_credits_milli for item in items} == {1000}
    assert (account.spent_credits_milli, account.held_credits_milli) == (ITEMS * 1000, 0)
    assert sum(day.committed_request_count for day in usage.days) == ITEMS
    assert await check_ledger(["--store-url", auth_store_url(valkey)]) == 0
    assert await deliveries(stack) == {
        webhooks_pb2.WEBHOOK_EVENT_IMAGE_COMPLETED: ITEMS,
        webhooks_pb2.WEBHOOK_EVENT_BATCH_COMPLETED: 1,
    }
    assert stack.files() == sorted(f"results/{item_id}" for item_id in accepted.item_ids)


async def test_a_task_longer_than_the_reclaim_time_runs_once_while_its_worker_lives(
    stack: JobsStack, pool: WorkerPool
) -> None:
    async def take_long(
        request: compositor_pb2.RemoveBackgroundRequest,
    ) -> compositor_pb2.RemoveBackgroundResponse:
        await asyncio.sleep(4 * RECLAIM_S)
        return await SteeredCompositor.cut_out(request)

    stack.compositor.answer = take_long
    for worker in [pool.start(), pool.start()]:
        await worker.wait_until_healthy()

    item = await stack.ended(await stack.remove(stack.spec()))

    assert item.state == removal_pb2.ITEM_STATE_SUCCEEDED
    assert len(stack.compositor.requests) == 1


async def test_the_item_of_a_killed_worker_is_reclaimed_without_new_traffic(
    stack: JobsStack, pool: WorkerPool
) -> None:
    first_came = asyncio.Event()

    async def hang_once(
        request: compositor_pb2.RemoveBackgroundRequest,
    ) -> compositor_pb2.RemoveBackgroundResponse:
        if not first_came.is_set():
            first_came.set()
            await asyncio.sleep(3600)
        return await SteeredCompositor.cut_out(request)

    stack.compositor.answer = hang_once
    busy = pool.start()
    await busy.wait_until_healthy()
    item_id = await stack.remove(stack.spec())
    await first_came.wait()
    idle = pool.start()
    await idle.wait_until_healthy()
    await asyncio.sleep(3 * RECLAIM_S)
    assert len(stack.compositor.requests) == 1, "a live task was run twice"

    pool.kill(busy)
    killed_s = time.monotonic()
    item = await stack.ended(item_id)

    print(f"reclaimed and ended {time.monotonic() - killed_s:.1f} s after the kill")
    account = await stack.account()
    assert item.state == removal_pb2.ITEM_STATE_SUCCEEDED
    assert len(stack.compositor.requests) == 2
    assert (account.spent_credits_milli, account.held_credits_milli) == (1000, 0)


async def test_an_item_that_was_charged_and_could_not_be_ended_is_ended_later_without_another_charge(
    stack: JobsStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The moment that no random kill hits reliably: paid, and nobody was told."""
    succeed = ItemStore.succeed
    charged: list[auth_pb2.Account] = []

    async def fail_once(store: ItemStore, *facts: Any) -> bool:
        if not charged:
            charged.append(await stack.account())
            raise Unavailable("Away, for a test.")
        return await succeed(store, *facts)

    monkeypatch.setattr(ItemStore, "succeed", fail_once)
    async with stack.working():
        item = await stack.ended(await stack.remove(stack.spec()))

    account = await stack.account()
    assert item.state == removal_pb2.ITEM_STATE_SUCCEEDED
    assert charged[0].spent_credits_milli == account.spent_credits_milli == 1000
    assert len(stack.compositor.requests) == 2
