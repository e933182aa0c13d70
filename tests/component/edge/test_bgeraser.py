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
    # What clients of remove.bg read stands beside it.
    assert (answer.headers["x-width"], answer.headers["x-height"]) == ("40", "30")
    assert answer.headers["x-foreground-left"] == "1"
    assert answer.headers["x-ratelimit-limit"] == "60"


async def test_named_sizes_limit_the_longer_side(edge: EdgeStack) -> None:
    await edge.remove(picture(3000, 1500), path=PATH, size="preview")
    assert edge.compositor.requests[-1].options.max_pixel_count == 1024 * 512
    await edge.remove(picture(3000, 1500), path=PATH, size="full")
    assert edge.compositor.requests[-1].options.max_pixel_count == 2048 * 1024


async def test_auto_is_full_and_no_name_gives_more(edge: EdgeStack) -> None:
    for size in ("auto", "4k", "50MP"):
        await edge.remove(picture(3000, 1500), path=PATH, size=size)
        assert edge.compositor.requests[-1].options.max_pixel_count == 2048 * 1024


async def test_a_colour_is_for_jpeg_alone(edge: EdgeStack) -> None:
    await edge.remove(path=PATH, bg_color="#ff0000")
    assert not edge.compositor.requests[-1].options.HasField("bg_color")
    await edge.remove(path=PATH, bg_color="#ff0000", format="jpg")
    assert edge.compositor.requests[-1].options.bg_color.red == 255


async def test_nothing_sent_is_a_missing_parameter_and_tells_the_rate(edge: EdgeStack) -> None:
    answer = await edge.http.post(PATH, headers={"X-Api-Key": edge.key}, data={"size": "auto"})
    assert answer.status_code == 400
    assert answer.json() == {"errors": [{"title": "Missing image_file", "code": "missing_parameter"}]}
    assert answer.headers["x-ratelimit-remaining"] == "60"
    assert answer.headers["x-credits-charged"] == "0"


async def test_an_unknown_path_has_title_and_code_alone(edge: EdgeStack) -> None:
    answer = await edge.http.get(f"{PATH}/nothing", headers={"X-Api-Key": edge.key})
    assert answer.status_code == 404
    assert answer.json() == {"errors": [{"title": "Not found", "code": "not_found"}]}


async def test_an_unknown_key_gets_no_rate(edge: EdgeStack) -> None:
    answer = await edge.remove(path=PATH, headers={"X-Api-Key": "wrong"})
    assert answer.json() == {"errors": [{"title": "Invalid API key", "code": "authentication_error"}]}
    assert "x-ratelimit-limit" not in answer.headers


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
