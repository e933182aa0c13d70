"""The services that pages are made of."""

from __future__ import annotations

import grpc

from matteworks.auth.v1 import (
    audit_pb2,
    auth_pb2,
    auth_pb2_grpc,
    request_log_pb2,
    request_log_pb2_grpc,
    usage_pb2,
)
from matteworks.compositor.v1 import compositor_pb2, compositor_pb2_grpc
from matteworks.inference.v1 import inference_pb2, inference_pb2_grpc
from matteworks_common.channels import call, probe
from matteworks_common.errors import Unauthenticated
from matteworks_common.key_format import format_key

# Well-formed, so that auth looks it up in its store, and never issued.
_NOBODYS_KEY = format_key("live", "readiness", "0" * 43)
# The header of a picture of 1 x 1 pixels.
_SMALLEST_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\0\0\0\0"


class AccountsClient:
    """Accounts, keys, usage and the audit log. Every method raises the MatteworksError of auth.

    `actor` is who is written into the audit log.
    """

    def __init__(self, channel: grpc.aio.Channel, admin_token: str, timeout_s: float) -> None:
        self._auth = auth_pb2_grpc.AuthServiceStub(channel)
        self._admin = auth_pb2_grpc.KeyAdminServiceStub(channel)
        self._log = request_log_pb2_grpc.RequestLogServiceStub(channel)
        self._admin_token = admin_token
        self._timeout_s = timeout_s

    def _metadata(self, actor: str = "") -> tuple[tuple[str, str], ...]:
        bearer = ("authorization", f"Bearer {self._admin_token}")
        return (bearer, ("matteworks-actor", actor)) if actor else (bearer,)

    async def authenticate(self, api_key: str, client_address: str) -> auth_pb2.AuthenticateResponse:
        """Whose key it is. No origin is told, so keys for browsers are refused."""
        request = auth_pb2.AuthenticateRequest(api_key=api_key, client_address=client_address)
        return await call(self._auth.Authenticate, request, timeout_s=self._timeout_s)

    async def check(self) -> None:
        """Raise unless auth and its store answer."""
        request = auth_pb2.AuthenticateRequest(api_key=_NOBODYS_KEY)
        try:
            await probe(self._auth.Authenticate, request, timeout_s=self._timeout_s)
        except Unauthenticated:
            return

    async def account(self, account_id: str) -> auth_pb2.GetAccountResponse:
        """An account, its balances, its limits."""
        request = auth_pb2.GetAccountRequest(account_id=account_id)
        return await call(self._auth.GetAccount, request, timeout_s=self._timeout_s)

    async def usage(
        self, account_id: str, first_day: str, last_day: str, key_id: str = "", dialect: str = ""
    ) -> auth_pb2.GetUsageResponse:
        """Counters by day, key and dialect; days as YYYY-MM-DD."""
        request = auth_pb2.GetUsageRequest(
            account_id=account_id, first_day=first_day, last_day=last_day, key_id=key_id, dialect=dialect,
            detail=usage_pb2.USAGE_DETAIL_ROWS,
        )  # fmt: skip
        return await call(self._auth.GetUsage, request, timeout_s=self._timeout_s)

    async def requests(
        self, request: request_log_pb2.ListRequestsRequest
    ) -> request_log_pb2.ListRequestsResponse:
        """A page of the latest requests, latest first."""
        return await call(self._log.ListRequests, request, timeout_s=self._timeout_s)

    async def accounts(self, prefix: str, page_token: str) -> auth_pb2.ListAccountsResponse:
        """A page of accounts, by id."""
        request = auth_pb2.ListAccountsRequest(account_id_prefix=prefix, page_token=page_token)
        return await call(
            self._admin.ListAccounts, request, timeout_s=self._timeout_s, metadata=self._metadata()
        )

    async def plans(self) -> auth_pb2.ListPlansResponse:
        """Every plan."""
        return await call(
            self._admin.ListPlans,
            auth_pb2.ListPlansRequest(),
            timeout_s=self._timeout_s,
            metadata=self._metadata(),
        )

    async def create_account(
        self, account_id: str, display_name: str, plan: str, actor: str
    ) -> auth_pb2.Account:
        """A new account."""
        request = auth_pb2.CreateAccountRequest(account_id=account_id, display_name=display_name, plan=plan)
        answer = await call(
            self._admin.CreateAccount, request, timeout_s=self._timeout_s, metadata=self._metadata(actor)
        )
        return answer.account

    async def set_plan(self, account_id: str, plan: str, actor: str) -> None:
        """Move an account to another plan."""
        request = auth_pb2.SetPlanRequest(account_id=account_id, plan=plan)
        await call(self._admin.SetPlan, request, timeout_s=self._timeout_s, metadata=self._metadata(actor))

    async def grant(self, request: auth_pb2.GrantCreditsRequest, actor: str) -> None:
        """Add credits, once for each request id."""
        await call(
            self._admin.GrantCredits, request, timeout_s=self._timeout_s, metadata=self._metadata(actor)
        )

    async def keys(self, account_id: str) -> list[auth_pb2.Key]:
        """The keys of an account, oldest first, revoked ones included."""
        request = auth_pb2.ListKeysRequest(account_id=account_id)
        answer = await call(
            self._admin.ListKeys, request, timeout_s=self._timeout_s, metadata=self._metadata()
        )
        return list(answer.keys)

    async def create_key(self, request: auth_pb2.CreateKeyRequest, actor: str) -> auth_pb2.CreateKeyResponse:
        """A new key with its secret."""
        return await call(
            self._admin.CreateKey, request, timeout_s=self._timeout_s, metadata=self._metadata(actor)
        )

    async def rotate_key(self, request: auth_pb2.RotateKeyRequest, actor: str) -> auth_pb2.RotateKeyResponse:
        """A successor of a key with its secret."""
        return await call(
            self._admin.RotateKey, request, timeout_s=self._timeout_s, metadata=self._metadata(actor)
        )

    async def restrict_key(self, request: auth_pb2.UpdateKeyRequest, actor: str) -> None:
        """All restrictions of a key from now on, and when it ends."""
        await call(self._admin.UpdateKey, request, timeout_s=self._timeout_s, metadata=self._metadata(actor))

    async def revoke_key(self, key_id: str, actor: str) -> None:
        """End a key."""
        request = auth_pb2.RevokeKeyRequest(key_id=key_id)
        await call(self._admin.RevokeKey, request, timeout_s=self._timeout_s, metadata=self._metadata(actor))

    async def audit_events(
        self, account_id: str, page_token: str, page_size: int = 0
    ) -> audit_pb2.ListAuditEventsResponse:
        """A page of the audit log, latest first; of one account unless `account_id` is empty."""
        request = audit_pb2.ListAuditEventsRequest(
            account_id=account_id, page_token=page_token, page_size=page_size
        )
        return await call(
            self._admin.ListAuditEvents, request, timeout_s=self._timeout_s, metadata=self._metadata()
        )


class CompositorProbe:
    """Whether the compositor answers."""

    def __init__(self, channel: grpc.aio.Channel, timeout_s: float) -> None:
        self._compositor = compositor_pb2_grpc.CompositorServiceStub(channel)
        self._timeout_s = timeout_s

    async def check(self) -> None:
        """Raise unless it does."""
        request = compositor_pb2.InspectRequest(image=_SMALLEST_PNG)
        await probe(self._compositor.Inspect, request, timeout_s=self._timeout_s)


class ModelsClient:
    """What the inference service runs."""

    def __init__(self, channel: grpc.aio.Channel, timeout_s: float) -> None:
        self._inference = inference_pb2_grpc.InferenceServiceStub(channel)
        self._timeout_s = timeout_s

    async def models(self) -> list[inference_pb2.Model]:
        """Every model of the registry, the default first."""
        answer = await probe(
            self._inference.ListModels, inference_pb2.ListModelsRequest(), timeout_s=self._timeout_s
        )
        return list(answer.models)
