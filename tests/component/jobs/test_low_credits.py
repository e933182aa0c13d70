"""`credits.low`: told once when an account runs low, and again only after it was given credits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from matteworks.auth.v1 import auth_pb2
from matteworks.jobs.v1 import webhooks_pb2
from matteworks_common.channels import call
from matteworks_jobs.app import JobsDependencies
from tests.component.auth.harness import ADMIN
from tests.support.jobs_harness import JobsStack, jobs_stack
from tests.support.valkey import ValkeyProcess
from tests.support.webhook_receiver import Receiver, receiving

ACCOUNT = "poor"


@pytest_asyncio.fixture
async def stack(valkey: ValkeyProcess, tmp_path: Path) -> AsyncIterator[JobsStack]:
    deps = JobsDependencies(does_upkeep=False)
    async with jobs_stack(valkey, tmp_path / "objects", deps) as running:
        yield running


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as running:
        yield running


async def grant(stack: JobsStack, request_id: str, credits_milli: int) -> None:
    request = auth_pb2.GrantCreditsRequest(
        request_id=request_id,
        account_id=ACCOUNT,
        balance=auth_pb2.BALANCE_PAYG,
        credits_milli=credits_milli,
    )
    await call(stack.admin.GrantCredits, request, timeout_s=5, metadata=ADMIN)


async def spend(stack: JobsStack, receiver: Receiver, count: int) -> list[float]:
    """Charge so many credits to the account; what it is told then, as the credits that remain."""
    receiver.posts.clear()
    async with stack.working():
        accepted = await stack.submit([stack.spec() for _ in range(count)], ACCOUNT)
        told = await stack.watch(accepted.batch.batch_id, account_id=ACCOUNT)
        assert told[-1].succeeded_count == count
    assert stack.app.deliverer is not None
    await stack.app.deliverer.deliver_due()
    assert {post.event["type"] for post in receiver.posts} <= {"credits.low"}
    return [post.event["data"]["credits_remaining"] for post in receiver.posts]


async def test_an_account_is_told_once_each_time_that_it_runs_low(
    stack: JobsStack, receiver: Receiver
) -> None:
    await stack.make_account(ACCOUNT, "starter")
    endpoint = webhooks_pb2.CreateWebhookEndpointRequest(
        account_id=ACCOUNT, url=receiver.url(), events=[webhooks_pb2.WEBHOOK_EVENT_CREDITS_LOW]
    )
    await call(stack.webhooks.CreateWebhookEndpoint, endpoint, timeout_s=5)
    await grant(stack, "first", 14_000)

    assert await spend(stack, receiver, 2) == [], "12 credits are not few"
    [remaining] = await spend(stack, receiver, 6)
    assert 6 <= remaining < 10
    assert await spend(stack, receiver, 1) == [], "it has been told"

    await grant(stack, "second", 20_000)
    assert await spend(stack, receiver, 2) == []
    assert len(await spend(stack, receiver, 16)) == 1


async def test_a_gateway_that_reports_the_same_again_changes_nothing(
    stack: JobsStack, receiver: Receiver
) -> None:
    endpoint = webhooks_pb2.CreateWebhookEndpointRequest(
        account_id="a", url=receiver.url(), events=[webhooks_pb2.WEBHOOK_EVENT_CREDITS_LOW]
    )
    await call(stack.webhooks.CreateWebhookEndpoint, endpoint, timeout_s=5)
    assert stack.app.deliverer is not None

    for available_milli, granted_milli in [(9000, 50_000), (8000, 50_000), (7000, 40_000), (9500, 60_000)]:
        report = webhooks_pb2.ReportLowCreditsRequest(
            account_id="a", available_credits_milli=available_milli, granted_credits_milli=granted_milli
        )
        await call(stack.webhooks.ReportLowCredits, report, timeout_s=5)
        await stack.app.deliverer.deliver_due()

    assert [post.event["data"] for post in receiver.posts] == [
        {"credits_remaining": 9.0},
        {"credits_remaining": 9.5},
    ]
