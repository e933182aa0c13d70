"""KeyAdminService: accounts, credits and keys, for whoever holds the administration token."""

from __future__ import annotations

import hmac
import re
import secrets
from typing import Any

from google.protobuf.duration_pb2 import Duration

from matteworks.auth.v1 import auth_pb2, auth_pb2_grpc
from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_auth import refusals
from matteworks_auth.authenticator import Authenticator
from matteworks_auth.keys import KeyHasher, KeyRecord
from matteworks_auth.plans import Plans
from matteworks_auth.servicer import account_to_proto, checked_id, timestamp_of
from matteworks_auth.store import AccountStore
from matteworks_common.clock import Clock
from matteworks_common.errors import Forbidden, InvalidField

MAX_NAME_LENGTH = 200
MAX_GRANT_MILLI = 10**15
MAX_KEY_LIFE_US = 100 * 365 * 86_400 * 1_000_000
_ACCOUNT_ID = re.compile(r"[a-z0-9_-]{1,64}")
_BALANCES = {
    auth_pb2.BALANCE_SUBSCRIPTION: "subscription",
    auth_pb2.BALANCE_PAYG: "payg",
    auth_pb2.BALANCE_ENTERPRISE: "enterprise",
}


class KeyAdminServicer(auth_pb2_grpc.KeyAdminServiceServicer):
    """Each call checks the token first, in constant time."""

    def __init__(
        self,
        store: AccountStore,
        plans: Plans,
        hasher: KeyHasher,
        authenticator: Authenticator,
        clock: Clock,
        admin_token: str,
    ) -> None:
        self._store = store
        self._authenticator = authenticator
        self._plans = plans
        self._hasher = hasher
        self._clock = clock
        self._admin_token = admin_token

    async def CreateAccount(
        self, request: auth_pb2.CreateAccountRequest, context: Any
    ) -> auth_pb2.CreateAccountResponse:
        self._authorize(context)
        account_id = request.account_id or f"acct_{secrets.token_hex(8)}"
        if not _ACCOUNT_ID.fullmatch(account_id):
            raise InvalidField("account_id", "Give 1 to 64 characters of a-z 0-9 _ -, or none.")
        plan = self._plans.find(request.plan)
        record = await self._store.create_account(account_id, _name(request.display_name), plan)
        return auth_pb2.CreateAccountResponse(account=account_to_proto(record))

    async def SetPlan(self, request: auth_pb2.SetPlanRequest, context: Any) -> auth_pb2.SetPlanResponse:
        self._authorize(context)
        if not request.plan:
            raise InvalidField("plan", "Name a plan.")
        record = await self._store.set_plan(request.account_id, self._plans.find(request.plan))
        return auth_pb2.SetPlanResponse(account=account_to_proto(record))

    async def GrantCredits(
        self, request: auth_pb2.GrantCreditsRequest, context: Any
    ) -> auth_pb2.GrantCreditsResponse:
        self._authorize(context)
        balance = _BALANCES.get(request.balance)
        if balance is None:
            raise InvalidField("balance", "Name subscription, payg or enterprise.")
        if not 0 < request.credits_milli <= MAX_GRANT_MILLI:
            raise InvalidField("credits_milli", "Give 1 to 10^15 thousandths of a credit.")
        request_id = checked_id("request_id", request.request_id)
        record = await self._store.grant(request_id, request.account_id, balance, request.credits_milli)
        return auth_pb2.GrantCreditsResponse(account=account_to_proto(record))

    async def CreateKey(self, request: auth_pb2.CreateKeyRequest, context: Any) -> auth_pb2.CreateKeyResponse:
        self._authorize(context)
        expires_us = 0
        if request.HasField("time_to_live"):
            if request.time_to_live.ToMicroseconds() <= 0:
                raise InvalidField("time_to_live", "Give a time above 0, or none.")
            expires_us = self._end_us("time_to_live", request.time_to_live)
        record, text = await self._new_key(
            request.account_id, _name(request.display_name), request.is_test, expires_us
        )
        return auth_pb2.CreateKeyResponse(key=_key_to_proto(record), api_key=text)

    async def RotateKey(self, request: auth_pb2.RotateKeyRequest, context: Any) -> auth_pb2.RotateKeyResponse:
        self._authorize(context)
        old = await self._find_key(request.key_id)
        if request.overlap.ToMicroseconds() < 0:
            raise InvalidField("overlap", "Give a time of 0 or more, or none.")
        ends_us = self._end_us("overlap", request.overlap)
        # The successor first: were the store to go away in between, the caller would still have a key.
        record, text = await self._new_key(old.account_id, old.display_name, old.is_test, 0)
        await self._store.end_key(old.key_id, "expire", ends_us)
        self._authenticator.forget(old.key_id)
        return auth_pb2.RotateKeyResponse(key=_key_to_proto(record), api_key=text)

    async def RevokeKey(self, request: auth_pb2.RevokeKeyRequest, context: Any) -> auth_pb2.RevokeKeyResponse:
        self._authorize(context)
        record = await self._store.end_key(request.key_id, "revoke", self._now_us())
        self._authenticator.forget(request.key_id)
        return auth_pb2.RevokeKeyResponse(key=_key_to_proto(record))

    async def ListKeys(self, request: auth_pb2.ListKeysRequest, context: Any) -> auth_pb2.ListKeysResponse:
        self._authorize(context)
        records = await self._store.list_keys(request.account_id)
        return auth_pb2.ListKeysResponse(keys=[_key_to_proto(record) for record in records])

    def _authorize(self, context: Any) -> None:
        metadata = dict(context.invocation_metadata() or ())
        scheme, _, token = str(metadata.get("authorization", "")).partition(" ")
        is_equal = hmac.compare_digest(token.encode(), self._admin_token.encode())
        if scheme.lower() != "bearer" or not is_equal:
            raise Forbidden(
                reasons.ERROR_REASON_ADMIN_TOKEN_INVALID,
                "Send the administration token as `authorization: Bearer TOKEN`.",
            )

    def _now_us(self) -> int:
        return round(self._clock.unix_s() * 1e6)

    def _end_us(self, field: str, delay: Duration) -> int:
        if delay.ToMicroseconds() > MAX_KEY_LIFE_US:
            raise InvalidField(field, "Give at most 100 years.")
        return self._now_us() + delay.ToMicroseconds()

    async def _new_key(
        self, account_id: str, name: str, is_test: bool, expires_us: int
    ) -> tuple[KeyRecord, str]:
        new = self._hasher.new_key("test" if is_test else "live")
        record = KeyRecord(
            new.key_id, account_id, new.secret_hash, name, is_test, self._now_us(), expires_us=expires_us
        )
        return await self._store.put_key(record), new.text

    async def _find_key(self, key_id: str) -> KeyRecord:
        record = await self._store.get_key(key_id)
        if record is None:
            raise refusals.key_not_found(key_id)
        return record


def _name(text: str) -> str:
    if len(text) > MAX_NAME_LENGTH:
        raise InvalidField("display_name", f"Give at most {MAX_NAME_LENGTH} characters.")
    return text


def _key_to_proto(record: KeyRecord) -> auth_pb2.Key:
    key = auth_pb2.Key(
        key_id=record.key_id,
        account_id=record.account_id,
        display_name=record.display_name,
        is_test=record.is_test,
        create_time=timestamp_of(record.created_us),
    )
    if record.expires_us:
        key.expire_time.FromMicroseconds(record.expires_us)
    if record.revoked_us:
        key.revoke_time.FromMicroseconds(record.revoked_us)
    return key
