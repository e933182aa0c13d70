"""KeyAdminService: accounts, credits and keys, for whoever holds the administration token."""

from __future__ import annotations

import asyncio
import hmac
import re
import secrets
from dataclasses import replace
from typing import Any

from google.protobuf.duration_pb2 import Duration

from matteworks.auth.v1 import audit_pb2, auth_pb2, auth_pb2_grpc, key_restrictions_pb2
from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_auth.authenticator import Authenticator
from matteworks_auth.rules.keys import KeyHasher, KeyRecord
from matteworks_auth.rules.plans import Plans
from matteworks_auth.rules.restrictions import Restrictions, checked_dialect, checked_restrictions
from matteworks_auth.stores import refusals
from matteworks_auth.stores.contract import AccountStore, AuditQuery, Author
from matteworks_auth.wire import account_to_proto, checked_id, event_to_proto, key_to_proto, plan_to_proto
from matteworks_common.clock import Clock
from matteworks_common.context import current_call
from matteworks_common.errors import Forbidden, InvalidField

MAX_NAME_LENGTH = 200
MAX_GRANT_MILLI = 10**15
MAX_EMAIL_LENGTH = 254
ACTOR_KEY = "matteworks-actor"
MAX_ACTOR_LENGTH = 128
ACCOUNTS_PAGE, MAX_ACCOUNTS_PAGE = 50, 200
EVENTS_PAGE, MAX_EVENTS_PAGE = 100, 500
MAX_KEY_LIFE_US = 100 * 365 * 86_400 * 1_000_000
_EVENT_ID = re.compile(r"\d{1,16}-\d{1,16}")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
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
        author = self._author(context)
        account_id = request.account_id or f"acct_{secrets.token_hex(8)}"
        if not _ACCOUNT_ID.fullmatch(account_id):
            raise InvalidField("account_id", "Give 1 to 64 characters of a-z 0-9 _ -, or none.")
        record = await self._store.create_account(
            account_id,
            _name(request.display_name),
            self._plans.find(request.plan),
            dialect=checked_dialect("dialect", request.dialect),
            email=_email(request.email),
            by=author,
        )
        return auth_pb2.CreateAccountResponse(account=account_to_proto(record))

    async def UpdateAccount(
        self, request: auth_pb2.UpdateAccountRequest, context: Any
    ) -> auth_pb2.UpdateAccountResponse:
        author = self._author(context)
        changes: dict[str, str] = {}
        if request.HasField("display_name"):
            changes["display_name"] = _name(request.display_name)
        if request.HasField("dialect"):
            changes["dialect"] = checked_dialect("dialect", request.dialect)
        if request.HasField("email"):
            changes["email"] = _email(request.email)
        record = await self._store.update_account(request.account_id, changes, by=author)
        return auth_pb2.UpdateAccountResponse(account=account_to_proto(record))

    async def ListAccounts(
        self, request: auth_pb2.ListAccountsRequest, context: Any
    ) -> auth_pb2.ListAccountsResponse:
        self._author(context)
        size = _page_size(request.page_size, ACCOUNTS_PAGE, MAX_ACCOUNTS_PAGE)
        for field in ("page_token", "account_id_prefix"):
            if (text := getattr(request, field)) and not _ACCOUNT_ID.fullmatch(text):
                raise InvalidField(field, "Give 1 to 64 characters of a-z 0-9 _ -, or none.")
        found = await self._store.list_accounts(request.page_token, request.account_id_prefix, size + 1)
        records = await asyncio.gather(*(self._store.get_account(account_id) for account_id in found[:size]))
        return auth_pb2.ListAccountsResponse(
            accounts=[account_to_proto(record) for record in records],
            next_page_token=found[size - 1] if len(found) > size else "",
        )

    async def ListPlans(self, request: auth_pb2.ListPlansRequest, context: Any) -> auth_pb2.ListPlansResponse:
        self._author(context)
        return auth_pb2.ListPlansResponse(
            plans=[plan_to_proto(plan) for plan in self._plans.by_name.values()],
            default_plan=self._plans.default,
        )

    async def SetPlan(self, request: auth_pb2.SetPlanRequest, context: Any) -> auth_pb2.SetPlanResponse:
        author = self._author(context)
        if not request.plan:
            raise InvalidField("plan", "Name a plan.")
        plan = self._plans.find(request.plan)
        record = await self._store.set_plan(request.account_id, plan, by=author)
        return auth_pb2.SetPlanResponse(account=account_to_proto(record))

    async def GrantCredits(
        self, request: auth_pb2.GrantCreditsRequest, context: Any
    ) -> auth_pb2.GrantCreditsResponse:
        author = self._author(context)
        balance = _BALANCES.get(request.balance)
        if balance is None:
            raise InvalidField("balance", "Name subscription, payg or enterprise.")
        if not 0 < request.credits_milli <= MAX_GRANT_MILLI:
            raise InvalidField("credits_milli", "Give 1 to 10^15 thousandths of a credit.")
        request_id = checked_id("request_id", request.request_id)
        record = await self._store.grant(
            request_id, request.account_id, balance, request.credits_milli, by=author
        )
        return auth_pb2.GrantCreditsResponse(account=account_to_proto(record))

    async def CreateKey(self, request: auth_pb2.CreateKeyRequest, context: Any) -> auth_pb2.CreateKeyResponse:
        author = self._author(context)
        expires_us = 0
        if request.HasField("time_to_live"):
            if request.time_to_live.ToMicroseconds() <= 0:
                raise InvalidField("time_to_live", "Give a time above 0, or none.")
            expires_us = self._end_us("time_to_live", request.time_to_live)
        record, text = self._new_key(
            request.account_id,
            _name(request.display_name),
            request.is_test,
            checked_dialect("dialect", request.dialect),
            _restrictions(request.restrictions),
            expires_us,
        )
        _check_own_dialect(record)
        record = await self._store.put_key(record, by=author)
        return auth_pb2.CreateKeyResponse(key=key_to_proto(record), api_key=text)

    async def UpdateKey(self, request: auth_pb2.UpdateKeyRequest, context: Any) -> auth_pb2.UpdateKeyResponse:
        author = self._author(context)
        old = await self._find_key(request.key_id)
        dialect = checked_dialect("dialect", request.dialect) if request.HasField("dialect") else None
        restrictions = _restrictions(request.restrictions) if request.HasField("restrictions") else None
        _check_own_dialect(
            replace(
                old,
                dialect=old.dialect if dialect is None else dialect,
                restrictions=old.restrictions if restrictions is None else restrictions,
            )
        )
        expires_us = None
        if request.HasField("expire_time"):
            expires_us = request.expire_time.ToMicroseconds()
            if expires_us <= 0:
                raise InvalidField("expire_time", "Give a time after 1970, or none.")
        record = await self._store.update_key(
            old.key_id,
            display_name=_name(request.display_name) if request.HasField("display_name") else None,
            dialect=dialect,
            restrictions=restrictions,
            expires_us=expires_us,
            by=author,
        )
        self._authenticator.forget(old.key_id)
        return auth_pb2.UpdateKeyResponse(key=key_to_proto(record))

    async def RotateKey(self, request: auth_pb2.RotateKeyRequest, context: Any) -> auth_pb2.RotateKeyResponse:
        author = self._author(context)
        old = await self._find_key(request.key_id)
        if request.overlap.ToMicroseconds() < 0:
            raise InvalidField("overlap", "Give a time of 0 or more, or none.")
        ends_us = self._end_us("overlap", request.overlap)
        record, text = self._new_key(
            old.account_id, old.display_name, old.is_test, old.dialect, old.restrictions, 0
        )
        record = await self._store.rotate_key(old.key_id, record, ends_us, by=author)
        self._authenticator.forget(old.key_id)
        return auth_pb2.RotateKeyResponse(key=key_to_proto(record), api_key=text)

    async def RevokeKey(self, request: auth_pb2.RevokeKeyRequest, context: Any) -> auth_pb2.RevokeKeyResponse:
        author = self._author(context)
        record = await self._store.revoke_key(request.key_id, self._now_us(), by=author)
        self._authenticator.forget(request.key_id)
        return auth_pb2.RevokeKeyResponse(key=key_to_proto(record))

    async def ListKeys(self, request: auth_pb2.ListKeysRequest, context: Any) -> auth_pb2.ListKeysResponse:
        self._author(context)
        records = await self._store.list_keys(request.account_id)
        return auth_pb2.ListKeysResponse(keys=[key_to_proto(record) for record in records])

    async def ListAuditEvents(
        self, request: audit_pb2.ListAuditEventsRequest, context: Any
    ) -> audit_pb2.ListAuditEventsResponse:
        self._author(context)
        size = _page_size(request.page_size, EVENTS_PAGE, MAX_EVENTS_PAGE)
        if request.page_token and not _EVENT_ID.fullmatch(request.page_token):
            raise InvalidField("page_token", "Give next_page_token of the page before, or nothing.")
        query = AuditQuery(
            limit=size + 1,
            account_id=request.account_id,
            before_id=request.page_token,
            start_ms=max(0, request.start_time.ToMilliseconds()) if request.HasField("start_time") else 0,
        )
        if request.HasField("end_time"):
            query = replace(query, end_ms=max(0, request.end_time.ToMilliseconds()))
        events = await self._store.audit_events(query)
        return audit_pb2.ListAuditEventsResponse(
            events=[event_to_proto(event) for event in events[:size]],
            next_page_token=events[size - 1].event_id if len(events) > size else "",
        )

    def _author(self, context: Any) -> Author:
        """On whose behalf an authorized call is made. Raises Forbidden, InvalidField."""
        metadata = dict(context.invocation_metadata() or ())
        scheme, _, token = str(metadata.get("authorization", "")).partition(" ")
        is_equal = hmac.compare_digest(token.encode(), self._admin_token.encode())
        if scheme.lower() != "bearer" or not is_equal:
            raise Forbidden(
                reasons.ERROR_REASON_ADMIN_TOKEN_INVALID,
                "Send the administration token as `authorization: Bearer TOKEN`.",
            )
        actor = str(metadata.get(ACTOR_KEY, "")) or Author().actor
        if len(actor) > MAX_ACTOR_LENGTH:
            raise InvalidField(ACTOR_KEY, f"Give at most {MAX_ACTOR_LENGTH} characters.")
        call = current_call.get()
        return Author(actor, call.request_id if call else "")

    def _now_us(self) -> int:
        return round(self._clock.unix_s() * 1e6)

    def _end_us(self, field: str, delay: Duration) -> int:
        if delay.ToMicroseconds() > MAX_KEY_LIFE_US:
            raise InvalidField(field, "Give at most 100 years.")
        return self._now_us() + delay.ToMicroseconds()

    def _new_key(
        self,
        account_id: str,
        name: str,
        is_test: bool,
        dialect: str,
        restrictions: Restrictions,
        expires_us: int,
    ) -> tuple[KeyRecord, str]:
        new = self._hasher.new_key("test" if is_test else "live")
        record = KeyRecord(
            new.key_id,
            account_id,
            new.secret_hash,
            name,
            is_test,
            self._now_us(),
            expires_us,
            dialect=dialect,
            restrictions=restrictions,
        )
        return record, new.text

    async def _find_key(self, key_id: str) -> KeyRecord:
        record = await self._store.get_key(key_id)
        if record is None:
            raise refusals.key_not_found(key_id)
        return record


def _name(text: str) -> str:
    if len(text) > MAX_NAME_LENGTH:
        raise InvalidField("display_name", f"Give at most {MAX_NAME_LENGTH} characters.")
    return text


def _email(text: str) -> str:
    if text and (len(text) > MAX_EMAIL_LENGTH or not _EMAIL.fullmatch(text)):
        raise InvalidField("email", "Give an address such as team@shop.example, or none.")
    return text


def _page_size(wanted: int, default: int, most: int) -> int:
    if not 0 <= wanted <= most:
        raise InvalidField("page_size", f"Give 1 to {most}, or 0 for {default}.")
    return wanted or default


def _restrictions(message: key_restrictions_pb2.KeyRestrictions) -> Restrictions:
    return checked_restrictions(message.allowed_origins, message.allowed_networks, message.allowed_dialects)


def _check_own_dialect(record: KeyRecord) -> None:
    allowed = record.restrictions.dialects
    if allowed and record.dialect and record.dialect not in allowed:
        raise InvalidField("dialect", "Name one of allowed_dialects, or none.")
