"""What each provider says to bad input: where its removal is, how it shapes an error, and which one it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Told = tuple[int, str | int]
KINDS = (
    "no key",
    "wrong key",
    "two sources",
    "no source",
    "no picture",
    "too large",
    "unknown word",
    "no credits",
    "too fast",
    "unknown path",
    "wrong method",
    "cut off",
)


@dataclass(frozen=True)
class Provider:
    """`told` has status and code for each of KINDS; where the document has no code, the sentence's start."""

    name: str
    path: str
    limit_mb: int
    word: tuple[str, str]
    code_of: Callable[[dict[str, Any]], str | int]
    told: tuple[Told, ...]
    file_field: str = "image_file"
    url_field: str = "image_url"
    key_header: str = "X-Api-Key"
    # Where a file too large is the plan's limit and not the provider's.
    plan: str = ""

    def expected(self, kind: str) -> Told:
        return self.told[KINDS.index(kind)]


def _listed(document: dict[str, Any]) -> str:
    assert list(document) == ["errors"]
    (error,) = document["errors"]
    assert list(error)[:2] == ["title", "code"]
    return str(error["code"])


def _enveloped(document: dict[str, Any]) -> str:
    assert list(document) == ["success", "error"]
    assert document["success"] is False
    assert list(document["error"]) == ["code", "message"]
    return str(document["error"]["code"])


def _service(document: dict[str, Any]) -> str:
    assert list(document) == ["error"]
    assert list(document["error"]) == ["code", "message", "status", "request_id", "details"]
    return str(document["error"]["code"])


def _detailed(document: dict[str, Any]) -> str:
    assert list(document) == ["detail", "status_code", "type"]
    return str(document["type"])


def _sentence(document: dict[str, Any]) -> str:
    assert list(document) == ["error"]
    return str(document["error"])


def _numbered(document: dict[str, Any]) -> int:
    assert list(document) == ["code", "message", "detail"]
    return int(document["code"])


_ENVELOPE_REST = (
    (402, "INSUFFICIENT_CREDITS"),
    (429, "RATE_LIMITED"),
    (404, "NOT_FOUND"),
    (405, "METHOD_NOT_ALLOWED"),
)
_NUMBERS = (401, 401, 400, 400, 415, 413, 400, 402, 429, 404, 405, 400)

PROVIDERS = (
    Provider(
        "remove.bg", "/v1.0/removebg", 22, ("size", "enormous"), _listed,
        (
            (403, "auth_failed"), (403, "auth_failed"), (400, "multiple_sources"), (400, "missing_source"),
            (400, "invalid_file_type"), (400, "file_too_large"), (400, "invalid_size"),
            (402, "insufficient_credits"), (429, "rate_limit_exceeded"), (404, "not_found"),
            (405, "method_not_allowed"), (400, "malformed_body"),
        ),
    ),
    Provider(
        "bgeraser", "/v1/removebg", 25, ("format", "psd"), _listed,
        (
            (401, "authentication_error"), (401, "authentication_error"), (400, "multiple_sources"),
            (400, "missing_parameter"), (400, "invalid_file_type"), (400, "file_too_large"),
            (400, "invalid_format"), (402, "quota_exceeded"), (429, "rate_limited"), (404, "not_found"),
            (405, "method_not_allowed"), (400, "malformed_body"),
        ),
    ),
    Provider(
        "bgeraser tools", "/api/tools/bg-removal", 25, ("format", "psd"), _enveloped,
        (
            (401, "INVALID_API_KEY"), (401, "INVALID_API_KEY"), (400, "INVALID_PARAMETER"),
            (400, "INVALID_PARAMETER"), (415, "UNSUPPORTED_FORMAT"), (413, "FILE_TOO_LARGE"),
            (400, "INVALID_PARAMETER"), *_ENVELOPE_REST, (400, "INVALID_PARAMETER"),
        ),
    ),
    Provider(
        "bgremover", "/v1/remove", 50, ("max_resolution", "8k"), _enveloped,
        (
            (401, "INVALID_API_KEY"), (401, "INVALID_API_KEY"), (400, "INVALID_REQUEST"),
            (400, "INVALID_REQUEST"), (415, "UNSUPPORTED_FORMAT"), (413, "FILE_TOO_LARGE"),
            (400, "INVALID_REQUEST"), *_ENVELOPE_REST, (400, "INVALID_REQUEST"),
        ),
    ),
    Provider(
        "bgremover, plan free", "/bgremover/v1/remove", 10, ("output_format", "gif"), _enveloped,
        (
            (401, "INVALID_API_KEY"), (401, "INVALID_API_KEY"), (400, "INVALID_REQUEST"),
            (400, "INVALID_REQUEST"), (415, "UNSUPPORTED_FORMAT"), (413, "FILE_TOO_LARGE"),
            (400, "INVALID_REQUEST"), *_ENVELOPE_REST, (400, "INVALID_REQUEST"),
        ),
        plan="bgremover-free",
    ),
    Provider(
        "backgrounderase", "/v2", 30, ("size", "enormous"), _service,
        (
            (401, "invalid_api_key"), (401, "invalid_api_key"), (400, "multiple_images"),
            (400, "missing_image"), (400, "invalid_image"), (413, "image_too_large"),
            (400, "invalid_parameter"), (403, "subscription_inactive"), (429, "rate_limited"),
            (404, "not_found"), (405, "method_not_allowed"), (415, "unsupported_media_type"),
        ),
    ),
    Provider(
        "photoroom", "/v1/segment", 30, ("size", "enormous"), _detailed,
        (
            (403, "auth_failed"), (403, "auth_failed"), (400, "multiple_sources"), (400, "missing_image"),
            (400, "invalid_file_type"), (400, "file_too_large"), (400, "invalid_size"),
            (402, "insufficient_credits"), (429, "rate_limit_exceeded"), (404, "not_found"),
            (405, "method_not_allowed"), (400, "malformed_body"),
        ),
    ),
    Provider(
        "clipdrop", "/remove-background/v1", 30, ("transparency_handling", "none"), _sentence,
        (
            (401, "No api key provided"), (403, "API Key invalid"), (400, "Multiple image sources"),
            (400, "No image given"), (400, "Invalid file type"), (400, "File too large"),
            (400, "Invalid transparency_handling"), (402, "Insufficient credits"),
            (429, "Rate limit exceeded"), (404, "Not found"), (405, "Method not allowed"),
            (400, "The request body could not be read"),
        ),
    ),
    Provider(
        "slazzer", "/v2.0/remove_image_background", 22, ("preview", "perhaps"), _sentence,
        (
            (401, "invalid api key"), (401, "invalid api key"), (400, "Multiple image sources"),
            (400, "Source image file not found"), (400, "Invalid file type"), (400, "File too large"),
            (400, "Invalid preview"), (402, "No credits remaining"), (429, "Api rate limit crossed"),
            (404, "Not found"), (405, "Method not allowed"), (400, "The request body could not be read"),
        ),
        file_field="source_image_file", url_field="source_image_url", key_header="API-KEY",
    ),
    Provider(
        "picsart", "/tools/1.0/removebg", 22, ("output_type", "both"), _numbered,
        tuple((number, number) for number in _NUMBERS),
        file_field="image", key_header="X-Picsart-API-Key",
    ),
)  # fmt: skip
