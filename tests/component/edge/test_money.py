"""402 and the books: charged exactly when a picture was delivered."""

from __future__ import annotations

import asyncio
import contextlib

import httpx
import pytest

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.compositor.v1 import compositor_pb2
from matteworks_common.errors import (
    FailedPrecondition,
    InvalidPicture,
    LimitExceeded,
    Unavailable,
)
from tests.support.edge_harness import EdgeStack, picture

pytestmark = pytest.mark.asyncio(loop_scope="session")
LARGE = picture(600, 500)


async def settled(edge: EdgeStack) -> None:
    """Wait for the release that follows a failure; it runs beside the answer."""
    async with asyncio.timeout(5):
        await edge.accounts.released.wait()


@pytest.mark.parametrize(
    ("size", "content", "charged"),
    [
        ("preview", LARGE, "0.25"),
        ("small", LARGE, "0.25"),
        ("regular", LARGE, "0.25"),
        ("medium", LARGE, "1"),
        ("hd", LARGE, "1"),
        ("full", LARGE, "1"),
        ("4k", LARGE, "1"),
        ("50MP", LARGE, "1"),
        ("auto", LARGE, "1"),
        ("auto", picture(500, 500), "0.25"),
        ("Auto", picture(500, 501), "1"),
    ],
)
async def test_the_price_follows_the_size(edge: EdgeStack, size: str, content: bytes, charged: str) -> None:
    answer = await edge.remove(content, size=size)
    assert answer.headers["x-credits-charged"] == charged
    assert edge.books.spent_milli == float(charged) * 1000


@pytest.mark.parametrize(
    ("size", "max_pixels"),
    [("preview", 250_000), ("medium", 1_500_000), ("hd", 4_000_000), ("full", 25_000_000),
     ("50mp", 50_000_000), ("auto", 25_000_000)],
)  # fmt: skip
async def test_the_result_is_limited_by_the_size(edge: EdgeStack, size: str, max_pixels: int) -> None:
    await edge.remove(LARGE, size=size)
    assert edge.compositor.requests[-1].options.max_pixel_count == max_pixels


async def test_auto_falls_back_to_a_preview_that_can_be_paid(edge: EdgeStack) -> None:
    edge.key = edge.accounts.new_key(credits_milli=300)
    answer = await edge.remove(LARGE, size="auto")
    assert answer.headers["x-credits-charged"] == "0.25"
    assert edge.compositor.requests[-1].options.max_pixel_count == 250_000


async def test_a_free_call_pays_for_a_preview(edge: EdgeStack) -> None:
    edge.key = edge.accounts.new_key(credits_milli=0, free_calls=1)
    answer = await edge.remove(LARGE)
    assert answer.headers["x-credits-charged"] == "0"
    assert edge.books.free_calls == 0


async def test_a_test_key_gets_a_free_preview_whatever_it_asks_for(edge: EdgeStack) -> None:
    edge.key = edge.accounts.new_key(credits_milli=0, is_test=True)
    answer = await edge.remove(LARGE, size="full")
    assert answer.status_code == 200
    assert answer.headers["x-credits-charged"] == "0"
    assert edge.compositor.requests[-1].options.max_pixel_count == 250_000


async def test_an_empty_account_is_402(edge: EdgeStack) -> None:
    edge.key = edge.accounts.new_key(credits_milli=0)
    answer = await edge.remove()
    assert answer.status_code == 402
    assert answer.json() == {"errors": [{"title": "Insufficient credits", "code": "insufficient_credits"}]}
    assert answer.headers["x-credits-charged"] == "0"


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (InvalidPicture(reasons.ERROR_REASON_UNKNOWN_FOREGROUND, "Nothing."), 400, "unknown_foreground"),
        (InvalidPicture(reasons.ERROR_REASON_FAILED_TO_READ_IMAGE, "Cut."), 400, "failed_to_read_image"),
        (LimitExceeded(reasons.ERROR_REASON_OVERLOADED, "Full.", retry_after_s=3), 503, "overloaded"),
        (Unavailable("Away."), 503, "service_unavailable"),
        (RuntimeError("secret"), 500, "internal_error"),
    ],
    ids=["foreground", "unreadable", "overloaded", "away", "bug"],
)
async def test_a_failed_rendering_costs_nothing(
    edge: EdgeStack, error: Exception, status: int, code: str
) -> None:
    async def fail(
        request: compositor_pb2.RemoveBackgroundRequest,
    ) -> compositor_pb2.RemoveBackgroundResponse:
        raise error

    edge.compositor.answer = fail
    answer = await edge.remove()
    assert answer.status_code == status
    assert answer.json()["errors"][0]["code"] == code
    assert answer.headers["x-credits-charged"] == "0"
    assert answer.headers["x-ratelimit-remaining"] == "499"
    assert "secret" not in answer.text
    assert ("retry-after" in answer.headers) == (status == 503)
    await settled(edge)
    assert (edge.books.spent_milli, edge.books.held_milli) == (0, 0)


async def test_a_caller_who_leaves_while_it_runs_pays_nothing_and_the_work_stops(edge: EdgeStack) -> None:
    async def never(
        request: compositor_pb2.RemoveBackgroundRequest,
    ) -> compositor_pb2.RemoveBackgroundResponse:
        await asyncio.Event().wait()
        raise AssertionError

    edge.compositor.answer = never
    async with httpx.AsyncClient(base_url=edge.base_url) as leaving:
        request = asyncio.create_task(
            leaving.post(
                "/v1.0/removebg",
                files={"image_file": ("x", picture())},
                headers={"X-Api-Key": edge.key},
            )
        )
        await edge.compositor.started.wait()
        request.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await request
    async with asyncio.timeout(5):
        await edge.compositor.cancelled.wait()
    await settled(edge)
    assert (edge.books.spent_milli, edge.books.held_milli) == (0, 0)


async def test_a_caller_who_leaves_during_the_reservation_gets_it_back(edge: EdgeStack) -> None:
    go_on = edge.accounts.hold_up("Reserve")
    async with httpx.AsyncClient(base_url=edge.base_url) as leaving:
        request = asyncio.create_task(
            leaving.post(
                "/v1.0/removebg",
                files={"image_file": ("x", picture())},
                headers={"X-Api-Key": edge.key},
            )
        )
        await edge.accounts.entered["Reserve"].wait()
        request.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await request
    go_on.set()
    await settled(edge)
    assert (edge.books.spent_milli, edge.books.held_milli) == (0, 0)


async def test_a_commit_that_fails_once_is_repeated_and_charged_once(edge: EdgeStack) -> None:
    edge.accounts.failures["Commit"] = [Unavailable("Away.")]
    answer = await edge.remove()
    assert answer.status_code == 200
    assert edge.accounts.calls.count("Commit") == 2
    assert edge.books.spent_milli == 250


async def test_a_commit_that_keeps_failing_is_503_and_costs_nothing(edge: EdgeStack) -> None:
    edge.accounts.failures["Commit"] = [Unavailable("Away.") for _ in range(4)]
    answer = await edge.remove()
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    await settled(edge)
    assert (edge.books.spent_milli, edge.books.held_milli) == (0, 0)


async def test_a_reservation_that_ran_out_is_not_delivered(edge: EdgeStack) -> None:
    edge.accounts.failures["Commit"] = [
        FailedPrecondition(reasons.ERROR_REASON_RESERVATION_RELEASED, "It was released.")
    ]
    answer = await edge.remove()
    assert answer.status_code == 503
    assert answer.json()["errors"][0]["code"] == "service_unavailable"


async def test_the_store_being_away_is_503_and_nothing_is_rendered(edge: EdgeStack) -> None:
    edge.accounts.failures["Reserve"] = [Unavailable("Away.", reason=reasons.ERROR_REASON_STORE_UNAVAILABLE)]
    answer = await edge.remove()
    assert answer.status_code == 503
    assert not edge.compositor.requests


@pytest.mark.parametrize(
    "reason",
    [
        reasons.ERROR_REASON_RATE_LIMIT_EXCEEDED,
        reasons.ERROR_REASON_CONCURRENCY_LIMIT_EXCEEDED,
        reasons.ERROR_REASON_QUOTA_EXCEEDED,
    ],
)
@pytest.mark.parametrize(("retry_after_s", "told"), [(0.01, "1"), (2.2, "3"), (30.0, "30")])
async def test_429_says_in_whole_seconds_when_to_come_back(
    edge: EdgeStack, reason: reasons.ErrorReason.ValueType, retry_after_s: float, told: str
) -> None:
    edge.accounts.failures["Reserve"] = [LimitExceeded(reason, "Wait.", retry_after_s=retry_after_s)]
    answer = await edge.remove()
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == told
    assert answer.json()["errors"][0]["code"] == "rate_limit_exceeded"


async def test_equal_uploads_have_equal_fingerprints_and_others_do_not(edge: EdgeStack) -> None:
    await edge.remove()
    await edge.remove()
    await edge.remove(bg_color="red")
    await edge.remove(picture(41, 30))
    first, second, *others = (request.fingerprint for request in edge.accounts.reserve_requests)
    assert first == second
    assert len({first, *others}) == 3


async def test_the_callers_request_id_is_not_the_one_that_is_charged(edge: EdgeStack) -> None:
    for _ in range(2):
        answer = await edge.remove(headers={"X-Request-Id": "mine"})
        assert answer.headers["x-request-id"] == "mine"
    ids = [request.request_id for request in edge.accounts.reserve_requests]
    assert len({*ids, "mine"}) == 3


async def test_megapixels_are_those_of_the_input(edge: EdgeStack) -> None:
    await edge.remove(picture(1600, 1200))
    assert edge.accounts.reserve_requests[-1].megapixels == 2
