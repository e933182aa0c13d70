"""Batches: every item ends, in order, with its result or its error."""

from __future__ import annotations

from matteworks.common.v1 import image_pb2
from matteworks.jobs.v1 import removal_pb2
from tests.support.jobs_harness import JobsStack


async def test_every_item_of_a_batch_ends_with_its_result_and_is_charged_once(stack: JobsStack) -> None:
    async with stack.working():
        accepted = await stack.submit([stack.spec(40 + n) for n in range(5)])
        told = await stack.watch(accepted.batch.batch_id)

    answer = await stack.batch(accepted.batch.batch_id)
    account = await stack.account()
    await stack.swept()
    assert told[-1].is_ended
    assert told[-1].succeeded_count == 5
    assert [item.item_id for item in answer.items] == list(accepted.item_ids)
    assert [item.state for item in answer.items] == [removal_pb2.ITEM_STATE_SUCCEEDED] * 5
    assert [item.rendering.size.width_px for item in answer.items] == [40, 41, 42, 43, 44]
    assert {item.charged_credits_milli for item in answer.items} == {1000}
    assert (account.spent_credits_milli, account.held_credits_milli) == (5000, 0)
    assert stack.files() == sorted(f"results/{item.item_id}" for item in answer.items)


async def test_model_and_quality_reach_the_compositor_and_the_confidence_comes_back(stack: JobsStack) -> None:
    defaults = removal_pb2.RemovalSpec(model="one", quality=image_pb2.QUALITY_BEST)
    async with stack.working():
        accepted = await stack.submit([stack.spec(40), stack.spec(41, model="two")], defaults=defaults)
        await stack.watch(accepted.batch.batch_id)

    items = (await stack.batch(accepted.batch.batch_id)).items
    asked = sorted((request.model, request.quality) for request in stack.compositor.requests)
    assert asked == [("one", image_pb2.QUALITY_BEST), ("two", image_pb2.QUALITY_BEST)]
    assert [round(item.rendering.matte_confidence, 3) for item in items] == [0.876, 0.876]
