"""The index of results in Valkey, and the list of objects whose bytes are to go."""

from __future__ import annotations

from collections.abc import Sequence

from matteworks_jobs.stores.records import ResultRecord
from matteworks_jobs.stores.session import DOOMED, Session, prefix_of


class ResultIndex:
    """Who owns which result, and until when."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def add(
        self,
        account_id: str,
        result_id: str,
        content_type: str,
        size_bytes: int,
        expires_us: int,
        url_us: int,
    ) -> None:
        """Index bytes that are stored; `url_us`: for how long its URL works, 0: as long as it is kept."""
        await self._session.run(
            "results", "add", account_id, result_id, content_type, size_bytes, expires_us, url_us
        )

    async def get(self, result_id: str) -> ResultRecord | None:
        """Anybody's; None when there is none, or it has expired."""
        record = _result(result_id, await self._session.fields(_key(result_id)))
        return record if record and record.expires_us > self._session.now_us else None

    async def drop(self, account_id: str, result_id: str) -> bool:
        """Nobody finds it any more, and its bytes are doomed; False when there is none."""
        return bool(await self._session.run("results", "drop", account_id, result_id))

    async def latest(self, account_id: str, count: int) -> list[ResultRecord]:
        """Latest first."""
        prefix = prefix_of(account_id)
        ids = [
            one.decode()
            for one in await self._session.ask("ZRANGE", f"{prefix}:results", 0, count - 1, "REV")
        ]
        stored = await self._session.fields_of([_key(one) for one in ids])
        found = (_result(one, facts) for one, facts in zip(ids, stored, strict=True))
        return [record for record in found if record and record.expires_us > self._session.now_us]

    async def expire(self, count: int) -> int:
        """Drop at most `count` results whose time has come; how many."""
        return int(await self._session.run("results", "expire", "", count))

    async def doom(self, name: str, at_us: int) -> None:
        """The object `name` goes at that time, unless it is indexed before."""
        await self._session.ask("ZADD", DOOMED, at_us, name)

    async def doomed(self, count: int) -> list[str]:
        """Objects whose time has come."""
        found = await self._session.ask(
            "ZRANGEBYSCORE", DOOMED, "-inf", self._session.now_us, "LIMIT", 0, count
        )
        return [name.decode() for name in found]

    async def gone(self, names: Sequence[str]) -> None:
        """Their bytes are deleted."""
        if names:
            await self._session.ask("ZREM", DOOMED, *names)


def _key(result_id: str) -> str:
    return f"mw:jobs:result:{result_id}"


def _result(result_id: str, stored: dict[str, bytes]) -> ResultRecord | None:
    if not stored:
        return None
    return ResultRecord(
        stored["account"].decode(),
        result_id,
        stored["type"].decode(),
        *(int(stored[name]) for name in ("size", "created", "expires", "url_until")),
    )
