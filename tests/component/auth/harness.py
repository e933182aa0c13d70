"""The auth service in this process, called through its stubs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc

from matteworks.auth.v1 import auth_pb2, auth_pb2_grpc, idempotency_pb2_grpc, request_log_pb2_grpc
from matteworks_auth.app import build
from matteworks_auth.settings import AuthSettings
from matteworks_common.channels import call
from tests.support.clock import ManualClock
from tests.support.harness import channel_to

ADMIN = (("authorization", "Bearer admin-token-of-the-tests"),)


@dataclass
class Auth:
    """Stubs and shorthands."""

    auth: auth_pb2_grpc.AuthServiceAsyncStub
    admin: auth_pb2_grpc.KeyAdminServiceAsyncStub
    calls: idempotency_pb2_grpc.IdempotencyServiceAsyncStub
    log: request_log_pb2_grpc.RequestLogServiceAsyncStub
    channel: grpc.aio.Channel

    async def make_account(self, plan: str = "development", account_id: str = "a") -> None:
        request = auth_pb2.CreateAccountRequest(account_id=account_id, plan=plan)
        await call(self.admin.CreateAccount, request, timeout_s=5, metadata=ADMIN)

    async def make_key(self, account_id: str = "a", is_test: bool = False) -> auth_pb2.CreateKeyResponse:
        request = auth_pb2.CreateKeyRequest(account_id=account_id, is_test=is_test)
        return await call(self.admin.CreateKey, request, timeout_s=5, metadata=ADMIN)

    async def authenticate(self, api_key: str, **told: Any) -> auth_pb2.AuthenticateResponse:
        request = auth_pb2.AuthenticateRequest(api_key=api_key, **told)
        return await call(self.auth.Authenticate, request, timeout_s=5)

    async def administer(self, rpc: Any, request: Any, actor: str = "") -> Any:
        metadata = (*ADMIN, ("matteworks-actor", actor)) if actor else ADMIN
        return await call(rpc, request, timeout_s=5, metadata=metadata)

    async def reserve(
        self,
        request_id: str,
        *,
        credits_milli: int = 1000,
        megapixels: int = 1,
        fingerprint: str = "",
        **more: Any,
    ) -> auth_pb2.ReserveResponse:
        request = auth_pb2.ReserveRequest(
            request_id=request_id,
            account_id="a",
            prices=[auth_pb2.Price(credits_milli=credits_milli)],
            megapixels=megapixels,
            fingerprint=fingerprint,
            **more,
        )
        return await call(self.auth.Reserve, request, timeout_s=5)

    async def commit(self, reservation_id: str, request_id: str) -> int:
        request = auth_pb2.CommitRequest(reservation_id=reservation_id, request_id=request_id)
        return (await call(self.auth.Commit, request, timeout_s=5)).charged_credits_milli

    async def release(self, reservation_id: str, request_id: str) -> int:
        request = auth_pb2.ReleaseRequest(reservation_id=reservation_id, request_id=request_id)
        return (await call(self.auth.Release, request, timeout_s=5)).released_credits_milli

    async def account(self) -> auth_pb2.GetAccountResponse:
        return await call(self.auth.GetAccount, auth_pb2.GetAccountRequest(account_id="a"), timeout_s=5)

    async def grant(self, request_id: str, credits_milli: int) -> auth_pb2.Account:
        request = auth_pb2.GrantCreditsRequest(
            request_id=request_id,
            account_id="a",
            balance=auth_pb2.BALANCE_PAYG,
            credits_milli=credits_milli,
        )
        return (await call(self.admin.GrantCredits, request, timeout_s=5, metadata=ADMIN)).account


def settings_for(store_url: str) -> AuthSettings:
    return AuthSettings.model_validate(
        {
            "store_url": store_url,
            "key_pepper": "pepper-of-the-tests",
            "admin_token": "admin-token-of-the-tests",
            "drain_delay_s": 0,
            "store_timeout_s": 0.5,
            "health_interval_s": 0.05,
        }
    )


@asynccontextmanager
async def serving(store_url: str = "memory:", clock: ManualClock | None = None) -> AsyncIterator[Auth]:
    settings = settings_for(store_url)
    async with channel_to(await build(settings, clock), settings) as channel:
        yield Auth(
            auth_pb2_grpc.AuthServiceStub(channel),
            auth_pb2_grpc.KeyAdminServiceStub(channel),
            idempotency_pb2_grpc.IdempotencyServiceStub(channel),
            request_log_pb2_grpc.RequestLogServiceStub(channel),
            channel,
        )
