"""Who is signed in. The browser holds a random token, the store only its digest and what it stands for."""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import asdict, dataclass
from typing import Final

from matteworks_console.security.session_store import SessionStore

SESSION_S: Final = 12 * 3600
# Longer than any session, so that an end of all of them is not forgotten before they are.
_EPOCH_S: Final = 2 * SESSION_S
OPERATOR: Final = "operator"


@dataclass(frozen=True, slots=True)
class Session:
    """A person who is signed in: an operator, or somebody with a key of `account_id`."""

    role: str
    account_id: str
    key_id: str
    csrf_token: str
    epoch: str

    @property
    def is_operator(self) -> bool:
        return self.role == OPERATOR

    @property
    def principal(self) -> str:
        """Whose sessions end together."""
        return OPERATOR if self.is_operator else f"account:{self.account_id}"

    @property
    def actor(self) -> str:
        """Who is written into the audit log."""
        return "console: operator" if self.is_operator else f"console: key {self.key_id}"


class Sessions:
    """Begins, finds and ends sessions."""

    def __init__(self, store: SessionStore) -> None:
        self._store = store

    async def begin(self, role: str, account_id: str = "", key_id: str = "") -> str:
        """A new session's token, never one that a browser had before."""
        token = secrets.token_urlsafe(32)
        session = Session(role, account_id, key_id, secrets.token_urlsafe(24), "")
        session = Session(role, account_id, key_id, session.csrf_token, await self._epoch(session.principal))
        await self._store.put(_name(token), json.dumps(asdict(session)), SESSION_S)
        return token

    async def find(self, token: str) -> Session | None:
        """Whose token it is; None when it is unknown, old or was ended."""
        text = await self._store.get(_name(token)) if token else None
        if text is None:
            return None
        session = Session(**json.loads(text))
        return session if session.epoch == await self._epoch(session.principal) else None

    async def end(self, token: str) -> None:
        """Sign this browser out."""
        await self._store.delete(_name(token))

    async def end_all(self, principal: str) -> None:
        """Sign every browser of `principal` out."""
        await self._store.put(f"epoch:{principal}", secrets.token_hex(8), _EPOCH_S)

    async def _epoch(self, principal: str) -> str:
        return await self._store.get(f"epoch:{principal}") or ""


def _name(token: str) -> str:
    return "session:" + hashlib.sha256(token.encode()).hexdigest()
