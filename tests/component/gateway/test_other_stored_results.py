"""Results by URL in other dialects: Picsart's answer, and bgeraser's removal that ends by webhook."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from matteworks.auth.v1 import auth_pb2, key_restrictions_pb2
from matteworks_common.channels import call
from tests.component.auth.harness import ADMIN
from tests.component.gateway.test_bgremover import receiver
from tests.support.gateway_harness import Gateway, gateway, picture
from tests.support.valkey import ValkeyProcess

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_picsart_answers_with_a_url_and_its_own_headers(served: Gateway) -> None:
    account, key = await served.new_key()
    answer = await served.http.post(
        "/tools/1.0/removebg",
        files={"image": picture()},
        data={"format": "JPG", "output_type": "cutout", "bg_color": "red"},
        headers={"X-Picsart-API-Key": key},
    )
    assert answer.status_code == 200, answer.text
    document = answer.json()
    assert (list(document), list(document["data"])) == (["status", "data"], ["id", "url"])
    assert document["status"] == "success"
    assert answer.headers["x-picsart-correlation-id"] == answer.headers["x-request-id"]
    assert answer.headers["x-picsart-ratelimit-available"].isdecimal()
    assert (await served.read(document["data"]["url"])).headers["content-type"] == "image/jpeg"
    expires = int(parse_qs(urlsplit(document["data"]["url"]).query)["expires"][0])
    assert abs(expires - time.time() - 86_400) < 60
    assert await served.spent_milli(account) == 1000


@pytest.mark.parametrize(
    ("fields", "content", "status"),
    [
        ({"output_type": "video"}, None, 400),
        ({"stroke_size": "4"}, None, 400),
        ({"shadow": "everywhere"}, None, 400),
        ({"shadow": "left", "shadow_opacity": "101"}, None, 400),
        ({"format": "GIF"}, None, 400),
        ({}, b"no picture", 415),
    ],
    ids=str,
)
async def test_picsart_tells_errors_in_its_own_document(
    served: Gateway, fields: dict[str, str], content: bytes | None, status: int
) -> None:
    account, key = await served.new_key()
    answer = await served.http.post(
        "/tools/1.0/removebg",
        files={"image": content or picture()},
        data=fields,
        headers={"X-Picsart-API-Key": key},
    )
    assert (answer.status_code, list(answer.json())) == (status, ["code", "message", "detail"])
    assert answer.json()["code"] == status
    assert await served.spent_milli(account) == 0


async def test_a_removal_with_a_webhook_is_accepted_and_told_later(served: Gateway) -> None:
    account, key = await served.new_key()
    async with receiver() as (url, bodies):
        answer = await served.http.post(
            "/v1/removebg",
            files={"image_file": picture()},
            data={"webhook_url": url},
            headers={"X-Api-Key": key},
        )
        assert answer.status_code == 202
        data = answer.json()["data"]
        assert (list(data), data["status"]) == (["id", "status"], "processing")
        told = json.loads(await asyncio.wait_for(bodies.get(), 20))
    assert (told["type"], told["data"]["id"]) == ("image.completed", data["id"])
    result = await served.read(told["data"]["output_url"])
    assert result.headers["content-type"] == "image/png"
    assert await served.spent_milli(account) == 1000


async def test_a_full_store_is_told_and_costs_nothing(tmp_path: Path) -> None:
    valkey = ValkeyProcess(tmp_path)
    valkey.start()
    try:
        # More than any disk has: so many megabytes must stay free.
        async with gateway(valkey, tmp_path / "objects", jobs={"min_free_mb": 10**12}) as full:
            account, key = await full.new_key()
            answer = await full.http.post(
                "/v1/remove", files={"image": picture()}, headers={"Authorization": f"Bearer {key}"}
            )
            assert (answer.status_code, answer.json()["error"]["code"]) == (507, "STORAGE_FULL")
            picsart = await full.http.post(
                "/tools/1.0/removebg", files={"image": picture()}, headers={"X-Picsart-API-Key": key}
            )
            assert (picsart.status_code, picsart.json()["code"]) == (507, 507)
            assert await full.spent_milli(account) == 0
            assert await full.held_milli(account) == 0
    finally:
        valkey.kill()


async def test_a_key_for_bgeraser_works_with_its_tools_and_nowhere_else(served: Gateway) -> None:
    account, _ = await served.new_key()
    made = await call(
        served.admin.CreateKey,
        auth_pb2.CreateKeyRequest(
            account_id=account,
            restrictions=key_restrictions_pb2.KeyRestrictions(allowed_dialects=["bgeraser"]),
        ),
        timeout_s=5,
        metadata=ADMIN,
    )
    headers = {"Authorization": f"Bearer {made.api_key}"}
    tool = await served.http.post("/api/tools/bg-removal", files={"image": picture()}, headers=headers)
    assert tool.status_code == 200, tool.text
    removal = await served.http.post("/v1/removebg", files={"image_file": picture(50)}, headers=headers)
    assert removal.status_code == 200, removal.text
    elsewhere = await served.http.post("/v1/remove", files={"image": picture(60)}, headers=headers)
    assert elsewhere.status_code == 401
