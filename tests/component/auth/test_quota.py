"""Limits cross the wire with the time to wait and what the headers need."""

from __future__ import annotations

import pytest

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.errors import LimitExceeded
from tests.component.auth.harness import Auth, serving
from tests.support.clock import ManualClock


async def fill_the_minute(auth: Auth) -> None:
    await auth.make_account("starter")
    for i in range(10):
        await auth.reserve(f"fill{i}", credits_milli=0, megapixels=50)


async def test_a_full_rate_limit_says_when_to_come_back() -> None:
    async with serving(clock=ManualClock()) as auth:
        await fill_the_minute(auth)
        with pytest.raises(LimitExceeded) as caught:
            await auth.reserve("r1", credits_milli=0, megapixels=5)
    assert caught.value.reason == reasons.ERROR_REASON_RATE_LIMIT_EXCEEDED
    assert caught.value.retry_after_s == pytest.approx(0.6)
    assert caught.value.metadata["remaining_megapixels"] == "0"
    assert caught.value.metadata["reset_unix_s"] == "1800000060"


async def test_after_the_wait_the_request_passes() -> None:
    clock = ManualClock()
    async with serving(clock=clock) as auth:
        await fill_the_minute(auth)
        clock.advance(0.6)
        response = await auth.reserve("r1", credits_milli=0, megapixels=5)
    assert (response.rate_limit.limit_megapixels, response.rate_limit.remaining_megapixels) == (500, 0)


async def test_too_many_at_once_are_told_to_wait() -> None:
    async with serving(clock=ManualClock()) as auth:
        await auth.make_account("free")
        for i in range(2):
            await auth.reserve(f"r{i}", credits_milli=0)
        with pytest.raises(LimitExceeded) as caught:
            await auth.reserve("r2", credits_milli=0)
    assert caught.value.reason == reasons.ERROR_REASON_CONCURRENCY_LIMIT_EXCEEDED
    assert caught.value.retry_after_s == 1


async def test_a_used_up_day_is_told_with_its_quota() -> None:
    async with serving(clock=ManualClock()) as auth:
        await auth.make_account("free")
        for i in range(20):
            held = await auth.reserve(f"r{i}", credits_milli=0)
            await auth.commit(held.reservation_id, f"r{i}")
        with pytest.raises(LimitExceeded) as caught:
            await auth.reserve("r20", credits_milli=0)
    assert caught.value.reason == reasons.ERROR_REASON_QUOTA_EXCEEDED
    assert caught.value.metadata["quota"] == "requests_per_day"
    # 2027-01-15 08:00 UTC until midnight.
    assert caught.value.retry_after_s == 16 * 3600
