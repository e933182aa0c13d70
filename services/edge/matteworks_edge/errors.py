"""The only table from ErrorReason to HTTP status, public code and title.

Titles may name metadata of the error in braces; a value that is missing is filled from `_MISSING`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.errors import InvalidField, MatteworksError, Reason


@dataclass(frozen=True, slots=True)
class PublicError:
    """How a reason is told. `detail` None: no detail; empty: the error's own message."""

    status: int
    code: str
    title: str
    detail: str | None = None


class InvalidRequest(Exception):
    """Everything that is wrong with one request, first things first; never empty."""

    def __init__(self, errors: Sequence[MatteworksError]) -> None:
        super().__init__("; ".join(error.message for error in errors))
        self.errors = tuple(errors)


class CallerGone(Exception):
    """The caller closed the connection before the answer was ready."""


def method_not_allowed() -> MatteworksError:
    """The path exists, not with this method."""
    return MatteworksError(
        reasons.ERROR_REASON_METHOD_NOT_ALLOWED, "This path does not answer to this method."
    )


def route_not_found() -> MatteworksError:
    """No such path."""
    return MatteworksError(reasons.ERROR_REASON_ROUTE_NOT_FOUND, "There is nothing at this path.")


def request_timeout() -> MatteworksError:
    """The sender was too slow."""
    return MatteworksError(
        reasons.ERROR_REASON_REQUEST_TIMEOUT, "The request did not arrive within the time allowed."
    )


def malformed_body(remedy: str) -> InvalidField:
    """The body cannot be parsed. `remedy` is one sentence, without the body's content."""
    return InvalidField("body", remedy, reason=reasons.ERROR_REASON_MALFORMED_BODY)


_KEY_INVALID = PublicError(403, "auth_failed", "API Key invalid")
_AWAY = PublicError(503, "service_unavailable", "Service temporarily unavailable", "")
_MODEL = PublicError(400, "invalid_model", "Invalid model parameter given", "")
_INTERNAL = PublicError(500, "internal_error", "Internal server error", "")
_RESERVATION = PublicError(
    503, "service_unavailable", "The request could not be settled; nothing was charged"
)

# Remove.bg's statuses, codes and titles where it has them; in its way where it has none.
PUBLIC_ERRORS: Final[Mapping[Reason, PublicError]] = {
    reasons.ERROR_REASON_UNSPECIFIED: _INTERNAL,
    reasons.ERROR_REASON_MISSING_SOURCE: PublicError(
        400,
        "missing_source",
        "No image given",
        "Please provide the source image in the image_url, image_file or image_file_b64 parameter.",
    ),
    reasons.ERROR_REASON_MULTIPLE_SOURCES: PublicError(
        400,
        "multiple_sources",
        "Multiple image sources given: Please provide either the image_url, image_file or image_file_b64 "
        "parameter.",
    ),
    reasons.ERROR_REASON_INVALID_IMAGE_URL: PublicError(
        400, "invalid_image_url", "Invalid image_url: Please provide a valid URL.", ""
    ),
    reasons.ERROR_REASON_FAILED_IMAGE_DOWNLOAD: PublicError(
        400, "failed_image_download", "Failed to download image from given image_url: {cause}"
    ),
    reasons.ERROR_REASON_FAILED_TO_READ_IMAGE: PublicError(
        400, "failed_to_read_image", "There was an error reading the image."
    ),
    reasons.ERROR_REASON_INVALID_FILE_TYPE: PublicError(
        400, "invalid_file_type", "Invalid file type", "Expected jpg/png/webp, received {received}"
    ),
    reasons.ERROR_REASON_INVALID_DIMENSIONS: PublicError(
        400,
        "invalid_dimensions",
        "Failed to read image dimensions",
        "The dimensions of the given image could not be read.",
    ),
    reasons.ERROR_REASON_FILE_TOO_LARGE: PublicError(
        400, "file_too_large", "File too large", "File exceeds limit of {limit_mb}MB"
    ),
    reasons.ERROR_REASON_RESOLUTION_TOO_HIGH: PublicError(
        400,
        "resolution_too_high",
        "Image resolution too high",
        "Input image has {megapixels} megapixels, maximum supported input resolution is 50 megapixels",
    ),
    reasons.ERROR_REASON_UNKNOWN_FOREGROUND: PublicError(
        400,
        "unknown_foreground",
        "Could not identify foreground in image. For details and recommendations see /docs.",
    ),
    reasons.ERROR_REASON_INVALID_SIZE: PublicError(
        400, "invalid_size", "Invalid value for parameter 'size'", ""
    ),
    reasons.ERROR_REASON_INVALID_CHANNELS: PublicError(
        400, "invalid_channels", "Invalid value for parameter 'channels'", ""
    ),
    reasons.ERROR_REASON_INVALID_FORMAT: PublicError(
        400, "invalid_format", "Invalid format parameter given", ""
    ),
    reasons.ERROR_REASON_INVALID_ROI: PublicError(400, "invalid_roi", "Invalid roi parameter given", ""),
    reasons.ERROR_REASON_ROI_EXCEEDS_BOUNDS: PublicError(
        400,
        "roi_exceeds_bounds",
        "ROI exceeds image bounds",
        "The given roi parameter defines a region that exceeds the image bounds",
    ),
    reasons.ERROR_REASON_ROI_REGION_EMPTY: PublicError(
        400, "roi_region_empty", "ROI region is empty", "The given roi parameter defines an empty region"
    ),
    reasons.ERROR_REASON_INVALID_CROP_MARGIN: PublicError(
        400, "invalid_crop_margin", "Invalid crop_margin parameter given", ""
    ),
    reasons.ERROR_REASON_INVALID_SCALE: PublicError(
        400, "invalid_scale", "Invalid scale parameter given", ""
    ),
    reasons.ERROR_REASON_INVALID_POSITION: PublicError(
        400, "invalid_position", "Invalid position parameter given", ""
    ),
    reasons.ERROR_REASON_INVALID_SEMITRANSPARENCY: PublicError(
        400, "invalid_semitransparency", "Invalid semitransparency parameter given", ""
    ),
    reasons.ERROR_REASON_INVALID_BG_COLOR: PublicError(
        400, "invalid_bg_color", "Invalid bg_color parameter given", ""
    ),
    reasons.ERROR_REASON_INVALID_BG_IMAGE_URL: PublicError(
        400, "invalid_bg_image_url", "Invalid bg_image_url: Please provide a valid URL.", ""
    ),
    # The vendor writes image_url here too, and clients match on the text.
    reasons.ERROR_REASON_FAILED_BG_DOWNLOAD: PublicError(
        400, "failed_bg_download", "Failed to download background image from given image_url: {cause}"
    ),
    reasons.ERROR_REASON_MULTIPLE_BG_SOURCES: PublicError(
        400,
        "multiple_bg_sources",
        "Multiple background sources given: Please provide either the bg_color, the bg_image_url or the "
        "bg_image_file parameter.",
    ),
    reasons.ERROR_REASON_INVALID_SHADOW_TYPE: PublicError(
        400, "invalid_shadow_type", "Invalid shadow_type parameter given", ""
    ),
    reasons.ERROR_REASON_INVALID_SHADOW_OPACITY: PublicError(
        400, "invalid_shadow_opacity", "Invalid shadow_opacity parameter given", ""
    ),
    reasons.ERROR_REASON_INVALID_ARGUMENT: PublicError(
        400, "invalid_parameter", "Invalid {field} parameter given", ""
    ),
    reasons.ERROR_REASON_MALFORMED_BODY: PublicError(
        400, "malformed_body", "The request body could not be read", ""
    ),
    reasons.ERROR_REASON_KEY_MISSING: PublicError(403, "auth_failed", "Missing API Key"),
    reasons.ERROR_REASON_KEY_INVALID: _KEY_INVALID,
    # Administration is not reachable through the edge; the reason has its line for completeness.
    reasons.ERROR_REASON_ADMIN_TOKEN_INVALID: PublicError(403, "auth_failed", "Administration token invalid"),
    # An account that vanished between two calls is, to its caller, a key that ended.
    reasons.ERROR_REASON_ACCOUNT_NOT_FOUND: _KEY_INVALID,
    reasons.ERROR_REASON_KEY_NOT_FOUND: _KEY_INVALID,
    reasons.ERROR_REASON_PLAN_NOT_FOUND: _INTERNAL,
    reasons.ERROR_REASON_ACCOUNT_EXISTS: _INTERNAL,
    reasons.ERROR_REASON_KEY_RESTRICTED: PublicError(
        403, "auth_failed", "The API Key may not be used here", ""
    ),
    reasons.ERROR_REASON_INSUFFICIENT_CREDITS: PublicError(
        402, "insufficient_credits", "Insufficient credits"
    ),
    reasons.ERROR_REASON_RATE_LIMIT_EXCEEDED: PublicError(429, "rate_limit_exceeded", "Rate limit exceeded"),
    reasons.ERROR_REASON_CONCURRENCY_LIMIT_EXCEEDED: PublicError(
        429, "rate_limit_exceeded", "Rate limit exceeded", "Too many requests of this account are in flight"
    ),
    reasons.ERROR_REASON_QUOTA_EXCEEDED: PublicError(
        429, "rate_limit_exceeded", "Rate limit exceeded", "The quota of the plan is used up"
    ),
    reasons.ERROR_REASON_RESERVATION_NOT_FOUND: _RESERVATION,
    reasons.ERROR_REASON_RESERVATION_RELEASED: _RESERVATION,
    reasons.ERROR_REASON_REQUEST_ID_REUSED: _INTERNAL,
    reasons.ERROR_REASON_IDEMPOTENCY_KEY_REUSED: PublicError(
        422, "idempotency_key_reused", "The Idempotency-Key was used for another request", ""
    ),
    reasons.ERROR_REASON_IDEMPOTENCY_KEY_IN_USE: PublicError(
        409, "idempotency_key_in_use", "The first request with this Idempotency-Key still runs", ""
    ),
    reasons.ERROR_REASON_STORE_UNAVAILABLE: _AWAY,
    reasons.ERROR_REASON_OVERLOADED: PublicError(503, "overloaded", "The service is at its limit", ""),
    reasons.ERROR_REASON_DEADLINE_EXCEEDED: PublicError(
        504, "deadline_exceeded", "The request took too long", ""
    ),
    reasons.ERROR_REASON_MODEL_NOT_FOUND: _MODEL,
    reasons.ERROR_REASON_MODEL_NOT_LOADED: _MODEL,
    reasons.ERROR_REASON_ENGINE_FAILED: _AWAY,
    reasons.ERROR_REASON_SERVICE_UNAVAILABLE: _AWAY,
    reasons.ERROR_REASON_INTERNAL: _INTERNAL,
    # Nobody is left to read this; the status is what the access log shows.
    reasons.ERROR_REASON_CANCELLED: PublicError(499, "cancelled", "The caller went away"),
    reasons.ERROR_REASON_ROUTE_NOT_FOUND: PublicError(404, "not_found", "Not found", ""),
    reasons.ERROR_REASON_METHOD_NOT_ALLOWED: PublicError(405, "method_not_allowed", "Method not allowed", ""),
    reasons.ERROR_REASON_REQUEST_TIMEOUT: PublicError(408, "request_timeout", "Request timeout", ""),
    reasons.ERROR_REASON_CONSENT_REQUIRED: PublicError(
        403, "consent_required", "Submissions are not collected here", ""
    ),
    reasons.ERROR_REASON_INVALID_BATCH_SIZE: PublicError(
        400, "invalid_batch_size", "Wrong number of pictures", ""
    ),
    reasons.ERROR_REASON_BATCH_NOT_FOUND: PublicError(404, "not_found", "Batch ID not found"),
    reasons.ERROR_REASON_ITEM_NOT_FOUND: PublicError(404, "not_found", "Not found", ""),
    reasons.ERROR_REASON_RESULT_NOT_FOUND: PublicError(
        404, "not_found", "Image not found or already deleted"
    ),
    reasons.ERROR_REASON_RESULT_URL_INVALID: PublicError(
        403, "url_invalid", "The URL has expired or was altered"
    ),
    reasons.ERROR_REASON_RESULT_STORE_FULL: PublicError(
        507, "storage_full", "The store of results is full", ""
    ),
    reasons.ERROR_REASON_INVALID_WEBHOOK_URL: PublicError(
        400, "invalid_webhook_url", "Invalid webhook_url", ""
    ),
    reasons.ERROR_REASON_WEBHOOK_ENDPOINT_NOT_FOUND: PublicError(404, "not_found", "Not found", ""),
    reasons.ERROR_REASON_WEBHOOK_DELIVERY_NOT_FOUND: PublicError(404, "not_found", "Not found", ""),
    reasons.ERROR_REASON_TOOL_UNAVAILABLE: PublicError(
        501, "tool_unavailable", "This tool is not installed here", ""
    ),
    reasons.ERROR_REASON_PAINTER_FAILED: PublicError(
        502, "painter_failed", "The generative server failed", ""
    ),
    reasons.ERROR_REASON_TOO_MANY_WEBHOOK_ENDPOINTS: PublicError(
        409, "too_many_webhook_endpoints", "Too many webhook endpoints", ""
    ),
}
_MISSING: Final = {
    "cause": "unknown reason",
    "received": "unknown",
    "megapixels": "more than 50",
    "limit_mb": "22",
}
_RETRIED: Final = (429, 503)
# What is not installed does not come by itself, and what a generative server failed at may cost each time.
_USELESS_TO_REPEAT: Final = (501, 502)


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """Status, errors with `title`, `code` and perhaps `detail`, and extra headers of a failed request."""

    status: int
    errors: tuple[dict[str, str], ...]
    headers: dict[str, str]
    request_id: str = ""
    # The field that the first error is about; empty: none.
    field: str = ""

    @property
    def sentence(self) -> str:
        """The first error, which decided the status, for documents that have room for one."""
        first = self.errors[0]
        return ": ".join(first[name] for name in ("title", "detail") if name in first)


def error_list(answer: ErrorAnswer) -> object:
    """`{"errors": [{"title", "code", "detail"?}]}`"""
    return {"errors": list(answer.errors)}


def answer_for(
    errors: Sequence[MatteworksError], overrides: Mapping[Reason, PublicError], request_id: str = ""
) -> ErrorAnswer:
    """The public form of `errors`; the first one decides the status.

    429 and 503 always carry an integer Retry-After of at least one second.
    """
    told = tuple(_tell(error, overrides) for error in errors)
    status = _public(errors[0], overrides).status
    headers = {}
    if status in _RETRIED:
        headers["Retry-After"] = str(max(1, math.ceil(errors[0].retry_after_s or 1)))
    if status in _USELESS_TO_REPEAT:
        # Clients of OpenAI repeat whatever fails at the server, unless they are told not to.
        headers["X-Should-Retry"] = "false"
    return ErrorAnswer(status, told, headers, request_id, errors[0].field)


def _public(error: MatteworksError, overrides: Mapping[Reason, PublicError]) -> PublicError:
    return overrides.get(error.reason) or PUBLIC_ERRORS.get(error.reason, _INTERNAL)


def _tell(error: MatteworksError, overrides: Mapping[Reason, PublicError]) -> dict[str, str]:
    public = _public(error, overrides)
    values = {**_MISSING, **error.metadata, "field": error.field or "request"}
    told = {"title": public.title.format_map(values), "code": public.code}
    if public.detail is not None:
        told["detail"] = public.detail.format_map(values) if public.detail else error.message
    return told
