"""Webhook endpoints, their secrets, and deliveries in Valkey."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from matteworks_jobs.stores.records import Delivery, DeliveryState, Endpoint, Event
from matteworks_jobs.stores.session import DUE, Session, prefix_of, split_member

MAX_ENDPOINTS: Final = 20
OVERLAP_US: Final = 86_400_000_000


class WebhookStore:
    """See `webhooks.lua`. Deliveries are made by the scripts that end items."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def add_endpoint(self, account_id: str, endpoint: Endpoint, secret: str) -> bool:
        """False when the account has as many as it may."""
        facts = json.dumps(
            {
                "url": endpoint.url,
                "events": endpoint.events,
                # As text: the scripts' own JSON keeps 14 digits of a number.
                "created": str(endpoint.created_us),
                "is_disabled": endpoint.is_disabled,
            }
        )
        secrets = json.dumps({"current": secret})
        return bool(
            await self._session.run(
                "webhooks", "add_endpoint", account_id, endpoint.endpoint_id, facts, secrets, MAX_ENDPOINTS
            )
        )

    async def endpoints(self, account_id: str) -> list[Endpoint]:
        """Oldest first."""
        stored = await self._session.fields(f"{prefix_of(account_id)}:endpoints")
        found = [_endpoint(name, json.loads(facts)) for name, facts in stored.items()]
        return sorted(found, key=lambda endpoint: (endpoint.created_us, endpoint.endpoint_id))

    async def remove_endpoint(self, account_id: str, endpoint_id: str) -> bool:
        """False when there is none."""
        return bool(await self._session.run("webhooks", "remove_endpoint", account_id, endpoint_id))

    async def rotate_secret(self, account_id: str, endpoint_id: str, secret: str) -> bool:
        """Sign with `secret` from now on, and with the old one too for OVERLAP_US; an empty `endpoint_id`:
        for URLs of requests. False when there is no such endpoint.
        """
        until_us = self._session.now_us + OVERLAP_US
        stored = await self._session.run("webhooks", "secret", account_id, endpoint_id, secret, until_us, 0)
        return bool(stored)

    async def request_secret(self, account_id: str, candidate: str) -> str:
        """The secret for URLs of requests; `candidate` becomes it when there is none."""
        stored: bytes = await self._session.run("webhooks", "secret", account_id, "", candidate, 0, 1)
        return stored.decode()

    async def signing_secrets(self, account_id: str, endpoint_id: str) -> list[str]:
        """What a delivery is signed with now, newest first; empty when the endpoint is gone."""
        stored = await self._session.ask("HGET", f"{prefix_of(account_id)}:secrets", endpoint_id)
        if not stored:
            return []
        secrets = json.loads(stored)
        found = [secrets["current"]]
        if int(secrets.get("previous_until", 0)) > self._session.now_us:
            found.append(secrets["previous"])
        return found

    async def lease(
        self, count: int, lease_us: int, most_of_account: int, had: Mapping[str, int]
    ) -> list[Delivery]:
        """At most `count` due deliveries; nobody else gets them until the lease ends. Of each account no
        more than `most_of_account` with those that the caller had.
        """
        members = await self._session.run(
            "webhooks", "lease", "", count, lease_us, most_of_account, json.dumps(had)
        )
        names = [split_member(member) for member in members]
        stored = await self._session.fields_of([_key(*name) for name in names])
        found: list[Delivery] = []
        for name, facts in zip(names, stored, strict=True):
            if facts:
                found.append(_delivery(*name, facts))
            else:
                await self.end_attempt(*name, "failed")
        return found

    async def overdue(self) -> tuple[int, int]:
        """How many deliveries are due now, and since when the first is (microseconds since 1970; 0: none)."""
        now_us = self._session.now_us
        count = int(await self._session.ask("ZCOUNT", DUE, "-inf", now_us))
        first = await self._session.ask("ZRANGE", DUE, 0, 0, "WITHSCORES") if count else []
        return count, int(float(first[1])) if first else 0

    async def fix_body(self, delivery: Delivery, body: str) -> str:
        """The text to send, the same at every try."""
        fixed: bytes = await self._session.run(
            "webhooks", "fix_body", delivery.account_id, delivery.delivery_id, body
        )
        return fixed.decode()

    async def end_attempt(
        self,
        account_id: str,
        delivery_id: str,
        state: DeliveryState,
        *,
        status: int = 0,
        next_us: int = 0,
        disables_endpoint: bool = False,
    ) -> None:
        """What a try came to."""
        await self._session.run(
            "webhooks", "end_attempt", account_id, delivery_id, state, status, next_us, int(disables_endpoint)
        )

    async def deliveries(self, account_id: str, count: int) -> list[Delivery]:
        """Latest first."""
        ids = await self._session.ask("ZRANGE", f"{prefix_of(account_id)}:deliveries", 0, count - 1, "REV")
        names = [one.decode() for one in ids]
        stored = await self._session.fields_of([_key(account_id, name) for name in names])
        return [
            _delivery(account_id, name, facts) for name, facts in zip(names, stored, strict=True) if facts
        ]

    async def delivery(self, account_id: str, delivery_id: str) -> Delivery | None:
        """One; None when the account has no such."""
        stored = await self._session.fields(_key(account_id, delivery_id))
        return _delivery(account_id, delivery_id, stored) if stored else None

    async def resend(self, account_id: str, delivery_id: str) -> bool:
        """Due now, from the first try on; False when there is none."""
        return bool(await self._session.run("webhooks", "resend", account_id, delivery_id))

    async def announce_low(self, account_id: str, granted_milli: int, body: str) -> None:
        """Tell the endpoints that subscribed to it that credits run low; once for each `granted_milli`."""
        await self._session.run("webhooks", "announce_low", account_id, granted_milli, body)


def _key(account_id: str, delivery_id: str) -> str:
    return f"{prefix_of(account_id)}:delivery:{delivery_id}"


def _endpoint(endpoint_id: str, facts: dict[str, Any]) -> Endpoint:
    events: Sequence[Event] = facts["events"]
    return Endpoint(endpoint_id, facts["url"], tuple(events), int(facts["created"]), facts["is_disabled"])


def _delivery(account_id: str, delivery_id: str, stored: dict[str, bytes]) -> Delivery:
    def text(name: str) -> str:
        return stored[name].decode()

    return Delivery(
        account_id,
        delivery_id,
        text("endpoint"),
        text("url"),
        cast(Event, text("event")),
        text("subject"),
        cast(DeliveryState, text("state")),
        int(stored["attempts"]),
        int(stored["status"]),
        int(stored["created"]),
        int(stored["next"]),
        text("body"),
        stored.get("trace", b"").decode(),
    )
