"""Pictures that callers hand in because their cut-out went wrong. Kept only if the operator allows it."""

from __future__ import annotations

import asyncio
import json
import uuid
from datetime import UTC, datetime, time, timedelta

from obstore.store import ObjectStore

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.clock import Clock
from matteworks_common.errors import Forbidden, LimitExceeded, Unavailable
from matteworks_removal.sources import Picture


class SubmissionBox:
    """Stores submissions as `submissions/DAY/ACCOUNT/ID.TYPE` with `ID.json` beside them.

    Without a store every submission is refused.
    """

    def __init__(self, store: ObjectStore | None, clock: Clock, limit_a_day: int) -> None:
        self._store = store
        self._clock = clock
        self._limit_a_day = limit_a_day
        self._turn = asyncio.Lock()

    def check_consent(self) -> None:
        """Raise Forbidden (CONSENT_REQUIRED) unless submissions are collected here."""
        if self._store is None:
            raise Forbidden(
                reasons.ERROR_REASON_CONSENT_REQUIRED,
                "The operator of this server has not allowed it to keep pictures.",
            )

    async def hand_in(self, account_id: str, picture: Picture, filename: str, tag: str) -> str:
        """Store a picture; the id of the submission.

        Raises Forbidden, LimitExceeded (QUOTA_EXCEEDED, until the next UTC day) and Unavailable.
        """
        self.check_consent()
        store = self._store
        if store is None:
            raise AssertionError("consent was checked above")
        now = datetime.fromtimestamp(self._clock.unix_s(), UTC)
        folder = f"submissions/{now:%Y-%m-%d}/{account_id}"
        submission_id = str(uuid.uuid4())
        facts = {
            "id": submission_id,
            "account_id": account_id,
            "filename": filename,
            "tag": tag,
            "format": picture.header.format,
            "width_px": picture.header.width_px,
            "height_px": picture.header.height_px,
            "size_bytes": len(picture.content),
            "time": now.isoformat(),
        }
        try:
            # One at a time, so that two of them do not both pass as the last of the day.
            async with self._turn:
                if await self._count(store, folder) >= self._limit_a_day:
                    raise _used_up(now)
                await store.put_async(f"{folder}/{submission_id}.json", json.dumps(facts).encode())
            await store.put_async(f"{folder}/{submission_id}.{picture.header.format}", picture.content)
        except LimitExceeded:
            raise
        except Exception as error:
            # The store's own exceptions have no common base below Exception.
            raise Unavailable("The store of submissions does not answer.") from error
        return submission_id

    async def _count(self, store: ObjectStore, folder: str) -> int:
        count = 0
        async for page in store.list(folder):
            count += sum(entry["path"].endswith(".json") for entry in page)
        return count


def _used_up(now: datetime) -> LimitExceeded:
    tomorrow = datetime.combine(now.date() + timedelta(days=1), time(), UTC)
    return LimitExceeded(
        reasons.ERROR_REASON_QUOTA_EXCEEDED,
        "The submissions of this day are used up.",
        retry_after_s=(tomorrow - now).total_seconds(),
    )
