"""The envelope that several providers share: `{"success": …, "data": …}` or `{"success": false, "error": …}`.

They document few codes, one for each status; what they do not name follows the same pattern.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.errors import Reason
from matteworks_edge.dialects.base import Schema
from matteworks_edge.errors import PUBLIC_ERRORS, ErrorAnswer, PublicError
from matteworks_edge.openapi.schemas import TEXT, closed_object

_CODES: Final = {
    401: "INVALID_API_KEY",
    402: "INSUFFICIENT_CREDITS",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    408: "TIMEOUT",
    413: "FILE_TOO_LARGE",
    415: "UNSUPPORTED_FORMAT",
    429: "RATE_LIMITED",
    500: "INTERNAL_ERROR",
    501: "TOOL_UNAVAILABLE",
    502: "PAINTER_FAILED",
    503: "SERVICE_UNAVAILABLE",
    504: "TIMEOUT",
    507: "STORAGE_FULL",
}


def enveloped_proxy_codes(invalid_code: str) -> dict[int, str]:
    """For `Dialect.proxy_codes`."""
    return {**_CODES, 0: invalid_code}


_STATUSES: Final = {
    reasons.ERROR_REASON_KEY_MISSING: 401,
    reasons.ERROR_REASON_KEY_INVALID: 401,
    reasons.ERROR_REASON_KEY_RESTRICTED: 401,
    reasons.ERROR_REASON_ACCOUNT_NOT_FOUND: 401,
    reasons.ERROR_REASON_KEY_NOT_FOUND: 401,
    reasons.ERROR_REASON_FILE_TOO_LARGE: 413,
    reasons.ERROR_REASON_RESOLUTION_TOO_HIGH: 413,
    reasons.ERROR_REASON_INVALID_FILE_TYPE: 415,
}
ENVELOPED_ERROR: Final = (
    "EnvelopedError",
    closed_object(
        {"success": {"const": False}, "error": closed_object({"code": {"type": "string"}, "message": TEXT})}
    ),
)


def enveloped_error(answer: ErrorAnswer) -> object:
    """`{"success": false, "error": {"code", "message"}}` of the first error."""
    first = answer.errors[0]
    return {
        "success": False,
        "error": {"code": first["code"], "message": first.get("detail") or first["title"]},
    }


def enveloped(data: Mapping[str, Any]) -> dict[str, Any]:
    """`{"success": true, "data": …}`"""
    return {"success": True, "data": dict(data)}


def enveloped_schema(data: Schema) -> Schema:
    """That of `enveloped`."""
    return closed_object({"success": {"const": True}, "data": data})


def enveloped_errors(invalid_code: str) -> dict[Reason, PublicError]:
    """Every error in these providers' statuses and codes; `invalid_code` is that of 400 and its like."""
    told = {}
    for reason, public in PUBLIC_ERRORS.items():
        status = _STATUSES.get(reason, public.status)
        code = _CODES.get(status, invalid_code)
        told[reason] = PublicError(status, code, public.title, public.detail)
    return told
