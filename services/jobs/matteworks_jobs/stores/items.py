"""Items and batches in Valkey."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

from matteworks_common.tracing import current_traceparent
from matteworks_jobs.stores.records import BatchRecord, ItemRecord, ItemState, NewItem
from matteworks_jobs.stores.session import OPENED, RATE, WAITING, Session, prefix_of, split_member

DEFAULT_GAP_US: Final = 1_200_000
PART_ITEMS: Final = 500
_REMIND_US: Final = 60_000_000
_BATCH_NUMBERS: Final = ("items", "succeeded", "failed", "cancelled", "created", "ended")


class ItemStore:
    """`keep_us`: how long records are kept after they were accepted, beyond the retention of results."""

    def __init__(self, session: Session, max_waiting: int, keep_us: int) -> None:
        self._session = session
        self._max_waiting = max_waiting
        self._keep_us = keep_us

    async def accept_one(self, account_id: str, item: NewItem, retention_us: int) -> bool:
        """Accept a single removal; False when too many items wait."""
        return await self._accept(account_id, "", "", retention_us, True, [item])

    async def accept_part(
        self,
        account_id: str,
        batch_id: str,
        webhook_url: str,
        retention_us: int,
        items: Sequence[NewItem],
        *,
        is_last: bool,
    ) -> bool:
        """Add at most PART_ITEMS items to a batch that is being accepted; with the last part it is.
        False when too many items wait.
        """
        return await self._accept(account_id, batch_id, webhook_url, retention_us, is_last, items)

    async def _accept(
        self,
        account_id: str,
        batch_id: str,
        webhook_url: str,
        retention_us: int,
        is_last: bool,
        items: Sequence[NewItem],
    ) -> bool:
        arguments: list[str | int | bytes] = [
            batch_id, webhook_url, self._keep_us + retention_us, int(is_last), self._max_waiting,
            current_traceparent(),
        ]  # fmt: skip
        for item in items:
            arguments += [item.item_id, item.index, item.request, item.webhook_url, int(item.has_input)]
        return bool(await self._session.run("items", "accept", account_id, *arguments))

    async def discard(self, account_id: str, batch_id: str) -> None:
        """Forget a batch whose last part never came."""
        await self._session.run("items", "discard", account_id, batch_id)

    async def item(self, account_id: str, item_id: str) -> ItemRecord | None:
        """One item; None when the account has no such."""
        stored = await self._session.fields(f"{prefix_of(account_id)}:item:{item_id}")
        return _item(account_id, item_id, stored)

    async def items(self, account_id: str, batch_id: str, first: int, count: int) -> list[ItemRecord]:
        """Items of a batch, in order, from the `first` on."""
        prefix = prefix_of(account_id)
        ids = await self._session.ask("LRANGE", f"{prefix}:batch:{batch_id}:items", first, first + count - 1)
        names = [one.decode() for one in ids]
        stored = await self._session.fields_of([f"{prefix}:item:{name}" for name in names])
        found = (_item(account_id, name, one) for name, one in zip(names, stored, strict=True))
        return [item for item in found if item]

    async def batch(self, account_id: str, batch_id: str) -> BatchRecord | None:
        """One batch; None when the account has no such."""
        return _batch(batch_id, await self._session.fields(f"{prefix_of(account_id)}:batch:{batch_id}"))

    async def batches(self, account_id: str, count: int) -> list[BatchRecord]:
        """Latest first."""
        prefix = prefix_of(account_id)
        ids = await self._session.ask("ZRANGE", f"{prefix}:batches", 0, count - 1, "REV")
        names = [one.decode() for one in ids]
        stored = await self._session.fields_of([f"{prefix}:batch:{name}" for name in names])
        found = (_batch(name, one) for name, one in zip(names, stored, strict=True))
        return [batch for batch in found if batch]

    async def start(self, account_id: str, item_id: str) -> int:
        """Count a try; how many tries have neither ended nor been put off, this one included."""
        key = f"{prefix_of(account_id)}:item:{item_id}"
        return int(await self._session.ask("HINCRBY", key, "starts", 1))

    async def put_off(self, account_id: str, item_id: str, *, needs_new_charge: bool) -> None:
        """This try is over and another will come; with `needs_new_charge`, its charge was given back."""
        key = f"{prefix_of(account_id)}:item:{item_id}"
        await self._session.ask("HINCRBY", key, "starts", -1)
        if needs_new_charge:
            await self._session.ask("HINCRBY", key, "charge", 1)

    async def claim(self, account_id: str, item_id: str) -> bool:
        """From now on the item cannot be cancelled; False when it was, or has ended."""
        return bool(await self._session.run("items", "claim", account_id, item_id))

    async def succeed(
        self,
        item: ItemRecord,
        outcome: bytes,
        content_type: str,
        size_bytes: int,
        expires_us: int,
        url_us: int,
    ) -> bool:
        """End it well; False when it had ended before."""
        return bool(
            await self._session.run(
                "items", "finish", item.account_id, item.item_id, "succeeded", outcome, content_type,
                size_bytes, expires_us, url_us,
            )
        )  # fmt: skip

    async def fail(self, item: ItemRecord, outcome: bytes) -> bool:
        """End it badly; False when it had ended before."""
        return bool(
            await self._session.run("items", "finish", item.account_id, item.item_id, "failed", outcome)
        )

    async def cancel(self, account_id: str, batch_id: str) -> int | None:
        """Cancel what is not charged yet; how many items, None when there is no such batch."""
        count = int(await self._session.run("items", "cancel", account_id, batch_id))
        return None if count < 0 else count

    async def waiting_count(self) -> int:
        """Items of all accounts that have not ended."""
        return int(await self._session.ask("ZCARD", WAITING))

    async def oldest_us(self) -> int:
        """When the item was accepted that waits longest; 0 when none waits."""
        first = await self._session.ask("ZRANGE", OPENED, 0, 0, "WITHSCORES")
        return int(float(first[1])) if first else 0

    async def mean_gap_us(self) -> int:
        """Measured time between the ends of two items while others wait."""
        stored = await self._session.ask("HGET", RATE, "mean")
        return int(stored) if stored else DEFAULT_GAP_US

    async def forgotten(self, count: int) -> list[tuple[str, str]]:
        """Open items that the queue has not been reminded of for a minute, as account and id."""
        now_us = self._session.now_us
        found = await self._session.ask(
            "ZRANGEBYSCORE", WAITING, "-inf", now_us - _REMIND_US, "LIMIT", 0, count
        )
        return [split_member(member) for member in found]

    async def remembered(self, items: Sequence[tuple[str, str]]) -> None:
        """The queue has been reminded of `items`."""
        if items:
            entries: list[str | int] = []
            for account_id, item_id in items:
                entries += [self._session.now_us, f"{account_id}/{item_id}"]
            await self._session.ask("ZADD", WAITING, "XX", *entries)


def _item(account_id: str, item_id: str, stored: dict[str, bytes]) -> ItemRecord | None:
    # A counter alone may stand where a record has been forgotten.
    if "state" not in stored:
        return None
    return ItemRecord(
        account_id,
        item_id,
        stored["batch"].decode(),
        int(stored["index"]),
        cast(ItemState, stored["state"].decode()),
        stored.get("spec", b""),
        stored.get("outcome", b""),
        stored["has_input"] == b"1",
        int(stored["created"]),
        int(stored.get("ended", 0)),
        int(stored["charge"]),
        int(stored["starts"]),
        stored.get("trace", b"").decode(),
    )


def _batch(batch_id: str, stored: dict[str, bytes]) -> BatchRecord | None:
    if not stored:
        return None
    return BatchRecord(
        batch_id,
        *(
            int(stored.get(name, 0))
            for name in ("items", "succeeded", "failed", "cancelled", "created", "ended")
        ),
    )
