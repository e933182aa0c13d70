"""The caller's key, from the headers that clients put it in."""

from __future__ import annotations

import structlog
from starlette.datastructures import Headers

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.errors import Unauthenticated
from matteworks_common.key_format import parse_key

_SCHEMES = ("bearer", "token", "api-key")
log = structlog.get_logger()


def read_key(headers: Headers, own_header: str = "X-Api-Key", elsewhere: str = "") -> str:
    """The key that came with a request; its form is right, whether it is known is for auth to say.

    `own_header`, the dialect's, wins over `X-Api-Key`, that over `Authorization`, and that over the key that
    came `elsewhere`. Raises Unauthenticated: KEY_MISSING, KEY_INVALID.
    """
    direct = headers.get(own_header, "").strip() or headers.get("x-api-key", "").strip()
    indirect = _from_authorization(headers.get("authorization", ""))
    if direct and indirect and direct != indirect:
        log.info("two_keys_sent", used="x-api-key")
    key = direct or indirect or elsewhere.strip()
    if not key:
        raise Unauthenticated(
            reasons.ERROR_REASON_KEY_MISSING, f"Send your API key in the {own_header} header."
        )
    if parse_key(key) is None:
        raise Unauthenticated(reasons.ERROR_REASON_KEY_INVALID, "The API key is not valid.")
    return key


def has_key(headers: Headers, own_header: str) -> bool:
    """Whether any header brings a key."""
    return bool(
        headers.get(own_header, "").strip()
        or headers.get("x-api-key", "").strip()
        or _from_authorization(headers.get("authorization", ""))
    )


def _from_authorization(value: str) -> str:
    scheme, _, rest = value.strip().partition(" ")
    return rest.strip() if scheme.lower() in _SCHEMES else ""
