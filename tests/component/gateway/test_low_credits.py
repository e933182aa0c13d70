"""A synchronous removal that takes an account below the warning tells its webhooks, once."""

from __future__ import annotations

import asyncio

import pytest

from matteworks.jobs.v1 import webhooks_pb2
from matteworks_common.channels import call
from tests.support.gateway_harness import Gateway, picture
from tests.support.webhook_receiver import receiving

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_charge_that_leaves_less_than_ten_credits_is_told_once(served: Gateway) -> None:
    account_id, key = await served.new_key("starter", credits_milli=11_000)
    async with receiving() as receiver:
        endpoint = webhooks_pb2.CreateWebhookEndpointRequest(
            account_id=account_id, url=receiver.url(), events=[webhooks_pb2.WEBHOOK_EVENT_CREDITS_LOW]
        )
        await call(served.jobs.webhooks.CreateWebhookEndpoint, endpoint, timeout_s=5)
        for width_px in (700, 701, 702):
            answer = await served.http.post(
                "/v1.0/removebg",
                files={"image_file": ("a.jpg", picture(width_px, 600))},
                data={"size": "full"},
                headers={"X-Api-Key": key},
            )
            assert answer.headers["X-Credits-Charged"] == "1"
        told = await receiver.next_post()
        await asyncio.sleep(0.3)

    assert told.event["type"] == "credits.low"
    assert told.event["data"] == {"credits_remaining": 9.0}
    assert len(receiver.posts) == 1
