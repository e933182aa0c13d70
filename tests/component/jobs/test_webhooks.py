"""Webhooks: signed, tried again after the schedule, told at least once under one id, and never astray."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from svix.webhooks import Webhook, WebhookVerificationError

from matteworks.jobs.v1 import webhooks_pb2
from matteworks_common.channels import call
from matteworks_jobs.app import JobsDependencies
from matteworks_jobs.webhooks.deliverer import MOST_OF_ACCOUNT
from matteworks_outbound.addresses import Address
from tests.support.clock import ManualClock
from tests.support.jobs_harness import JobsStack, jobs_stack
from tests.support.valkey import ValkeyProcess
from tests.support.webhook_receiver import Received, Receiver, receiving, reset, status

COMPLETED = webhooks_pb2.WEBHOOK_EVENT_IMAGE_COMPLETED
BATCH = webhooks_pb2.WEBHOOK_EVENT_BATCH_COMPLETED
# Seconds from the first try to the fifth, without the random part.
FIFTH_TRY_S = 5 + 300 + 1800 + 7200


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(time.time())


@pytest.fixture
def deps(clock: ManualClock) -> JobsDependencies:
    """Nothing is sent until a test says so, and exactly after the schedule."""
    return JobsDependencies(clock=clock, does_upkeep=False, chance=lambda: 0.0)


@pytest_asyncio.fixture
async def stack(valkey: ValkeyProcess, tmp_path: Path, deps: JobsDependencies) -> AsyncIterator[JobsStack]:
    async with jobs_stack(valkey, tmp_path / "objects", deps, webhook_timeout_s=1) as running:
        yield running


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as running:
        yield running


async def deliver(stack: JobsStack) -> int:
    """Try everything that is due once."""
    assert stack.app.deliverer is not None
    return await stack.app.deliverer.deliver_due()


async def register(stack: JobsStack, url: str, events: Sequence[int] = (COMPLETED,)) -> tuple[str, str]:
    """Id and secret of a new endpoint."""
    request = webhooks_pb2.CreateWebhookEndpointRequest(account_id="a", url=url, events=events)  # type: ignore[arg-type]
    answer = await call(stack.webhooks.CreateWebhookEndpoint, request, timeout_s=5)
    return answer.endpoint.endpoint_id, answer.secret


async def request_secret(stack: JobsStack) -> str:
    request = webhooks_pb2.GetRequestSecretRequest(account_id="a")
    return (await call(stack.webhooks.GetRequestSecret, request, timeout_s=5)).secret


async def deliveries(stack: JobsStack) -> list[webhooks_pb2.WebhookDelivery]:
    request = webhooks_pb2.ListWebhookDeliveriesRequest(account_id="a")
    return list((await call(stack.webhooks.ListWebhookDeliveries, request, timeout_s=5)).deliveries)


async def is_disabled(stack: JobsStack) -> list[bool]:
    request = webhooks_pb2.ListWebhookEndpointsRequest(account_id="a")
    endpoints = (await call(stack.webhooks.ListWebhookEndpoints, request, timeout_s=5)).endpoints
    return [endpoint.is_disabled for endpoint in endpoints]


async def end_one(stack: JobsStack, **more: Any) -> str:
    """A removal that has ended; its id."""
    async with stack.working():
        item_id = await stack.remove(stack.spec(), **more)
        await stack.ended(item_id)
    return item_id


def seconds_until(clock: ManualClock, delivery: webhooks_pb2.WebhookDelivery) -> float:
    return delivery.next_attempt_time.ToMicroseconds() / 1e6 - clock.unix_s()


async def test_a_client_that_we_did_not_write_verifies_what_comes_and_nothing_else(
    stack: JobsStack, receiver: Receiver
) -> None:
    _, endpoint_secret = await register(stack, receiver.url("/endpoint"))
    item_id = await end_one(stack, webhook_url=receiver.url("/request"))

    await deliver(stack)

    secrets = {"/endpoint": endpoint_secret, "/request": await request_secret(stack)}
    assert sorted(post.path for post in receiver.posts) == ["/endpoint", "/request"]
    for post in receiver.posts:
        Webhook(secrets[post.path]).verify(post.body, post.headers)
        with pytest.raises(WebhookVerificationError):
            Webhook(secrets[post.path]).verify(post.body + b" ", post.headers)
        assert post.event["type"] == "image.completed"
        assert post.event["data"]["id"] == item_id
        assert post.event["data"]["status"] == "completed"
        assert post.event["data"]["output_url"].startswith("https://api.example.com/results/")


async def test_a_receiver_that_fails_for_an_hour_gets_everything_at_least_once_under_one_id(
    valkey: ValkeyProcess, tmp_path: Path, receiver: Receiver
) -> None:
    """We are down too for half of that hour."""
    clock = ManualClock(time.time() - FIFTH_TRY_S)
    deps = JobsDependencies(clock=clock, does_upkeep=False, chance=lambda: 0.0)
    failures = [status(500), reset, status(404), status(302, Location="/elsewhere")]

    async def fail(received: Received, writer: asyncio.StreamWriter) -> None:
        await failures[len(receiver.posts) % len(failures)](received, writer)

    receiver.answer = fail
    began_s = clock.unix_s()
    async with jobs_stack(valkey, tmp_path, deps) as stack:
        _, secret = await register(stack, receiver.url(), (COMPLETED, BATCH))
        async with stack.working():
            accepted = await stack.submit([stack.spec() for _ in range(20)])
            await stack.watch(accepted.batch.batch_id)
        for delay_s in (0, 5, 300):
            clock.advance(delay_s)
            await deliver(stack)
    clock.advance(1800)
    async with jobs_stack(valkey, tmp_path, deps) as stack:
        await deliver(stack)
        while clock.unix_s() < began_s + 3600:
            clock.advance(60)
            await deliver(stack)
        failed = list(receiver.posts)
        receiver.posts.clear()
        receiver.answer = status(204)
        while any(one.state == webhooks_pb2.DELIVERY_STATE_PENDING for one in await deliveries(stack)):
            clock.advance(60)
            await deliver(stack)
        listed = await deliveries(stack)

    bodies = defaultdict(set)
    for post in failed + receiver.posts:
        bodies[post.id].add(post.body)
    assert len(listed) == 21
    assert {one.delivery_id for one in listed} == {post.id for post in receiver.posts} == set(bodies)
    assert len(receiver.posts) == 21, "told again although it was taken"
    assert all(len(texts) == 1 for texts in bodies.values()), "one id, two texts"
    assert all(len(post.body) < 20_000 for post in receiver.posts)
    subjects = {post.event["data"].get("id", post.event["data"].get("batch_id")) for post in receiver.posts}
    assert subjects == {*accepted.item_ids, accepted.batch.batch_id}
    assert {post.path for post in failed + receiver.posts} == {"/hook"}
    for post in receiver.posts:
        # Each try carries its own time: this one is recent enough for a client with the real clock.
        Webhook(secret).verify(post.body, post.headers)


async def test_an_endpoint_that_is_gone_is_told_no_more(stack: JobsStack, receiver: Receiver) -> None:
    await register(stack, receiver.url())
    receiver.answer = status(410)
    await end_one(stack)
    await deliver(stack)
    await end_one(stack)
    await deliver(stack)

    [delivery] = await deliveries(stack)
    assert len(receiver.posts) == 1
    assert (delivery.state, delivery.last_status) == (webhooks_pb2.DELIVERY_STATE_FAILED, 410)
    assert await is_disabled(stack) == [True]


@pytest.mark.parametrize(("code", "asked_s", "expected_s"), [(429, 900, 900), (503, 60, 60), (429, 1, 300)])
async def test_a_receiver_that_asks_for_time_gets_it(
    stack: JobsStack, receiver: Receiver, clock: ManualClock, code: int, asked_s: int, expected_s: int
) -> None:
    await register(stack, receiver.url())
    receiver.answer = status(code, Retry_After=str(asked_s))
    await end_one(stack)
    await deliver(stack)

    [delivery] = await deliveries(stack)
    assert seconds_until(clock, delivery) == pytest.approx(expected_s)
    clock.advance(expected_s - 1)
    assert await deliver(stack) == 0
    clock.advance(1)
    assert await deliver(stack) == 1


async def test_after_ten_tries_within_three_days_a_delivery_is_given_up_and_can_be_sent_again(
    stack: JobsStack, receiver: Receiver, clock: ManualClock
) -> None:
    await register(stack, receiver.url())
    receiver.answer = status(500)
    await end_one(stack)
    began_s = clock.unix_s()
    await deliver(stack)
    while (delivery := (await deliveries(stack))[0]).state == webhooks_pb2.DELIVERY_STATE_PENDING:
        clock.advance(seconds_until(clock, delivery))
        await deliver(stack)
    assert len(receiver.posts) == 10
    assert clock.unix_s() - began_s == pytest.approx(75 * 3600 + 35 * 60 + 5)

    receiver.answer = status(200)
    request = webhooks_pb2.ResendWebhookDeliveryRequest(account_id="a", delivery_id=delivery.delivery_id)
    await call(stack.webhooks.ResendWebhookDelivery, request, timeout_s=5)
    await deliver(stack)

    assert {post.id for post in receiver.posts} == {delivery.delivery_id}
    assert (await deliveries(stack))[0].state == webhooks_pb2.DELIVERY_STATE_DELIVERED


@pytest.mark.parametrize("answer", [status(301, Location="/elsewhere"), status(307, Location="/elsewhere")])
async def test_a_redirect_is_not_followed(stack: JobsStack, receiver: Receiver, answer: Any) -> None:
    await register(stack, receiver.url())
    receiver.answer = answer
    await end_one(stack)
    await deliver(stack)

    assert [post.path for post in receiver.posts] == ["/hook"]
    assert (await deliveries(stack))[0].state == webhooks_pb2.DELIVERY_STATE_PENDING


async def test_a_name_that_leads_inside_is_refused_when_it_is_connected_to(
    valkey: ValkeyProcess, tmp_path: Path, receiver: Receiver, clock: ManualClock
) -> None:
    """It looked public when it was registered."""

    async def rebind(host: str, port: int) -> Sequence[Address]:
        return [ip_address("127.0.0.1")]

    deps = JobsDependencies(clock=clock, resolver=rebind, does_upkeep=False, chance=lambda: 0.0)
    async with jobs_stack(valkey, tmp_path, deps, internal_receivers="") as stack:
        await register(stack, receiver.url(host="hooks.example.com"))
        await end_one(stack)
        await deliver(stack)

        [delivery] = await deliveries(stack)
    assert receiver.posts == []
    assert (delivery.attempt_count, delivery.last_status) == (1, 0)
    assert delivery.state == webhooks_pb2.DELIVERY_STATE_PENDING


async def test_a_receiver_that_never_ends_its_answer_holds_nobody_up(
    stack: JobsStack, receiver: Receiver, clock: ManualClock
) -> None:
    async def drip(_: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(0.05)

    async def flood(_: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            writer.write(bytes(65_536))
            await writer.drain()

    await register(stack, receiver.url())
    await end_one(stack)
    receiver.answer = drip
    await deliver(stack)
    assert (await deliveries(stack))[0].state == webhooks_pb2.DELIVERY_STATE_PENDING

    clock.advance(1)
    receiver.answer = flood
    await end_one(stack)
    await deliver(stack)
    assert (await deliveries(stack))[0].state == webhooks_pb2.DELIVERY_STATE_DELIVERED


async def test_old_and_new_secret_verify_for_a_day_after_a_rotation(
    stack: JobsStack, receiver: Receiver, clock: ManualClock
) -> None:
    endpoint_id, old = await register(stack, receiver.url())
    request = webhooks_pb2.RotateWebhookSecretRequest(account_id="a", endpoint_id=endpoint_id)
    new = (await call(stack.webhooks.RotateWebhookSecret, request, timeout_s=5)).secret
    await end_one(stack)
    await deliver(stack)
    clock.advance(86_400)
    await end_one(stack)
    await deliver(stack)

    overlapping, later = receiver.posts
    for secret in (old, new):
        Webhook(secret).verify(overlapping.body, overlapping.headers)
    assert overlapping.headers["webhook-signature"].count("v1,") == 2
    assert later.headers["webhook-signature"].count("v1,") == 1


async def test_the_silent_receiver_of_one_account_delays_nobody_elses(
    stack: JobsStack, receiver: Receiver
) -> None:
    async def say_nothing(_: Received, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(3600)

    async with receiving() as silent:
        silent.answer = say_nothing
        low = [webhooks_pb2.WEBHOOK_EVENT_CREDITS_LOW]
        for account_id, url in (("b", silent.url()), ("a", receiver.url())):
            create = webhooks_pb2.CreateWebhookEndpointRequest(account_id=account_id, url=url, events=low)
            await call(stack.webhooks.CreateWebhookEndpoint, create, timeout_s=5)
        for account_id, granted in [*(("b", number) for number in range(1, 41)), ("a", 1)]:
            report = webhooks_pb2.ReportLowCreditsRequest(
                account_id=account_id, granted_credits_milli=granted
            )
            await call(stack.webhooks.ReportLowCredits, report, timeout_s=5)
        delivering = asyncio.create_task(deliver(stack))

        await receiver.next_post()

        assert not delivering.done()
        assert len(silent.posts) <= MOST_OF_ACCOUNT
        assert await delivering == 41
