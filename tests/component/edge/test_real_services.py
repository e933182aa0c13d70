"""The edge before the real account service and the real compositor; only the network is drawn."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import grpc
import httpx
import pytest
from PIL import Image

from matteworks.auth.v1 import auth_pb2, auth_pb2_grpc, usage_pb2
from matteworks.auth.v1.key_restrictions_pb2 import KeyRestrictions
from matteworks_auth.app import build as build_auth
from matteworks_auth.settings import AuthSettings
from matteworks_common.channels import open_channel
from matteworks_common.http_lifecycle import running as edge_running
from matteworks_common.lifecycle import running as grpc_running
from matteworks_common.settings import MEBIBYTE
from matteworks_compositor.app import build as build_compositor
from matteworks_compositor.settings import CompositorSettings
from matteworks_edge.app import build as build_edge
from matteworks_edge.settings import EdgeSettings
from tests.support.edge_harness import picture
from tests.support.fake_inference import running_inference

ADMIN_TOKEN = "an-admin-token-for-tests"
QUIET = {"listen_address": "127.0.0.1:0", "drain_delay_s": 0, "grace_s": 0.5}


@dataclass
class RealServices:
    """All of them, and an account with credits."""

    http: httpx.AsyncClient
    grant: Callable[..., Awaitable[str]]
    auth: auth_pb2_grpc.AuthServiceAsyncStub

    async def balance(self, key: str) -> float:
        answer = await self.http.get("/v1.0/account", headers={"X-Api-Key": key})
        total: float = answer.json()["data"]["attributes"]["credits"]["total"]
        return total

    async def remove(self, key: str, content: bytes, **fields: str) -> httpx.Response:
        return await self.http.post(
            "/v1.0/removebg", files={"image_file": content}, data=fields, headers={"X-Api-Key": key}
        )


@asynccontextmanager
async def real_services(inference_target: str = "") -> AsyncIterator[RealServices]:
    """Without a target the network is drawn."""
    async with AsyncExitStack() as opened:
        if not inference_target:
            inference_target = (await opened.enter_async_context(running_inference())).target
        auth_settings = AuthSettings(
            store_url="memory:", key_pepper="a-pepper-for-tests-only", admin_token=ADMIN_TOKEN, **QUIET
        )  # type: ignore[arg-type]
        auth = await opened.enter_async_context(grpc_running(await build_auth(auth_settings), auth_settings))
        compositor_settings = CompositorSettings(inference_target=inference_target, **QUIET)  # type: ignore[arg-type]
        compositor = await opened.enter_async_context(
            grpc_running(await build_compositor(compositor_settings), compositor_settings)
        )
        edge_settings = EdgeSettings(
            auth_target=f"127.0.0.1:{auth.port}",
            compositor_target=f"127.0.0.1:{compositor.port}",
            **QUIET,
        )  # type: ignore[arg-type]
        edge = await opened.enter_async_context(edge_running(await build_edge(edge_settings), edge_settings))
        channel = await opened.enter_async_context(open_channel(f"127.0.0.1:{auth.port}", 8 * MEBIBYTE))
        http = await opened.enter_async_context(
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{edge.port}", timeout=30)
        )
        yield RealServices(http, _granting(channel), auth_pb2_grpc.AuthServiceStub(channel))


def _granting(channel: grpc.aio.Channel) -> Callable[..., Awaitable[str]]:
    admin = auth_pb2_grpc.KeyAdminServiceStub(channel)
    metadata = (("authorization", f"Bearer {ADMIN_TOKEN}"),)

    async def grant(credits_milli: int, plan: str = "", restrictions: KeyRestrictions | None = None) -> str:
        made = await admin.CreateAccount(auth_pb2.CreateAccountRequest(plan=plan), metadata=metadata)
        account_id = made.account.account_id
        if credits_milli:
            await admin.GrantCredits(
                auth_pb2.GrantCreditsRequest(
                    request_id=f"grant-{account_id}",
                    account_id=account_id,
                    balance=auth_pb2.BALANCE_PAYG,
                    credits_milli=credits_milli,
                ),
                metadata=metadata,
            )
        key = await admin.CreateKey(
            auth_pb2.CreateKeyRequest(account_id=account_id, restrictions=restrictions), metadata=metadata
        )
        return key.api_key

    return grant


async def test_a_removal_is_made_and_charged_once() -> None:
    async with real_services() as services:
        key = await services.grant(2000)
        answer = await services.remove(key, picture(900, 600), size="full", format="png")
        assert answer.status_code == 200, answer.text
        with Image.open(io.BytesIO(answer.content)) as result:
            assert (result.size, result.mode) == ((900, 600), "RGBA")
        assert answer.headers["x-credits-charged"] == "1"
        assert answer.headers["x-ratelimit-limit"] == "500"
        assert await services.balance(key) == 1


async def test_a_dialect_that_counts_requests_tells_and_takes_requests() -> None:
    async with real_services() as services:
        key = await services.grant(0, "bgeraser-business-1k")
        answers = [
            await services.http.post(
                "/v1/removebg",
                files={"image_file": picture(900 + i, 600)},
                headers={"X-Api-Key": key},
            )
            for i in range(2)
        ]
        caller = await services.auth.Authenticate(auth_pb2.AuthenticateRequest(api_key=key))
        usage = await services.auth.GetUsage(
            auth_pb2.GetUsageRequest(account_id=caller.account_id, detail=usage_pb2.USAGE_DETAIL_ROWS)
        )
    assert [answer.status_code for answer in answers] == [200, 200]
    headers = [answer.headers for answer in answers]
    assert [h["x-ratelimit-limit"] for h in headers] == ["100", "100"]
    assert int(headers[0]["x-ratelimit-remaining"]) == 99
    (row,) = usage.rows
    assert (row.dialect, row.key_id) == ("bgeraser", caller.key_id)
    assert (row.counts.call_count, row.counts.timed_request_count) == (2, 2)
    assert row.counts.processing_time_ms > 0


async def test_the_smaller_file_limit_of_dialect_and_plan_applies() -> None:
    async with real_services() as services:
        content = picture(900, 600) + bytes(11 * MEBIBYTE)
        allowed, bounded = await services.grant(5000), await services.grant(5000, "bgremover-free")
        answers = [await services.remove(key, content, size="full") for key in (allowed, bounded)]
        balance = await services.balance(bounded)
    assert answers[0].status_code == 200, answers[0].text
    assert (answers[1].status_code, answers[1].json()["errors"][0]["code"]) == (400, "file_too_large")
    assert answers[1].json()["errors"][0]["detail"] == "File exceeds limit of 10MB"
    assert balance == 5


async def test_one_credit_pays_for_exactly_one_of_many_parallel_uploads() -> None:
    async with real_services() as services:
        key = await services.grant(1000)
        answers = await asyncio.gather(
            *(services.remove(key, picture(900 + i, 600), size="full") for i in range(8))
        )
        assert sorted(answer.status_code for answer in answers) == [200] + [402] * 7
        assert await services.balance(key) == 0


async def test_the_same_upload_repeated_is_charged_once() -> None:
    async with real_services() as services:
        key = await services.grant(5000)
        first = await services.remove(key, picture(900, 600), size="full")
        second = await services.remove(key, picture(900, 600), size="full")
        assert (first.status_code, second.status_code) == (200, 200)
        assert "x-repeated-request" not in first.headers
        assert second.headers["x-repeated-request"] == "true"
        assert await services.balance(key) == 4


async def test_a_file_that_cannot_be_decoded_costs_nothing() -> None:
    async with real_services() as services:
        key = await services.grant(5000)
        answer = await services.remove(key, picture(900, 600, "PNG")[:300], size="full")
        assert answer.status_code == 400, answer.text
        assert answer.headers["x-credits-charged"] == "0"
        assert await services.balance(key) == 5


@pytest.mark.parametrize("orientation", range(1, 9))
async def test_a_turned_picture_comes_back_upright(orientation: int) -> None:
    async with real_services() as services:
        key = await services.grant(5000)
        answer = await services.remove(key, picture(300, 200, orientation=orientation), size="auto")
        expected = ("200", "300") if orientation >= 5 else ("300", "200")
        assert (answer.headers["x-width"], answer.headers["x-height"]) == expected


@pytest.mark.parametrize(
    ("restrictions", "allowed", "refused"),
    [
        (
            KeyRestrictions(allowed_origins=["https://shop.example"]),
            {"Origin": "https://shop.example"},
            [{}, {"Origin": "https://evil.example"}],
        ),
        (
            # What stands before the proxy's own entry came with the request.
            KeyRestrictions(allowed_networks=["203.0.113.0/24"]),
            {"X-Forwarded-For": "10.0.0.1, 203.0.113.9"},
            [{}, {"X-Forwarded-For": "203.0.113.9, 10.0.0.1"}],
        ),
    ],
    ids=["origins", "networks"],
)
async def test_a_restricted_key_works_only_where_it_may(
    restrictions: KeyRestrictions, allowed: dict[str, str], refused: list[dict[str, str]]
) -> None:
    async with real_services() as services:
        key = await services.grant(2000, restrictions=restrictions)

        async def status(headers: dict[str, str]) -> int:
            files = {"image_file": picture(90, 60)}
            answer = await services.http.post(
                "/v1.0/removebg", files=files, headers={"X-Api-Key": key, **headers}
            )
            return answer.status_code

        assert await status(allowed) == 200
        assert [await status(headers) for headers in refused] == [403] * 2


async def test_a_key_for_one_dialect_is_refused_in_another() -> None:
    async with real_services() as services:
        key = await services.grant(2000, restrictions=KeyRestrictions(allowed_dialects=["bgeraser"]))
        files = {"image_file": picture(90, 60)}
        answers = [
            (await services.http.post(path, files=files, headers={"X-Api-Key": key})).status_code
            for path in ("/v1/removebg", "/v1.0/removebg")
        ]

    assert answers == [200, 403]
