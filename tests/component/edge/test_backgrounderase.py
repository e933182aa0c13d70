"""BackgroundErase's API: carriers of picture and key, options, documents and errors of its own."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import pytest

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.compositor.v1 import compositor_pb2 as pb
from matteworks_common.errors import LimitExceeded
from matteworks_common.health import TOLERATED_FAILURES
from matteworks_common.settings import MEBIBYTE
from tests.support.edge_harness import EdgeStack, edge_stack, picture

pytestmark = pytest.mark.asyncio(loop_scope="session")
PATH = "/v2"


def options_of(edge: EdgeStack) -> pb.RenderOptions:
    return edge.compositor.requests[-1].options


def error_of(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The one error, once its document is as documented."""
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"]
    error: dict[str, Any] = answer.json()["error"]
    assert list(error) == ["code", "message", "status", "request_id", "details"]
    assert (error["code"], error["status"], error["details"]) == (code, status, {})
    assert error["request_id"] == answer.headers["x-request-id"]
    assert answer.headers["x-credits-charged"] == "0"
    return error


def b64(content: bytes | None = None) -> str:
    return base64.b64encode(picture() if content is None else content).decode()


async def test_a_file_gives_a_png_of_full_size(edge: EdgeStack) -> None:
    answer = await edge.remove(path=PATH)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/png"
    assert (answer.headers["x-width"], answer.headers["x-height"]) == ("40", "30")
    assert answer.headers["x-credits-charged"] == "1"
    assert answer.headers["x-ratelimit-limit"] == "60"
    assert options_of(edge).max_pixel_count == 50_000_000
    assert options_of(edge).max_png_pixel_count == 0


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("x-api-key", "{}"),
        ("Authorization", "Bearer {}"),
        ("Authorization", "Token {}"),
        ("Authorization", "Api-Key {}"),
    ],
)
async def test_a_key_in_a_header(edge: EdgeStack, header: str, value: str) -> None:
    answer = await edge.http.post(
        PATH, files={"image_file": ("x", picture())}, headers={header: value.format(edge.key)}
    )
    assert answer.status_code == 200


async def test_a_key_in_the_query_and_it_is_not_logged(
    edge: EdgeStack, capfd: pytest.CaptureFixture[str]
) -> None:
    answer = await edge.http.post(f"{PATH}?api_key={edge.key}", files={"image_file": ("x", picture())})
    assert answer.status_code == 200
    out, err = capfd.readouterr()
    assert "request" in out
    assert edge.key not in out + err


async def test_a_key_in_the_json_body(edge: EdgeStack) -> None:
    answer = await edge.http.post(PATH, json={"api_key": edge.key, "image_base64": b64()})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/png"
    wrong = await edge.http.post(PATH, json={"api_key": "nonsense", "image_base64": b64()})
    error_of(wrong, 401, "invalid_api_key")
    error_of(await edge.http.post(PATH, json={"image_base64": b64()}), 401, "invalid_api_key")


async def test_headers_win_over_the_query_and_that_over_the_body(edge: EdgeStack) -> None:
    body = {"api_key": "nonsense", "image_base64": b64()}
    by_query = await edge.http.post(f"{PATH}?api_key={edge.key}", json=body)
    by_header = await edge.http.post(f"{PATH}?api_key=nonsense", json=body, headers={"x-api-key": edge.key})
    assert (by_query.status_code, by_header.status_code) == (200, 200)


async def test_a_strangers_body_is_read_up_to_ten_megabytes(edge: EdgeStack) -> None:
    large = b64(picture() + b"\0" * (9 * MEBIBYTE))
    answer = await edge.http.post(PATH, json={"image_base64": large, "api_key": edge.key})
    error_of(answer, 413, "image_too_large")
    answer = await edge.http.post(PATH, json={"image_base64": large}, headers={"x-api-key": edge.key})
    assert answer.status_code == 200


@pytest.mark.parametrize("name", ["image_base64", "image_file_b64"])
@pytest.mark.parametrize("prefix", ["", "data:image/jpeg;base64,"])
@pytest.mark.parametrize("encoding", ["json", "data", "files"])
async def test_base64_in_every_carrier(edge: EdgeStack, name: str, prefix: str, encoding: str) -> None:
    text = prefix + b64()
    body: dict[str, Any] = {encoding: {name: (None, text) if encoding == "files" else text}}
    answer = await edge.http.post(PATH, headers={"x-api-key": edge.key}, **body)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")


async def test_the_legacy_field_answers_json_with_a_mask(edge: EdgeStack) -> None:
    answer = await edge.http.post(PATH, json={"image": b64()}, headers={"x-api-key": edge.key})
    document = answer.json()
    assert list(document) == ["status", "image", "format", "channels", "width", "height"]
    assert options_of(edge).channels == pb.CHANNELS_ALPHA
    assert (document["status"], document["format"], document["channels"]) == ("ok", "png", "alpha")
    assert (document["width"], document["height"]) == (40, 30)
    assert base64.b64decode(document["image"]).startswith(b"\x89PNG")


async def test_the_legacy_field_with_channels_answers_what_they_say(edge: EdgeStack) -> None:
    answer = await edge.http.post(
        PATH, json={"image": b64(), "channels": "rgba"}, headers={"x-api-key": edge.key}
    )
    assert answer.json()["channels"] == "rgba"
    assert options_of(edge).channels == pb.CHANNELS_RGBA


async def test_other_carriers_answer_json_to_who_accepts_nothing_else(edge: EdgeStack) -> None:
    answer = await edge.remove(path=PATH, headers={"Accept": "application/json"}, format="jpg")
    assert (answer.json()["format"], answer.json()["channels"]) == ("jpg", "rgba")


@pytest.mark.parametrize(
    "content_type", ["image/jpeg", "application/octet-stream", "application/x-www-form-urlencoded", ""]
)
async def test_the_body_may_be_the_picture(edge: EdgeStack, content_type: str) -> None:
    answer = await edge.http.post(
        f"{PATH}?format=webp&size=hd&bg_color=red",
        content=picture(),
        headers={"x-api-key": edge.key, "content-type": content_type},
    )
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/webp")
    assert options_of(edge).max_pixel_count == 4_000_000
    assert options_of(edge).bg_color.red == 255


async def test_a_urlencoded_form_is_still_a_form(edge: EdgeStack) -> None:
    answer = await edge.http.post(
        PATH, data={"image_base64": b64(), "format": "jpg"}, headers={"x-api-key": edge.key}
    )
    assert answer.headers["content-type"] == "image/jpeg"


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("png", 2), ("jpg", 3), ("jpeg", 3), ("webp", 4), ("bmp", 9), ("tiff", 8), ("tif", 8), ("gif", 10)],
)
async def test_every_format(edge: EdgeStack, name: str, wanted: int) -> None:
    assert (await edge.remove(path=PATH, format=name)).status_code == 200
    assert options_of(edge).format == wanted


@pytest.mark.parametrize(
    ("size", "most"),
    [
        ("preview", 250_000),
        ("medium", 1_500_000),
        ("hd", 4_000_000),
        ("full", 50_000_000),
        ("auto", 50_000_000),
    ],
)
async def test_every_size_costs_one_credit(edge: EdgeStack, size: str, most: int) -> None:
    answer = await edge.remove(path=PATH, size=size)
    assert answer.headers["x-credits-charged"] == "1"
    assert options_of(edge).max_pixel_count == most


async def test_colour_and_despill_apply_to_rgba_alone(edge: EdgeStack) -> None:
    fields = {"bg_color": "hsl(120, 100%, 25%)", "despill": "1", "crop": "true"}
    await edge.remove(path=PATH, **fields)
    options = options_of(edge)
    assert (options.bg_color.green, options.despill, options.despill_color.green) == (128, True, 255)
    assert options.HasField("crop")
    await edge.remove(path=PATH, channels="alpha", **fields)
    assert not options_of(edge).HasField("bg_color")
    assert not options_of(edge).despill


async def test_fields_of_other_providers_are_ignored(edge: EdgeStack) -> None:
    answer = await edge.remove(path=PATH, scale="nonsense", roi="1", type="car", bg_image_url="x")
    assert answer.status_code == 200
    assert not options_of(edge).HasField("roi")


@pytest.mark.parametrize(
    ("fields", "content", "status", "code"),
    [
        ({"format": "zip"}, None, 400, "invalid_parameter"),
        ({"channels": "cmyk"}, None, 400, "invalid_parameter"),
        ({"size": "huge"}, None, 400, "invalid_parameter"),
        ({"bg_color": "lab(1 2 3)"}, None, 400, "invalid_parameter"),
        ({"despill": "perhaps"}, None, 400, "invalid_parameter"),
        ({"image_url": "https://a.example/x.jpg"}, None, 400, "multiple_images"),
        ({"image_base64": "QUJD"}, None, 400, "multiple_images"),
        ({}, b"no picture", 400, "invalid_image"),
        ({}, b"\xff\xd8\xff\xe0", 400, "invalid_image"),
        ({}, b"\xff\xd8\xff" + b"\0" * 30 * MEBIBYTE, 413, "image_too_large"),
    ],
)
async def test_what_cannot_be_meant_is_told_and_costs_nothing(
    edge: EdgeStack, fields: dict[str, str], content: bytes | None, status: int, code: str
) -> None:
    error_of(await edge.remove(content, path=PATH, **fields), status, code)
    assert edge.books.spent_milli == edge.books.held_milli == 0


async def test_the_documented_sentence_of_a_file_too_large(edge: EdgeStack) -> None:
    answer = await edge.remove(b"\xff\xd8\xff" + b"\0" * 30 * MEBIBYTE, path=PATH)
    assert error_of(answer, 413, "image_too_large")["message"] == "image too large (>30 MB)."


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b"{"),
        ("application/json", b"[]"),
        ("text/plain", b"hello"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\nb"),
    ],
)
async def test_a_body_that_is_neither_picture_nor_form_is_415(
    edge: EdgeStack, content_type: str, body: bytes
) -> None:
    headers = {"x-api-key": edge.key, "content-type": content_type}
    error_of(await edge.http.post(PATH, content=body, headers=headers), 415, "unsupported_media_type")


async def test_nothing_sent_is_a_missing_image(edge: EdgeStack) -> None:
    error_of(await edge.http.post(PATH, headers={"x-api-key": edge.key}), 400, "missing_image")
    answer = await edge.http.post(PATH, headers={"x-api-key": edge.key}, data={"size": "full"})
    error_of(answer, 400, "missing_image")


async def test_a_picture_that_cannot_be_fetched(guarded: EdgeStack) -> None:
    answer = await guarded.http.post(
        PATH, json={"image_url": "http://127.0.0.1/x.jpg"}, headers={"x-api-key": guarded.key}
    )
    error_of(answer, 400, "image_download_failed")


async def test_a_good_key_that_may_not_spend_is_403(edge: EdgeStack) -> None:
    edge.key = edge.accounts.new_key(credits_milli=0)
    error_of(await edge.remove(path=PATH), 403, "subscription_inactive")
    edge.accounts.failures["Reserve"] = [
        LimitExceeded(reasons.ERROR_REASON_QUOTA_EXCEEDED, "The day is over.", retry_after_s=9)
    ]
    error_of(await edge.remove(path=PATH), 403, "quota_exceeded")


async def test_a_full_window_is_429(edge: EdgeStack) -> None:
    edge.accounts.failures["Reserve"] = [
        LimitExceeded(reasons.ERROR_REASON_RATE_LIMIT_EXCEEDED, "Wait.", retry_after_s=7.2)
    ]
    answer = await edge.remove(path=PATH)
    error_of(answer, 429, "rate_limited")
    assert answer.headers["retry-after"] == "8"


async def test_unknown_paths_and_methods_are_told_in_its_document(edge: EdgeStack) -> None:
    error_of(await edge.http.get("/v2/nothing"), 404, "not_found")
    error_of(await edge.http.get(PATH), 405, "method_not_allowed")
    assert "errors" in (await edge.http.get("/v2.0/nothing-of-theirs")).text


async def test_the_account_tells_key_and_plan(edge: EdgeStack) -> None:
    answer = await edge.http.get("/v2/account", headers={"Authorization": f"Token {edge.key}"})
    assert answer.status_code == 200
    document = answer.json()
    fingerprint = document["api_key"].pop("fingerprint")
    assert fingerprint.startswith("tok_fp_")
    assert fingerprint[7:] not in edge.key
    assert document == {
        "status": "ok",
        "api_key": {"valid": True, "mode": "live"},
        "account": {
            "email": "",
            "plan": "starter",
            "subscription_status": "active",
            "billing_model": "metered_monthly",
            "usage_unit": "image",
        },
    }
    again = await edge.http.get(f"/v2/account?api_key={edge.key}")
    assert again.json()["api_key"]["fingerprint"] == fingerprint
    error_of(await edge.http.get("/v2/account"), 401, "invalid_api_key")


async def test_a_test_key_is_synthetic(edge: EdgeStack) -> None:
    key = edge.accounts.new_key(is_test=True, credits_milli=0)
    answer = await edge.http.get("/v2/account", headers={"x-api-key": key})
    assert answer.json()["api_key"]["mode"] == "synthetic"


@pytest.mark.parametrize("path", ["/v2/health", "/health", "/", "/backgrounderase/health"])
async def test_health_needs_no_key(edge: EdgeStack, path: str) -> None:
    answer = await edge.http.get(path)
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_health_is_503_while_removals_cannot_be_served() -> None:
    async with edge_stack() as stack:
        stack.compositor.is_away = True
        for _ in range(TOLERATED_FAILURES + 1):
            await stack.app.monitor.poll()
        answer = await stack.http.get("/v2/health")
        assert (answer.status_code, answer.json()) == (503, {"status": "unavailable"})


@pytest.mark.parametrize("path", ["/backgrounderase/v2", "/v2"])
async def test_it_is_served_under_its_prefix_too(edge: EdgeStack, path: str) -> None:
    assert (await edge.remove(path=path)).status_code == 200
    error_of(await edge.remove(path=path, headers={"X-Api-Key": "wrong"}), 401, "invalid_api_key")


async def test_a_host_of_its_own_needs_no_prefix() -> None:
    async with edge_stack(dialect_hosts="erase.example=backgrounderase,photo.example=photoroom") as stack:
        answer = await stack.http.get("/nothing", headers={"Host": "erase.example:443"})
        error_of(answer, 404, "not_found")
        answer = await stack.http.get(
            "/v1/account", headers={"Host": "photo.example", "x-api-key": stack.key}
        )
        assert list(answer.json()) == ["credits"]


async def test_photorooms_accounts_are_apart(edge: EdgeStack) -> None:
    key = {"x-api-key": edge.key}
    first = await edge.http.get("/photoroom/v1/account", headers=key)
    second = await edge.http.get("/photoroom/v2/account", headers=key)
    assert first.json() == {"credits": {"available": 10, "subscription": 10}}
    assert second.json() == {"images": {"available": 10, "subscription": 10}, "plan": "starter"}
    assert "data" in (await edge.http.get("/v1/account", headers=key)).json()
    wrong = await edge.http.get("/photoroom/v1/account")
    assert (wrong.status_code, list(wrong.json())) == (403, ["error"])
    assert list(wrong.json()["error"]) == ["message"]


async def test_what_is_off_is_unknown() -> None:
    async with edge_stack(disabled_dialects="backgrounderase") as stack:
        answer = await stack.remove(path=PATH)
        assert answer.status_code == 404
        assert answer.json()["errors"][0]["code"] == "not_found"
