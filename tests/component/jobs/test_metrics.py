"""How much waits and how long is told, and what fails in the store of results is counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from matteworks.jobs.v1 import jobs_pb2
from matteworks_common.channels import call
from matteworks_common.errors import MatteworksError
from tests.support.jobs_harness import JobsStack, jobs_stack
from tests.support.valkey import ValkeyProcess


def value(stack: JobsStack, name: str, **labels: str) -> float | None:
    return stack.app.registry.get_sample_value(f"matteworks_jobs_{name}", labels)


async def measured(stack: JobsStack) -> tuple[float | None, float | None]:
    """Waiting items and the age of the oldest."""
    assert stack.app.upkeep is not None
    await stack.app.upkeep.measure()
    return value(stack, "waiting_items"), value(stack, "oldest_item_seconds")


async def test_what_waits_is_told_until_it_has_ended(stack: JobsStack) -> None:
    assert await measured(stack) == (0, 0)
    first = await stack.remove(stack.spec())
    batch = await stack.submit([stack.spec(50), stack.spec(60)])
    count, age_s = await measured(stack)
    _, later_s = await measured(stack)

    assert count == 3
    assert 0 < (age_s or 0) < (later_s or 0) < 60
    async with stack.working():
        await stack.ended(first)
        await stack.watch(batch.batch.batch_id)
    assert await measured(stack) == (0, 0)


async def test_a_cancelled_batch_waits_no_more(stack: JobsStack) -> None:
    batch = await stack.submit([stack.spec()])
    assert (await measured(stack))[0] == 1
    request = jobs_pb2.CancelBatchRequest(account_id="a", batch_id=batch.batch.batch_id)
    await call(stack.jobs.CancelBatch, request, timeout_s=5)

    assert await measured(stack) == (0, 0)


async def test_a_webhook_that_is_due_and_not_tried_is_told(valkey: ValkeyProcess, tmp_path: Path) -> None:
    async with jobs_stack(valkey, tmp_path / "objects", sweep_interval_s=3600) as stack:
        item_id = await stack.remove(stack.spec(), webhook_url="http://127.0.0.1:9/hook")
        async with stack.working():
            await stack.ended(item_id)
        await measured(stack)

        assert value(stack, "due_webhooks") == 1
        assert (value(stack, "overdue_webhook_seconds") or 0) > 0


async def test_a_store_without_room_is_counted(valkey: ValkeyProcess, tmp_path: Path) -> None:
    async with jobs_stack(valkey, tmp_path / "objects", min_free_mb=10**9) as stack:
        with pytest.raises(MatteworksError):
            await stack.store()

        assert value(stack, "object_store_failures_total", operation="put", reason="full") == 1
        assert (value(stack, "object_store_free_bytes") or 0) > 0
