"""bgremover's API before real accounts and jobs: envelopes, batches, deletion, limits, money."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.support.edge_harness import origin
from tests.support.gateway_harness import Gateway, picture

pytestmark = pytest.mark.asyncio(loop_scope="session")

RATE_HEADERS = {"x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"}


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def remove(served: Gateway, key: str, content: bytes | None = None, **fields: str) -> httpx.Response:
    return await served.http.post(
        "/v1/remove",
        files={"image": ("a.jpg", picture() if content is None else content)},
        data=fields,
        headers=bearer(key),
    )


@asynccontextmanager
async def receiver() -> AsyncIterator[tuple[str, asyncio.Queue[bytes]]]:
    """A URL, and the bodies that were posted to it."""
    bodies: asyncio.Queue[bytes] = asyncio.Queue()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        bodies.put_nowait(await reader.readexactly(length))
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook", bodies


def error_of(answer: httpx.Response) -> tuple[int, str]:
    """Status and code, once the envelope was right."""
    document = answer.json()
    assert list(document) == ["success", "error"]
    assert document["success"] is False
    assert list(document["error"]) == ["code", "message"]
    assert document["error"]["message"]
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.headers["x-request-id"]
    return answer.status_code, document["error"]["code"]


async def test_a_removal_tells_the_url_and_the_facts_of_its_result(served: Gateway) -> None:
    account, key = await served.new_key("bgremover-pro", credits_milli=5000)
    answer = await remove(served, key, output_format="webp")
    assert answer.status_code == 200
    data = answer.json()["data"]
    assert list(data) == [
        "id", "output_url", "format", "width", "height", "original_width", "original_height",
        "file_size_bytes", "processing_time_ms", "credits_used", "expires_at",
    ]  # fmt: skip
    assert (data["format"], data["width"], data["original_height"], data["credits_used"]) == (
        "webp",
        40,
        30,
        1,
    )
    expires = datetime.fromisoformat(data["expires_at"])
    assert abs(expires - datetime.now(UTC) - timedelta(days=7)) < timedelta(minutes=1)
    assert set(answer.headers) >= RATE_HEADERS
    assert answer.headers["x-ratelimit-limit"] == "60"

    result = await served.read(data["output_url"])
    assert (result.status_code, result.headers["content-type"]) == (200, "image/webp")
    assert len(result.content) == data["file_size_bytes"]
    assert result.headers["x-content-type-options"] == "nosniff"
    assert await served.spent_milli(account) == 1000


async def test_a_result_is_read_in_part_and_its_facts_alone(served: Gateway) -> None:
    _, key = await served.new_key()
    url = (await remove(served, key)).json()["data"]["output_url"]
    whole = await served.read(url)
    part = await served.read(url, headers={"Range": "bytes=2-5"})
    assert (part.status_code, part.content) == (206, whole.content[2:6])
    assert part.headers["content-range"] == f"bytes 2-5/{len(whole.content)}"
    tail = await served.read(url, headers={"Range": "bytes=-3"})
    assert (tail.status_code, tail.content) == (206, whole.content[-3:])
    behind = await served.read(url, headers={"Range": "bytes=99999999-"})
    assert (behind.status_code, behind.headers["content-range"]) == (416, f"bytes */{len(whole.content)}")
    head = await served.read(url, method="HEAD")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(whole.content))
    known = await served.read(url, headers={"If-None-Match": whole.headers["etag"]})
    assert known.status_code == 304


async def test_an_altered_or_expired_url_is_refused(served: Gateway) -> None:
    _, key = await served.new_key()
    url = (await remove(served, key)).json()["data"]["output_url"]
    altered = [
        url[:-1] + ("A" if url[-1] != "A" else "B"),
        url.replace("expires=1", "expires=9"),
        url.partition("?")[0],
        url.partition("?")[0] + "?expires=" + "9" * 400 + "&signature=x",
    ]
    for wrong in altered:
        assert (await served.read(wrong)).status_code == 403, wrong


async def test_a_deleted_image_is_gone_at_once_and_only_its_owner_can_delete_it(served: Gateway) -> None:
    _, key = await served.new_key()
    _, other = await served.new_key()
    data = (await remove(served, key)).json()["data"]
    path = f"/v1/images/{data['id']}"
    assert error_of(await served.http.delete(path, headers=bearer(other))) == (404, "NOT_FOUND")
    deleted = await served.http.delete(path, headers=bearer(key))
    assert deleted.status_code == 200
    told = deleted.json()["data"]
    assert (told["id"], told["deleted"]) == (data["id"], True)
    assert datetime.fromisoformat(told["deleted_at"])
    assert (await served.read(data["output_url"])).status_code == 404
    again = await served.http.delete(path, headers=bearer(key))
    assert error_of(again) == (404, "NOT_FOUND")
    assert again.json()["error"]["message"] == "Image not found or already deleted"


async def test_a_batch_of_files_ends_with_a_result_or_an_error_for_each(served: Gateway) -> None:
    account, key = await served.new_key()
    good = ("images", ("a.jpg", picture()))
    accepted = await served.http.post(
        "/v1/remove/batch",
        files=[good, ("images", ("b.txt", b"this is no picture")), good],
        data={"output_format": "webp"},
        headers=bearer(key),
    )
    assert accepted.status_code == 202
    data = accepted.json()["data"]
    assert list(data) == ["batch_id", "total_images", "status", "estimated_time_ms", "poll_url"]
    assert (data["total_images"], data["status"]) == (3, "processing")
    assert data["poll_url"].endswith(f"/v1/batch/{data['batch_id']}")

    ended = await served.polled(f"/v1/batch/{data['batch_id']}", key)
    assert (ended["status"], ended["completed"], ended["failed"]) == ("completed", 2, 1)
    first, second, third = ended["results"]
    assert list(first) == list(third) == ["id", "output_url", "processing_time_ms"]
    assert second["error"]["code"] == "UNSUPPORTED_FORMAT"
    assert (await served.read(first["output_url"])).headers["content-type"] == "image/webp"
    assert await served.spent_milli(account) == 2000
    assert await served.held_milli(account) == 0


async def test_a_batch_by_urls_takes_the_items_settings_over_the_batches(served: Gateway) -> None:
    _, key = await served.new_key()
    async with origin() as site:
        accepted = await served.http.post(
            "/v1/remove/batch",
            json={
                "images": [
                    {"image_url": f"http://127.0.0.1:{site.port}/a.jpg"},
                    {"image_url": f"http://127.0.0.1:{site.port}/b.jpg", "output_format": "png"},
                ],
                "output_format": "jpeg",
            },
            headers=bearer(key),
        )
        assert accepted.status_code == 202, accepted.text
        ended = await served.polled(f"/v1/batch/{accepted.json()['data']['batch_id']}", key)
    types = [(await served.read(result["output_url"])).headers["content-type"] for result in ended["results"]]
    assert types == ["image/jpeg", "image/png"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"images": []}, "images"),
        ({"images": [{"image_url": "https://example.com/a.jpg"}] * 21}, "images"),
        ({}, "images"),
        ({"images": [{}]}, "image"),
        ({"images": ["https://example.com/a.jpg"]}, "images[0]"),
        ({"images": [{"image_url": "ftp://example.com/a.jpg"}]}, "image_url"),
        ({"images": [{"image_url": "https://example.com/a.jpg", "output_format": "psd"}]}, "png"),
        ({"images": [{"image_url": "https://example.com/a.jpg", "output_quality": 101}]}, "output_quality"),
    ],
    ids=str,
)
async def test_a_batch_that_cannot_be_meant_is_refused_whole(
    served: Gateway, body: dict[str, Any], field: str
) -> None:
    account, key = await served.new_key()
    answer = await served.http.post("/v1/remove/batch", json=body, headers=bearer(key))
    assert error_of(answer) == (400, "INVALID_REQUEST")
    assert field in answer.json()["error"]["message"]
    assert await served.held_milli(account) == 0


async def test_another_tenants_batch_is_unknown(served: Gateway) -> None:
    _, key = await served.new_key()
    _, other = await served.new_key()
    accepted = await served.http.post(
        "/v1/remove/batch", files=[("images", ("a.jpg", picture()))], headers=bearer(key)
    )
    path = f"/v1/batch/{accepted.json()['data']['batch_id']}"
    answer = await served.http.get(path, headers=bearer(other))
    assert error_of(answer) == (404, "NOT_FOUND")
    assert answer.json()["error"]["message"] == "Batch ID not found"
    await served.polled(path, key)


async def test_a_webhook_on_a_private_address_is_refused_where_none_is_allowed(served: Gateway) -> None:
    account, key = await served.new_key()
    answer = await remove(served, key, webhook_url="http://10.0.0.1/hook")
    assert error_of(answer) == (400, "INVALID_REQUEST")
    assert "webhook_url" in answer.json()["error"]["message"]
    assert await served.spent_milli(account) == 0


async def test_a_webhook_is_told_beside_the_synchronous_answer(served: Gateway) -> None:
    account, key = await served.new_key()
    async with receiver() as (url, bodies):
        answer = await remove(served, key, webhook_url=url)
        assert answer.status_code == 200
        data = answer.json()["data"]
        told = json.loads(await asyncio.wait_for(bodies.get(), 20))
    assert told["type"] == "image.completed"
    assert told["data"]["id"] == data["id"]
    assert await served.spent_milli(account) == 1000


async def test_the_account_tells_plan_limits_and_use(served: Gateway) -> None:
    _, key = await served.new_key("bgremover-pro", dialect="bgremover", email="dev@example.com")
    await remove(served, key)
    await remove(served, key, b"no picture")
    answer = await served.http.get("/v1/account", headers=bearer(key))
    assert answer.status_code == 200
    data = answer.json()["data"]
    assert list(data) == [
        "id", "email", "plan", "credits_remaining", "credits_total", "rate_limit", "usage_this_month",
    ]  # fmt: skip
    assert (data["email"], data["plan"]) == ("dev@example.com", "pro")
    assert (data["credits_remaining"], data["credits_total"]) == (999, 1000)
    assert data["rate_limit"] == {"requests_per_minute": 60, "daily_limit": 1000}
    assert data["usage_this_month"]["images_processed"] == 1
    assert data["usage_this_month"]["credits_used"] == 1


async def test_a_shared_path_follows_the_keys_dialect_and_a_bad_key_gets_the_owners_answer(
    served: Gateway,
) -> None:
    _, own = await served.new_key(dialect="bgremover")
    _, plain = await served.new_key()
    assert "success" in (await served.http.get("/v1/account", headers=bearer(own))).json()
    assert "attributes" in (await served.http.get("/v1/account", headers=bearer(plain))).json()["data"]
    unknown = await served.http.get("/v1/account", headers=bearer("nobody"))
    assert (unknown.status_code, unknown.json()["errors"][0]["code"]) == (403, "auth_failed")
    prefixed = await served.http.get("/bgremover/v1/account", headers=bearer("nobody"))
    assert error_of(prefixed) == (401, "INVALID_API_KEY")
    assert "success" in (await served.http.get("/bgremover/v1/account", headers=bearer(plain))).json()


async def test_usage_is_told_by_day_week_and_month(served: Gateway) -> None:
    _, key = await served.new_key()
    await remove(served, key)
    today = datetime.now(UTC).date()
    for granularity, first_day in (
        ("daily", today),
        ("weekly", today - timedelta(days=today.weekday())),
        ("monthly", today.replace(day=1)),
    ):
        answer = await served.http.get(f"/v1/usage?granularity={granularity}", headers=bearer(key))
        data = answer.json()["data"]
        assert data["period"] == {"start": str(today.replace(day=1)), "end": str(today)}
        assert data[granularity] == [{"date": str(first_day), "requests": 1, "credits": 1}]
        assert (data["total_requests"], data["total_credits_used"]) == (1, 1)


@pytest.mark.parametrize(
    "query", ["start_date=yesterday", "start_date=2026-02-02&end_date=2026-02-01", "granularity=hourly",
              "start_date=2020-01-01&end_date=2026-01-01"],
)  # fmt: skip
async def test_a_period_that_cannot_be_meant_is_refused(served: Gateway, query: str) -> None:
    _, key = await served.new_key()
    answer = await served.http.get(f"/v1/usage?{query}", headers=bearer(key))
    assert error_of(answer) == (400, "INVALID_REQUEST")


@pytest.mark.parametrize(
    ("fields", "content", "expected"),
    [
        ({"image_url": "https://example.com/a.jpg"}, None, (400, "INVALID_REQUEST")),
        ({}, b"", (400, "INVALID_REQUEST")),
        ({}, b"this is no picture", (415, "UNSUPPORTED_FORMAT")),
        ({"output_format": "tiff"}, None, (400, "INVALID_REQUEST")),
        ({"output_quality": "0"}, None, (400, "INVALID_REQUEST")),
        ({"max_resolution": "4k"}, None, (400, "INVALID_REQUEST")),
        ({"bg_color": "#nothex"}, None, (400, "INVALID_REQUEST")),
        ({"crop": "perhaps"}, None, (400, "INVALID_REQUEST")),
    ],
    ids=str,
)
async def test_what_cannot_be_meant_costs_nothing(
    served: Gateway, fields: dict[str, str], content: bytes | None, expected: tuple[int, str]
) -> None:
    account, key = await served.new_key()
    answer = await remove(served, key, content, **fields)
    assert error_of(answer) == expected
    assert set(answer.headers) >= RATE_HEADERS
    assert await served.spent_milli(account) == 0


async def test_keys_credits_and_limits_are_refused_in_the_envelope(served: Gateway) -> None:
    assert error_of(await served.http.post("/v1/remove")) == (401, "INVALID_API_KEY")
    assert error_of(await remove(served, "nonsense")) == (401, "INVALID_API_KEY")
    _, broke = await served.new_key("unlimited")
    assert error_of(await remove(served, broke)) == (402, "INSUFFICIENT_CREDITS")
    answer = await served.http.post(
        "/v1/remove/batch", files=[("images", ("a.jpg", picture()))], headers=bearer(broke)
    )
    assert error_of(answer) == (402, "INSUFFICIENT_CREDITS")
    _, hurried = await served.new_key("bgremover-free")
    answers = [await remove(served, hurried, picture(40 + number)) for number in range(11)]
    refused = answers[-1]
    assert error_of(refused) == (429, "RATE_LIMITED")
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.headers["x-ratelimit-remaining"] == "0"


async def test_unknown_paths_and_methods_are_told_in_the_envelope(served: Gateway) -> None:
    assert error_of(await served.http.get("/v1/remove")) == (405, "METHOD_NOT_ALLOWED")
    assert error_of(await served.http.get("/v1/batch")) == (404, "NOT_FOUND")
    assert error_of(await served.http.get("/bgremover/v1.0/removebg")) == (404, "NOT_FOUND")
    assert "errors" in (await served.http.get("/v1/removebg/x")).json()


async def test_a_repeated_key_gives_the_first_answer_and_one_charge(served: Gateway) -> None:
    account, key = await served.new_key()
    headers = {**bearer(key), "Idempotency-Key": "order-7"}
    first, second = [
        await served.http.post("/v1/remove", files={"image": picture()}, headers=headers) for _ in range(2)
    ]
    assert first.json() == second.json()
    assert second.headers["x-repeated-request"] == "true"
    assert await served.spent_milli(account) == 1000
    other = await served.http.post("/v1/remove", files={"image": picture(50)}, headers=headers)
    assert error_of(other) == (422, "INVALID_REQUEST")


async def test_a_large_answer_is_repeated_byte_by_byte(served: Gateway) -> None:
    account, key = await served.new_key()
    headers = {"X-Api-Key": key, "Idempotency-Key": "large"}
    content = picture(400, 300)
    first, second = [
        await served.http.post(
            "/v1.0/removebg", files={"image_file": content}, data={"size": "full"}, headers=headers
        )
        for _ in range(2)
    ]
    assert first.status_code == second.status_code == 200
    assert first.content == second.content
    assert first.headers["content-type"] == second.headers["content-type"]
    assert second.headers["x-credits-charged"] == first.headers["x-credits-charged"]
    assert await served.spent_milli(account) == 1000


async def test_a_failed_request_frees_its_key(served: Gateway) -> None:
    account, key = await served.new_key()
    headers = {**bearer(key), "Idempotency-Key": "again"}
    failed = await served.http.post("/v1/remove", files={"image": b"no picture"}, headers=headers)
    assert failed.status_code == 415
    mended = await served.http.post("/v1/remove", files={"image": picture()}, headers=headers)
    assert mended.status_code == 200
    assert await served.spent_milli(account) == 1000
