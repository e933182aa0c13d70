"""With the store away, everything fails closed and soon; when it is back, nothing was lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from matteworks.auth.v1 import audit_pb2, auth_pb2, idempotency_pb2, plan_pb2
from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.channels import call
from matteworks_common.errors import Unavailable
from tests.component.auth.harness import Auth, serving
from tests.support.clock import ManualClock
from tests.support.valkey import ValkeyProcess


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[ValkeyProcess]:
    process = ValkeyProcess(tmp_path)
    process.start()
    try:
        yield process
    finally:
        process.kill()


async def health_becomes(auth: Auth, status: int) -> None:
    """Wait on the health stream; the test's own timeout bounds it."""
    watch = health_pb2_grpc.HealthStub(auth.channel).Watch(health_pb2.HealthCheckRequest())
    async with asyncio.timeout(10):
        async for response in watch:
            if response.status == status:
                return


async def test_a_killed_store_refuses_and_a_restarted_one_remembers(valkey: ValkeyProcess) -> None:
    async with serving(valkey.url) as auth:
        await auth.make_account()
        first = await auth.reserve("r1")
        valkey.kill()
        with pytest.raises(Unavailable) as caught:
            await auth.reserve("r2")
        assert caught.value.reason == reasons.ERROR_REASON_STORE_UNAVAILABLE
        valkey.start()
        # The server has forgotten the scripts; nobody notices.
        assert await auth.reserve("r1") == first
        assert await auth.commit(first.reservation_id, "r1") == 1000


async def test_no_call_is_let_through_without_the_store(valkey: ValkeyProcess) -> None:
    async with serving(valkey.url) as auth:
        await auth.make_account()
        key = (await auth.make_key()).api_key
        held = await auth.reserve("r1")
        valkey.kill()
        for step in (
            auth.authenticate(key),
            auth.reserve("r2"),
            auth.commit(held.reservation_id, "r1"),
            auth.release(held.reservation_id, "r1"),
            auth.account(),
        ):
            with pytest.raises(Unavailable) as caught:
                await step
            assert caught.value.reason == reasons.ERROR_REASON_STORE_UNAVAILABLE


async def test_first_answers_are_not_guessed_without_the_store(valkey: ValkeyProcess) -> None:
    async with serving(valkey.url) as auth:
        valkey.kill()
        request = idempotency_pb2.BeginCallRequest(
            account_id="a", idempotency_key="k", fingerprint="f", lease_id="l"
        )
        counted = auth_pb2.CountCallRequest(request_id="c", account_id="a")
        for step in (
            call(auth.calls.BeginCall, request, timeout_s=5),
            call(auth.auth.CountCall, counted, timeout_s=5),
            auth.administer(auth.admin.ListAccounts, auth_pb2.ListAccountsRequest()),
            auth.administer(auth.admin.ListAuditEvents, audit_pb2.ListAuditEventsRequest()),
        ):
            with pytest.raises(Unavailable) as caught:
                await step
            assert caught.value.reason == reasons.ERROR_REASON_STORE_UNAVAILABLE


async def test_a_remembered_key_is_told_without_its_rate_limit(valkey: ValkeyProcess) -> None:
    clock = ManualClock()
    async with serving(valkey.url, clock) as auth:
        await auth.make_account()
        key = (await auth.make_key()).api_key
        told = await auth.authenticate(key, rate_unit=plan_pb2.RATE_UNIT_REQUESTS)
        assert told.HasField("rate_limit")
        valkey.kill()
        told = await auth.authenticate(key, rate_unit=plan_pb2.RATE_UNIT_REQUESTS)
        assert told.plan_details.name == "development"
        assert not told.HasField("rate_limit")
        clock.advance(2)
        with pytest.raises(Unavailable):
            await auth.authenticate(key)


async def test_a_silent_store_is_given_up_in_time(valkey: ValkeyProcess) -> None:
    async with serving(valkey.url) as auth:
        await auth.make_account()
        valkey.pause()
        start_s = time.monotonic()
        with pytest.raises(Unavailable):
            await auth.reserve("r1")
        # Two steps of 0.5 s at most: the hint for the sweeper, and the reservation.
        assert time.monotonic() - start_s < 1.5
        valkey.resume()


async def test_readiness_follows_the_store(valkey: ValkeyProcess) -> None:
    async with serving(valkey.url) as auth:
        await health_becomes(auth, health_pb2.HealthCheckResponse.SERVING)
        valkey.kill()
        await health_becomes(auth, health_pb2.HealthCheckResponse.NOT_SERVING)
        valkey.start()
        await health_becomes(auth, health_pb2.HealthCheckResponse.SERVING)
