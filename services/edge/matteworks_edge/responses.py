"""Headers and bodies that clients depend on, to the letter."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from starlette.responses import Response

from matteworks.auth.v1 import auth_pb2
from matteworks_common.vocabulary import subject_type_name
from matteworks_edge.dialects.base import Dialect
from matteworks_edge.errors import ErrorAnswer
from matteworks_removal.service import Removal

JSON_TYPE: Final = "application/json; charset=utf-8"
# Types whose coarse name is another type's; the rest that is not here is coarsely `other`.
_COARSE_NAMES: Final = {
    "person": "person",
    "product": "product",
    "animal": "animal",
    "car": "car",
    "car_interior": "car",
    "car_part": "car",
}
EXPOSED_HEADERS: Final = (
    "X-Type, X-Width, X-Height, X-Image-Width, X-Image-Height, X-Max-Width, X-Max-Height, "
    "X-Model, X-Confidence, "
    "X-Credits-Charged, X-Foreground-Top, X-Foreground-Left, X-Foreground-Width, X-Foreground-Height, "
    "X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, X-Repeated-Request, X-Request-Id, "
    "X-Uncertainty-Score, X-Remaining-Credits, X-Credits-Consumed, X-Picsart-Correlation-Id, "
    "X-Picsart-Ratelimit-Limit, X-Picsart-Ratelimit-Available, X-Picsart-Ratelimit-Reset-Time, Retry-After, "
    "Server-Timing"
)


def format_credits(credits_milli: int) -> str:
    """The shortest decimal form: `1`, `0.25`, `0`. A trailing `.0` breaks a client that calls int()."""
    whole, rest = divmod(credits_milli, 1000)
    return f"{whole}.{rest:03d}".rstrip("0") if rest else str(whole)


def rate_limit_headers(rate_limit: auth_pb2.RateLimit | None) -> dict[str, str]:
    """State of the rate limit, in what it counts, and Unix seconds; nothing when it is not known."""
    if rate_limit is None or not rate_limit.limit_units:
        return {}
    return {
        "X-RateLimit-Limit": str(rate_limit.limit_units),
        "X-RateLimit-Remaining": str(max(0, rate_limit.remaining_units)),
        "X-RateLimit-Reset": str(-(-rate_limit.reset_time.ToNanoseconds() // 10**9)),
    }


def refusal_rate_headers(metadata: Mapping[str, str]) -> dict[str, str]:
    """The same from the metadata of a refusal by auth; nothing when it tells nothing."""
    names = {
        "X-RateLimit-Limit": "limit_units",
        "X-RateLimit-Remaining": "remaining_units",
        "X-RateLimit-Reset": "reset_unix_s",
    }
    values = {header: metadata.get(key, "") for header, key in names.items()}
    return values if all(value.isascii() and value.isdecimal() for value in values.values()) else {}


def type_name(subject_type: int, type_level: str) -> str:
    """What a type is called at a level of detail: 1 is coarse; what is not determined is `other`."""
    name = subject_type_name(subject_type) or "other"
    return _COARSE_NAMES.get(name, "other") if type_level == "1" else name


def removal_headers(removal: Removal, dialect: Dialect, type_level: str) -> dict[str, str]:
    """What is told about a result beside its bytes."""
    rendering = removal.response.rendering
    headers = {
        dialect.width_header: str(rendering.size.width_px),
        dialect.height_header: str(rendering.size.height_px),
        "X-Credits-Charged": format_credits(removal.charged_credits_milli),
    }
    if type_level != "none":
        headers["X-Type"] = type_name(removal.response.subject.type, type_level)
    headers |= dialect.result_headers(removal)
    if removal.is_repeat:
        headers["X-Repeated-Request"] = "true"
    return headers


def foreground_headers(removal: Removal) -> dict[str, str]:
    """The subject's box in pixels of the upright input, before any crop or scale, so that the cut-out can be
    put back.
    """
    box = removal.response.rendering.foreground
    return {
        "X-Foreground-Top": str(box.top_px),
        "X-Foreground-Left": str(box.left_px),
        "X-Foreground-Width": str(box.width_px),
        "X-Foreground-Height": str(box.height_px),
    }


def confidence_header(removal: Removal) -> dict[str, str]:
    """How likely the matte is right, of people too; nothing when no network made it."""
    response = removal.response
    return (
        {"X-Confidence": f"{response.matte_confidence:.2f}"} if response.HasField("matte_confidence") else {}
    )


def cutout_with_box(removal: Removal) -> bytes:
    """A result as JSON, with the subject's box; the numbers after the picture, as callers know it."""
    rendering = removal.response.rendering
    box = rendering.foreground
    # Joined by hand: the text has up to 70 MB, and base64 needs no escaping.
    return b"".join(
        (
            b'{"data":{"result_b64":"',
            base64.b64encode(rendering.image),
            f'","foreground_top":{box.top_px},"foreground_left":{box.left_px},'
            f'"foreground_width":{box.width_px},"foreground_height":{box.height_px}}}}}'.encode(),
        )
    )


def json_response(document: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A small document, with a weak entity tag as callers know it."""
    body = json.dumps(document, separators=(",", ":")).encode()
    digest = base64.b64encode(hashlib.sha1(body, usedforsecurity=False).digest()).decode().rstrip("=")
    tag = {"Etag": f'W/"{len(body):x}-{digest}"'}
    return Response(body, status, {**tag, **(headers or {})}, JSON_TYPE)


def error_response(answer: ErrorAnswer, rate_headers: Mapping[str, str], dialect: Dialect) -> Response:
    """A failed request: never charged, and it says so."""
    headers = {"X-Credits-Charged": "0", **rate_headers, **answer.headers}
    return json_response(dialect.error_document(answer), answer.status, headers)


def server_timing(durations_s: Iterable[tuple[str, float]]) -> str:
    """The stages as a Server-Timing value, in milliseconds."""
    return ", ".join(f"{stage};dur={duration_s * 1000:.1f}" for stage, duration_s in durations_s)
