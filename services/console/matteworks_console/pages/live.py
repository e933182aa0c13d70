"""Server-sent events: an open page hears when what it shows has changed."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from starlette.responses import Response, StreamingResponse

from matteworks_common.context import CallContext, current_call, new_request_id
from matteworks_common.errors import MatteworksError
from matteworks_console.errors import PageError
from matteworks_console.security.access import SignInNeeded
from matteworks_console.security.sessions import Session

POLL_S: Final = 2.0
# Ends before the proxy would end it; the browser then asks again.
STREAM_S: Final = 110.0
MAX_STREAMS: Final = 200
MAX_STREAMS_OF_ONE: Final = 12
_CALL_S: Final = 5.0

Admit = Callable[[], Awaitable[object]]
Look = Callable[[], Awaitable[bytes]]


class LiveStreams:
    """Streams look every `poll_s` and end when `draining` is set. They are bounded, in all and for each who
    is signed in, so that nobody's open pages take those of another.
    """

    def __init__(self, draining: asyncio.Event, poll_s: float = POLL_S) -> None:
        self._draining = draining
        self._poll_s = poll_s
        self._streams: Counter[str] = Counter()

    def follow(self, session: Session, admit: Admit, look: Look) -> Response:
        """Events: `changed` whenever `look` tells something else than before, `signed-out` once `admit`
        raises SignInNeeded. Raises PageError when too many are open.
        """
        principal = session.principal
        if self._streams.total() >= MAX_STREAMS or self._streams[principal] >= MAX_STREAMS_OF_ONE:
            raise PageError(503, "Too many pages are open. This one is not updated.", retry_after_s=30)
        return StreamingResponse(
            self._stream(principal, admit, look),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    async def _stream(self, principal: str, admit: Admit, look: Look) -> AsyncIterator[str]:
        self._streams[principal] += 1
        try:
            # How long the browser waits before it asks again.
            yield "retry: 1000\n\n"
            ends_s = time.monotonic() + STREAM_S
            last: bytes | None = None
            while time.monotonic() < ends_s and not self._draining.is_set():
                current_call.set(CallContext(new_request_id(), time.monotonic() + _CALL_S))
                try:
                    # A session that has ended, or a key that was revoked, sees nothing more.
                    await admit()
                    now = await look()
                except SignInNeeded:
                    yield "event: signed-out\ndata: 1\n\n"
                    return
                except MatteworksError:
                    # A service is away: the page stays as it is, and the next look may succeed.
                    yield ": waiting\n\n"
                else:
                    yield "event: changed\ndata: 1\n\n" if last not in (None, now) else ": no change\n\n"
                    last = now
                try:
                    await asyncio.wait_for(self._draining.wait(), self._poll_s)
                except TimeoutError:
                    continue
        finally:
            self._streams[principal] -= 1
            if not self._streams[principal]:
                del self._streams[principal]
