"""Bad input in every provider's API: its own status, shape and code, and nothing charged."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import httpx
import pytest

from matteworks.auth.v1 import auth_pb2, plan_pb2
from matteworks_common.channels import call
from matteworks_common.errors import MatteworksError
from matteworks_common.settings import MEBIBYTE
from tests.component.gateway.bad_input import KINDS, PROVIDERS, Provider
from tests.support.gateway_harness import Gateway, picture

pytestmark = pytest.mark.asyncio(loop_scope="session")
WRONG_KEY = "mw_live_aaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
# What a picture of a provider's own type costs is paid by nobody: no credits, no free calls.
POOR_PLAN = "unlimited"


async def use_up_the_minute(served: Gateway, account_id: str, key: str) -> None:
    """Take what the rate limits of the account and of the key have, in requests and in megapixels."""
    shared = {"account_id": account_id, "key_id": key.split("_")[2]}
    for scope in (plan_pb2.RATE_SCOPE_ACCOUNT, plan_pb2.RATE_SCOPE_KEY):
        for _ in range(100):
            request = auth_pb2.CountCallRequest(request_id=uuid.uuid4().hex, rate_scope=scope, **shared)
            try:
                await call(served.jobs.auth.CountCall, request, timeout_s=5)
            except MatteworksError:
                break
    for megapixels in (50, 10, 1):
        for _ in range(100):
            reserve = auth_pb2.ReserveRequest(
                request_id=uuid.uuid4().hex,
                prices=[auth_pb2.Price(credits_milli=0)],
                megapixels=megapixels,
                rate_unit=plan_pb2.RATE_UNIT_MEGAPIXELS,
                urgency=auth_pb2.URGENCY_DEFERRED,
                **shared,
            )
            try:
                await call(served.jobs.auth.Reserve, reserve, timeout_s=5)
            except MatteworksError:
                break


async def send(served: Gateway, provider: Provider, kind: str, key: str) -> httpx.Response:
    """The request that is bad in this one way."""
    headers = {provider.key_header: WRONG_KEY if kind == "wrong key" else key}
    if kind == "no key":
        headers.clear()
    content = b"this is no picture" if kind == "no picture" else picture()
    if kind == "too large":
        content += b"\0" * (provider.limit_mb * MEBIBYTE)
    if kind == "unknown path":
        return await served.http.post(f"{provider.path}/nothing/here", headers=headers)
    if kind == "wrong method":
        return await served.http.put(provider.path, headers=headers)
    if kind == "cut off":
        headers["Content-Type"] = "multipart/form-data; boundary=cut"
        body = f'--cut\r\nContent-Disposition: form-data; name="{provider.file_field}"; filename="x"\r\n\r\n'
        return await served.http.post(provider.path, content=body.encode() + content, headers=headers)
    fields: dict[str, Any] = {}
    if kind == "two sources":
        fields[provider.url_field] = "https://pictures.example/x.jpg"
    if kind == "unknown word":
        fields |= dict([provider.word])
    files = {} if kind == "no source" else {provider.file_field: ("x.jpg", content)}
    return await served.http.post(
        provider.path, files=files, data={**fields, "unknown": "field"}, headers=headers
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.name)
async def test_bad_input_is_told_as_the_provider_does_and_costs_nothing(
    served: Gateway, provider: Provider, kind: str
) -> None:
    if kind == "no credits":
        account_id, key = await served.new_key(POOR_PLAN)
    else:
        plan = provider.plan or ("starter" if kind == "too fast" else "development")
        account_id, key = await served.new_key(plan, credits_milli=5000)
    if kind == "too fast":
        await use_up_the_minute(served, account_id, key)
    answer = await send(served, provider, kind, key)
    # The limit fills again by the second, so on a slow machine a call may get through: then another account.
    for _ in range(5 if kind == "too fast" else 0):
        if answer.status_code != 200:
            break
        account_id, key = await served.new_key(plan, credits_milli=5000)
        await use_up_the_minute(served, account_id, key)
        answer = await send(served, provider, kind, key)

    status, code = provider.expected(kind)
    assert answer.status_code == status, answer.text
    told = provider.code_of(answer.json())
    assert told == code or str(told).startswith(str(code)), answer.text
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["x-credits-charged"] == "0"
    assert answer.headers["x-request-id"]
    assert ("retry-after" in answer.headers) == (status in (429, 503))
    assert await served.spent_milli(account_id) == 0
    assert await served.held_milli(account_id) == 0


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.name)
async def test_a_sender_who_goes_away_in_the_middle_pays_nothing(served: Gateway, provider: Provider) -> None:
    account_id, key = await served.new_key(provider.plan or "development", credits_milli=5000)
    head = (
        f"POST {provider.path} HTTP/1.1\r\nHost: x\r\n{provider.key_header}: {key}\r\n"
        "Content-Type: multipart/form-data; boundary=cut\r\nContent-Length: 100000\r\n\r\n"
        f'--cut\r\nContent-Disposition: form-data; name="{provider.file_field}"; filename="x"\r\n\r\n'
    )
    _, writer = await asyncio.open_connection(served.http.base_url.host, served.http.base_url.port)
    writer.write(head.encode() + picture())
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    # A whole request behind it, so that the first one has been dealt with.
    assert (await served.http.get("/healthz")).status_code == 200
    assert await served.spent_milli(account_id) == 0
    assert await served.held_milli(account_id) == 0
