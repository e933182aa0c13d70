"""Cancelling: what is not charged yet ends, what has ended stays."""

from __future__ import annotations

import asyncio

from matteworks.jobs.v1 import jobs_pb2, removal_pb2
from matteworks_common.channels import call
from tests.support.edge_harness import SteeredCompositor
from tests.support.jobs_harness import JobsStack


async def cancel(stack: JobsStack, batch_id: str) -> jobs_pb2.Batch:
    request = jobs_pb2.CancelBatchRequest(account_id="a", batch_id=batch_id)
    return (await call(stack.jobs.CancelBatch, request, timeout_s=5)).batch


async def test_a_cancelled_batch_ends_costs_nothing_and_leaves_nothing(stack: JobsStack) -> None:
    accepted = await stack.submit([stack.spec() for _ in range(3)])

    first = await cancel(stack, accepted.batch.batch_id)
    again = await cancel(stack, accepted.batch.batch_id)

    async with stack.working():
        # Its worker gets the items all the same, and lets them be.
        other = await stack.ended(await stack.remove(stack.spec()))
    await stack.swept()
    assert (first.cancelled_count, first.is_ended) == (3, True)
    assert again == first
    assert (await stack.account()).spent_credits_milli == 1000
    assert stack.files() == [f"results/{other.item_id}"]


async def test_an_item_that_is_cancelled_while_it_is_worked_on_is_not_charged(stack: JobsStack) -> None:
    proceed = asyncio.Event()

    async def wait(request: object) -> object:
        await proceed.wait()
        return await SteeredCompositor.cut_out(request)  # type: ignore[arg-type]

    stack.compositor.answer = wait  # type: ignore[assignment]
    async with stack.working():
        accepted = await stack.submit([stack.spec()])
        await stack.compositor.started.wait()
        batch = await cancel(stack, accepted.batch.batch_id)
        proceed.set()
    await stack.swept()

    account = await stack.account()
    item = await stack.item(accepted.item_ids[0])
    assert batch.is_ended
    assert item.state == removal_pb2.ITEM_STATE_CANCELLED
    assert (account.spent_credits_milli, account.held_credits_milli) == (0, 0)
    assert stack.files() == []
