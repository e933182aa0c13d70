"""The id and the deadline of the current call, for all code that runs on behalf of it."""

from __future__ import annotations

import re
import time
import uuid
from contextvars import ContextVar
from dataclasses import dataclass

REQUEST_ID_KEY = "x-request-id"
# Marks work that nobody waits for: it goes behind other calls.
DEFERRED_KEY = "x-matteworks-deferred"
# Marks a call that only asks whether the service is there; it gets the usual answer and is logged at debug.
PROBE_KEY = "x-matteworks-probe"
_SAFE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


@dataclass(frozen=True, slots=True)
class CallContext:
    """`deadline_s` is on the monotonic clock; None: the caller set none. `is_deferred`: nobody waits."""

    request_id: str
    deadline_s: float | None
    is_probe: bool = False
    is_deferred: bool = False

    def remaining_s(self) -> float | None:
        """Seconds left, 0 or less when the deadline has passed; None without a deadline."""
        return None if self.deadline_s is None else self.deadline_s - time.monotonic()


current_call: ContextVar[CallContext | None] = ContextVar("current_call", default=None)


def is_deferred() -> bool:
    """Whether the current call is work that nobody waits for."""
    call = current_call.get()
    return call is not None and call.is_deferred


def new_request_id() -> str:
    """A fresh id that nobody can guess."""
    return uuid.uuid4().hex


def accept_request_id(candidate: str | None) -> str:
    """`candidate` when it is safe in a header and a log line, else a fresh id."""
    return candidate if candidate and _SAFE_ID.fullmatch(candidate) else new_request_id()
