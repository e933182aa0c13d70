"""API keys in Valkey: one hash each, found by the public part alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from matteworks_auth.rules.keys import KeyRecord
from matteworks_auth.rules.restrictions import Restrictions
from matteworks_auth.stores import refusals
from matteworks_auth.stores.contract import NOBODY, Author, RateScope, RateState, RateUnit
from matteworks_auth.stores.rates import limit_of, state_of
from matteworks_auth.stores.valkey.accounts import ValkeyAccounts
from matteworks_auth.stores.valkey.connection import answering
from matteworks_auth.stores.valkey.session import AUDIT_KEY, prefix_of

_RATE_FIELDS: Mapping[RateUnit, str] = {"megapixels": "tat", "requests": "tat_requests", "none": "tat"}


class ValkeyKeys(ValkeyAccounts):
    """The part of the store that keeps keys."""

    async def put_key(self, record: KeyRecord, *, by: Author = NOBODY) -> KeyRecord:
        reply = await self._on_key("create", record, by, *_stored(record))
        if reply == ["missing"]:
            raise refusals.account_not_found(record.account_id)
        return await self._known(record.key_id)

    async def get_key(self, key_id: str) -> KeyRecord | None:
        async with answering(self._timeout_s):
            stored = cast(dict[str, str], await self._client.hgetall(_key_name(key_id)))
            if not stored:
                return None
            account_name = f"{prefix_of(stored['account_id'])}:account"
            found = await self._client.hmget(account_name, ["plan", "dialect"])
        plan, dialect = cast(list[str | None], found)
        return _key_from(stored, plan or "", dialect or "")

    async def update_key(
        self,
        key_id: str,
        *,
        display_name: str | None = None,
        dialect: str | None = None,
        restrictions: Restrictions | None = None,
        expires_us: int | None = None,
        by: Author = NOBODY,
    ) -> KeyRecord:
        changes: dict[str, str] = {}
        if display_name is not None:
            changes["display_name"] = display_name
        if dialect is not None:
            changes["dialect"] = dialect
        if restrictions is not None:
            changes |= _stored_restrictions(restrictions)
        parts = [part for change in changes.items() for part in change]
        await self._on_key("update", await self._known(key_id), by, expires_us or 0, *parts)
        return await self._known(key_id)

    async def revoke_key(self, key_id: str, at_us: int, *, by: Author = NOBODY) -> KeyRecord:
        await self._on_key("revoke", await self._known(key_id), by, at_us)
        return await self._known(key_id)

    async def rotate_key(
        self, key_id: str, successor: KeyRecord, ends_us: int, *, by: Author = NOBODY
    ) -> KeyRecord:
        old = await self._known(key_id)
        await self._on_key("rotate", old, by, ends_us, *_stored(successor), successor=successor.key_id)
        return await self._known(successor.key_id)

    async def list_keys(self, account_id: str) -> list[KeyRecord]:
        account = await self.get_account(account_id)
        prefix = prefix_of(account_id)
        async with answering(self._timeout_s):
            key_ids = sorted(cast(set[str], await self._client.smembers(f"{prefix}:keys")))
            used = cast(dict[str, str], await self._client.hgetall(f"{prefix}:used"))
            async with self._client.pipeline(transaction=False) as pipeline:
                for key_id in key_ids:
                    pipeline.hgetall(_key_name(key_id))
                found: list[dict[str, str]] = await pipeline.execute()
        keys = [
            _key_from(stored, account.plan, account.dialect, int(used.get(stored["key_id"], 0)))
            for stored in found
            if stored
        ]
        return sorted(keys, key=lambda key: (key.created_us, key.key_id))

    async def rate_state(self, key: KeyRecord, unit: RateUnit, scope: RateScope) -> RateState:
        prefix = prefix_of(key.account_id)
        meter = f"{prefix}:meter:{key.key_id}" if scope == "key" else f"{prefix}:account"
        async with answering(self._timeout_s), self._client.pipeline(transaction=False) as pipeline:
            pipeline.time()
            pipeline.hget(meter, _RATE_FIELDS[unit])
            (seconds, microseconds), tat = await pipeline.execute()
        server_us = int(seconds) * 1_000_000 + int(microseconds)
        now_us = round(self._clock.unix_s() * 1e6) if self._clock else server_us
        return state_of(unit, limit_of(self._plans.find(key.plan), unit), now_us, int(tat or 0))

    async def _known(self, key_id: str) -> KeyRecord:
        record = await self.get_key(key_id)
        if record is None:
            raise refusals.key_not_found(key_id)
        return record

    async def _on_key(
        self, verb: str, record: KeyRecord, by: Author, *arguments: str | int, successor: str = ""
    ) -> list[str]:
        keys = [prefix_of(record.account_id), AUDIT_KEY, _key_name(record.key_id)]
        if successor:
            keys.append(_key_name(successor))
        reply: list[str] = await self._run(
            "key", keys, *self._authorship(by), record.key_id, verb, *arguments
        )
        return reply


def _key_name(key_id: str) -> str:
    return f"mw:key:{key_id}"


def _stored(record: KeyRecord) -> list[str | int]:
    """Names and values, one after the other."""
    values: dict[str, str | int] = {
        "key_id": record.key_id,
        "account_id": record.account_id,
        "secret_hash": record.secret_hash,
        "display_name": record.display_name,
        "is_test": int(record.is_test),
        "created_us": record.created_us,
        "expires_us": record.expires_us,
        "revoked_us": record.revoked_us,
        "dialect": record.dialect,
        **_stored_restrictions(record.restrictions),
    }
    return [part for pair in values.items() for part in pair]


def _stored_restrictions(restrictions: Restrictions) -> dict[str, str]:
    # No entry has a space in it.
    return {
        "origins": " ".join(restrictions.origins),
        "networks": " ".join(restrictions.networks),
        "dialects": " ".join(restrictions.dialects),
    }


def _key_from(stored: dict[str, str], plan: str, account_dialect: str, used_us: int = 0) -> KeyRecord:
    return KeyRecord(
        key_id=stored["key_id"],
        account_id=stored["account_id"],
        secret_hash=stored["secret_hash"],
        display_name=stored["display_name"],
        is_test=stored["is_test"] == "1",
        created_us=int(stored["created_us"]),
        expires_us=int(stored["expires_us"]),
        revoked_us=int(stored["revoked_us"]),
        dialect=stored.get("dialect", ""),
        restrictions=Restrictions(
            tuple(stored.get("origins", "").split()),
            tuple(stored.get("networks", "").split()),
            tuple(stored.get("dialects", "").split()),
        ),
        plan=plan,
        account_dialect=account_dialect,
        used_us=used_us,
    )
