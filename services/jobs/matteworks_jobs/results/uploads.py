"""Several objects on their way into the store at once, as one step that succeeds or fails."""

from __future__ import annotations

import asyncio
from typing import Final

from matteworks_jobs.results.objects import ObjectBox

# A bucket answers each in its own time; more than these would need the memory for nothing.
_MOST: Final = 8


class Uploads:
    """Starts at most _MOST at once. What failed is told by the next call; end with `finish` or `give_up`."""

    def __init__(self, box: ObjectBox) -> None:
        self._box = box
        self._under_way: set[asyncio.Task[None]] = set()

    async def add(self, name: str, content: bytes, content_type: str) -> None:
        """Begin one more, as soon as there is room. Raises what one before it raised."""
        while len(self._under_way) >= _MOST:
            await self._collect(asyncio.FIRST_COMPLETED)
        self._under_way.add(asyncio.create_task(self._box.put(name, content, content_type)))

    async def finish(self) -> None:
        """Wait for all. Raises what one of them raised: LimitExceeded (RESULT_STORE_FULL), Unavailable."""
        while self._under_way:
            await self._collect(asyncio.FIRST_EXCEPTION)

    async def give_up(self) -> None:
        """Wait until nothing is written any more, whatever comes of it."""
        await asyncio.gather(*self._under_way, return_exceptions=True)
        self._under_way.clear()

    async def _collect(self, when: str) -> None:
        done, self._under_way = await asyncio.wait(self._under_way, return_when=when)
        for failure in [task.exception() for task in done]:
            if failure is not None:
                raise failure
