"""What a request of the gateway has stored goes again when the request fails."""

from __future__ import annotations

import pytest

from matteworks.jobs.v1 import removal_pb2
from matteworks_common.channels import open_channel
from matteworks_edge.jobs_client import JobsClient
from matteworks_edge.operations.stored.keeping import keeping
from tests.support.jobs_harness import JobsStack


async def test_results_stay_after_success_and_go_after_a_failure(stack: JobsStack) -> None:
    owner = removal_pb2.Caller(account_id="a")
    async with open_channel(stack.target, 1024 * 1024) as channel:
        jobs = JobsClient(channel, 10)
        async with keeping(jobs, owner) as kept:
            await kept.keep(b"paid", "image/png")
        with pytest.raises(RuntimeError, match="the charge failed"):
            await _keep_and_fail(jobs, owner)

    assert await stack.listed() == [result.result_id for result in kept.results]


async def _keep_and_fail(jobs: JobsClient, owner: removal_pb2.Caller) -> None:
    async with keeping(jobs, owner) as lost:
        await lost.keep(b"one", "image/png")
        await lost.keep(b"two", "image/jpeg")
        raise RuntimeError("the charge failed")
