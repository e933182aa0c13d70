"""The second dialect differs in names, sizes, prices and codes, and in nothing else."""

from __future__ import annotations

import pytest

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.errors import LimitExceeded
from tests.support.edge_harness import EdgeStack, picture

pytestmark = pytest.mark.asyncio(loop_scope="session")
PATH = "/v1/removebg"


async def test_a_result_has_its_own_size_headers_and_costs_one_credit(edge: EdgeStack) -> None:
    answer = await edge.remove(path=PATH)
    assert answer.status_code == 200
    assert (answer.headers["x-image-width"], answer.headers["x-image-height"]) == ("40", "30")
    assert answer.headers["x-credits-charged"] == "1"
    assert answer.headers["content-type"] == "image/png"
    assert not [name for name in answer.headers if name.startswith("x-foreground")]


async def test_named_sizes_limit_the_longer_side(edge: EdgeStack) -> None:
    await edge.remove(picture(3000, 1500), path=PATH, size="preview")
    assert edge.compositor.requests[-1].options.max_pixel_count == 1024 * 512
    await edge.remove(picture(3000, 1500), path=PATH, size="full")
    assert edge.compositor.requests[-1].options.max_pixel_count == 2048 * 1024


async def test_a_bad_key_is_401(edge: EdgeStack) -> None:
    answer = await edge.remove(path=PATH, headers={"X-Api-Key": "wrong"})
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (401, "authentication_error")


async def test_an_empty_account_is_402_quota_exceeded(edge: EdgeStack) -> None:
    edge.key = edge.accounts.new_key(credits_milli=0)
    answer = await edge.remove(path=PATH)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (402, "quota_exceeded")


async def test_a_full_window_is_429_rate_limited(edge: EdgeStack) -> None:
    edge.accounts.failures["Reserve"] = [
        LimitExceeded(reasons.ERROR_REASON_RATE_LIMIT_EXCEEDED, "Wait.", retry_after_s=7.2)
    ]
    answer = await edge.remove(path=PATH)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (429, "rate_limited")
    assert answer.headers["retry-after"] == "8"
