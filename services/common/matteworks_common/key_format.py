"""How an API key is written. A mistyped one is refused by its checksum, before it is looked up.

    mw_live_8fJ2kQ0aZ1xT_3uLk…43 characters…9Qz0Xk1A
    │  │    │            │                     └ CRC-32 of all before it, 6 digits in base 62
    │  │    │            └ secret, base 62
    │  │    └ public id, base 62: may be logged
    │  └ live or test
    └ lets secret scanners find leaked keys

The checksum proves nothing about who sent the key; it only tells typing mistakes from keys.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass, field
from typing import Final, Literal

KeyKind = Literal["live", "test"]

ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
CHECKSUM_LENGTH: Final = 6
# 62**42 < 2**256 <= 62**43: what 256 random bits take in base 62.
SECRET_LENGTH: Final = 43
MAX_KEY_LENGTH: Final = 160

_SHAPE = re.compile(r"mw_(live|test)_([0-9A-Za-z]{4,32})_([0-9A-Za-z]{22,64})([0-9A-Za-z]{6})")


@dataclass(frozen=True, slots=True)
class KeyParts:
    """A well-formed key. Printing it does not show the secret."""

    kind: KeyKind
    key_id: str
    secret: str = field(repr=False)


def parse_key(text: str) -> KeyParts | None:
    """The parts of `text`; None when it is not a key or its checksum is wrong. Never raises."""
    if len(text) > MAX_KEY_LENGTH:
        return None
    match = _SHAPE.fullmatch(text)
    if match is None or checksum(text[:-CHECKSUM_LENGTH]) != match[4]:
        return None
    return KeyParts("live" if match[1] == "live" else "test", match[2], match[3])


def format_key(kind: KeyKind, key_id: str, secret: str) -> str:
    """The key that `parse_key` takes apart again.

    `key_id` is 4 to 32 and `secret` 22 to 64 characters of `ALPHABET`; raises ValueError otherwise.
    """
    body = f"mw_{kind}_{key_id}_{secret}"
    key = body + checksum(body)
    if parse_key(key) is None:
        raise ValueError("a key id has 4 to 32 and a secret 22 to 64 characters of 0-9 A-Z a-z")
    return key


def checksum(body: str) -> str:
    """CRC-32 of `body` in base 62, 6 digits."""
    return encode_base62(zlib.crc32(body.encode()), CHECKSUM_LENGTH)


def encode_base62(number: int, length: int) -> str:
    """`number` (0 or more) in base 62, filled with zeros to `length` digits; never cut."""
    digits = []
    while number:
        number, rest = divmod(number, 62)
        digits.append(ALPHABET[rest])
    return "".join(reversed(digits)).rjust(length, ALPHABET[0])
