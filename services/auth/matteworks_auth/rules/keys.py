"""API keys: made once, shown once, stored as a keyed hash, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass

from matteworks_auth.rules.restrictions import UNRESTRICTED, Restrictions
from matteworks_common.key_format import ALPHABET, SECRET_LENGTH, KeyKind, KeyParts, format_key

KEY_ID_LENGTH = 12


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """What is stored of a key. Times are Unix microseconds; 0 is never.

    `plan` and `account_dialect` are its account's, told by each look-up; `used_us` only by a listing.
    """

    key_id: str
    account_id: str
    secret_hash: str
    display_name: str
    is_test: bool
    created_us: int
    expires_us: int = 0
    revoked_us: int = 0
    dialect: str = ""
    restrictions: Restrictions = UNRESTRICTED
    plan: str = ""
    account_dialect: str = ""
    used_us: int = 0

    def is_valid_at(self, now_us: int) -> bool:
        """Whether the key works at `now_us`."""
        return not self.revoked_us and (not self.expires_us or now_us < self.expires_us)

    @property
    def own_dialect(self) -> str:
        """Decides on paths that several providers share: the key's, else its account's, else the first
        that the key is restricted to; empty: none is set.
        """
        allowed = self.restrictions.dialects
        if self.dialect:
            return self.dialect
        if self.account_dialect and (not allowed or self.account_dialect in allowed):
            return self.account_dialect
        return allowed[0] if allowed else ""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key at the only moment at which its text exists here."""

    key_id: str
    text: str
    secret_hash: str


class KeyHasher:
    """HMAC-SHA256 under a server-side pepper: a stolen store gives no usable key."""

    def __init__(self, pepper: bytes) -> None:
        self._pepper = pepper
        self._dummy = self.hash("unknown")

    def hash(self, secret: str) -> str:
        """Hexadecimal, 64 characters."""
        return hmac.new(self._pepper, secret.encode(), hashlib.sha256).hexdigest()

    def matches(self, parts: KeyParts, record: KeyRecord | None) -> bool:
        """Whether `parts` is the key of `record`. An unknown key costs the same time as a wrong secret."""
        stored = record.secret_hash if record else self._dummy
        is_equal = hmac.compare_digest(self.hash(parts.secret), stored)
        return is_equal and record is not None and record.is_test == (parts.kind == "test")

    def new_key(self, kind: KeyKind) -> NewKey:
        """A fresh key with 256 random bits."""
        key_id = _random_text(KEY_ID_LENGTH)
        secret = _random_text(SECRET_LENGTH)
        return NewKey(key_id, format_key(kind, key_id, secret), self.hash(secret))


def _random_text(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))
