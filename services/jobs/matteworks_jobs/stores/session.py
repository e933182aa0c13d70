"""What every part of the store shares: client, scripts, clock and names.

Each change is one Lua script, so it is atomic and costs one round trip. The end of an item, the index entry
of its result, the progress of its batch and the deliveries of its webhooks are one such change: whoever
dies afterwards loses nothing. A script is safe to send again.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any, cast

from redis.asyncio import Redis

from matteworks_common.clock import Clock
from matteworks_jobs.stores.connection import answering

WAITING = "mw:jobs:waiting"
OPENED = "mw:jobs:opened"
DOOMED = "mw:jobs:doomed"
DUE = "mw:jobs:due-deliveries"
RATE = "mw:jobs:rate"
CHANGES = "mw:jobs:changes"
SCRIPTS = files("matteworks_jobs") / "stores/scripts"
_COMMON = (SCRIPTS / "common.lua").read_text()


class Session:
    """One client and one clock for all stores. `timeout_s` bounds each step, whatever fails."""

    def __init__(self, client: Redis, clock: Clock, timeout_s: float) -> None:
        self.client = client
        self.clock = clock
        self.timeout_s = timeout_s
        self._scripts = {
            name: client.register_script(f"{_COMMON}\n{(SCRIPTS / f'{name}.lua').read_text()}")
            for name in ("items", "results", "webhooks")
        }

    @property
    def now_us(self) -> int:
        """The time that scripts are told."""
        return round(self.clock.unix_s() * 1e6)

    async def run(self, script: str, verb: str, account_id: str, *arguments: str | int | bytes) -> Any:
        """The reply of a script."""
        async with answering(self.timeout_s):
            return await self._scripts[script](
                [prefix_of(account_id)], [self.now_us, account_id, verb, *arguments]
            )

    async def ask(self, command: str, *arguments: str | int | bytes) -> Any:
        """The reply to one command."""
        async with answering(self.timeout_s):
            return await self.client.execute_command(command, *arguments)  # type: ignore[no-untyped-call]

    async def fields(self, key: str) -> dict[str, bytes]:
        """A hash; empty when there is none."""
        async with answering(self.timeout_s):
            # The client does not decode, which its types cannot tell.
            stored = cast(dict[bytes, bytes], await self.client.hgetall(key))
        return {name.decode(): value for name, value in stored.items()}

    async def fields_of(self, keys: list[str]) -> list[dict[str, bytes]]:
        """Several hashes in one round trip."""
        async with answering(self.timeout_s):
            pipe = self.client.pipeline(transaction=False)
            for key in keys:
                pipe.hgetall(key)
            found = await pipe.execute()
        return [{name.decode(): value for name, value in one.items()} for one in found]

    async def ping(self) -> None:
        """Raise Unavailable unless the server answers."""
        await self.ask("PING")

    async def close(self) -> None:
        """Close every connection."""
        await self.client.aclose()
        await self.client.connection_pool.disconnect()


def prefix_of(account_id: str) -> str:
    """In front of every key of the account."""
    return f"mw:jobs:{{{account_id}}}"


def split_member(member: bytes) -> tuple[str, str]:
    """Account and id of an entry of a set that all accounts share."""
    account_id, _, one = member.decode().rpartition("/")
    return account_id, one
