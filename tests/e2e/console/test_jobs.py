"""A batch, its webhook and its results through the whole stack, seen and changed in a real browser."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from playwright.async_api import expect

from matteworks.jobs.v1 import jobs_pb2, jobs_pb2_grpc, removal_pb2
from matteworks_deploy.local.development import ACCOUNT_ID
from tests.e2e.console.conftest import Visit
from tests.e2e.console.test_console import ACCOUNT, sign_in
from tests.support.stack import RunningStack

pytestmark = [
    pytest.mark.stack,
    pytest.mark.asyncio(loop_scope="package"),
    pytest.mark.timeout(180),
]


async def submit(stack: RunningStack, photo: bytes) -> str:
    """A batch of one picture through Envoy; its id."""

    async def parts() -> AsyncIterator[jobs_pb2.CreateBatchRequest]:
        caller = removal_pb2.Caller(account_id=ACCOUNT_ID)
        yield jobs_pb2.CreateBatchRequest(header=jobs_pb2.BatchHeader(caller=caller))
        yield jobs_pb2.CreateBatchRequest(item=removal_pb2.RemovalSpec(image=photo))

    async with grpc.aio.insecure_channel(stack.internal_target) as channel:
        stub = jobs_pb2_grpc.JobServiceStub(channel)
        answer = await stub.CreateBatch(parts(), timeout=30)
        batch_id: str = answer.batch.batch_id
        return batch_id


async def test_a_batch_ends_its_webhook_fails_and_is_resent_and_its_result_is_deleted(
    visit: Visit, running_stack: RunningStack, demo_photo: Path, axe: str
) -> None:
    """A local stack tells no private address, so the delivery fails; resending tries it anew."""
    async with visit() as visitor:
        page = visitor.page
        await sign_in(visitor, running_stack.key)
        await visitor.open(f"{ACCOUNT}/batches")
        batch_id = await submit(running_stack, demo_photo.read_bytes())
        row = page.locator("tr", has_text=batch_id)
        await expect(row).to_contain_text("1 of 1", timeout=40_000)
        await expect(row).to_contain_text("ended")
        problems = await visitor.check(axe)

        await visitor.open(f"{ACCOUNT}/results")
        result = page.locator("tbody tr").first
        result_id = (await result.locator("th").inner_text()).strip()
        assert re.fullmatch(r"\w{16,64}", result_id)
        problems += await visitor.check(axe)
        await result.get_by_role("button").click()
        await expect(page.locator("tr", has_text=result_id)).to_have_count(0)

        await visitor.open(f"{ACCOUNT}/webhooks")
        problems += await visitor.check(axe)
        await page.fill("#url", "https://hooks.invalid/matteworks")
        await page.click("main button.primary")
        await expect(page.locator("#new-secret")).to_contain_text("whsec_")
        await submit(running_stack, demo_photo.read_bytes() + b"again")
        async with asyncio.timeout(40):
            while await page.locator("button", has_text="Resend").count() == 0:
                await visitor.open(f"{ACCOUNT}/webhooks")
        await page.locator("button", has_text="Resend").first.click()
        await expect(page.locator("button", has_text="Resend").first).to_be_visible()
        problems += await visitor.check(axe)

    assert problems == []
