"""bgeraser's removal at /v1/removebg: remove.bg's parameters with sizes, prices and errors of its own."""

from __future__ import annotations

from typing import Final

from matteworks.auth.v1 import plan_pb2
from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.compositor.v1 import compositor_pb2
from matteworks_common.settings import MEBIBYTE
from matteworks_edge.dialects.base import Dialect, Endpoint
from matteworks_edge.errors import PublicError, error_list
from matteworks_edge.fields.reader import Fields
from matteworks_edge.openapi.schemas import (
    CUTOUT_WITH_BOX,
    ERROR_LIST,
    FOREGROUND_HEADERS,
    WHOLE,
    closed_object,
)
from matteworks_edge.operations.catalogue import ACCOUNT, REMOVAL
from matteworks_edge.responses import cutout_with_box, foreground_headers
from matteworks_removal.offers import Size
from matteworks_removal.service import Removal

# Every call costs one credit, whatever the size.
_PREVIEW: Final = Size(1000, max_side_px=1024, is_free_call_eligible=True)
_FULL: Final = Size(1000, max_side_px=2048, is_free_call_eligible=True)
_KEY_INVALID: Final = PublicError(401, "authentication_error", "Invalid API key")
# The vendor's title for a spent quota speaks of rates too.
_QUOTA: Final = PublicError(402, "quota_exceeded", "Rate limit exceeded")
_RATE: Final = PublicError(429, "rate_limited", "Rate limit exceeded")


def _read_own_fields(_: Fields, options: compositor_pb2.RenderOptions) -> None:
    """The vendor's `bg_color` is for JPEG alone."""
    if options.format != compositor_pb2.OUTPUT_FORMAT_JPEG:
        options.ClearField("bg_color")


def _result_headers(removal: Removal) -> dict[str, str]:
    """What clients of remove.bg read stands beside the vendor's own. The charge is told as 1 whoever pays for
    it; only an equal upload, which shares the first one's charge, says 0.
    """
    size = removal.response.rendering.size
    return {
        "X-Width": str(size.width_px),
        "X-Height": str(size.height_px),
        **foreground_headers(removal),
        "X-Credits-Charged": "0" if removal.is_repeat else "1",
    }


def _queued_document(item_id: str) -> object:
    """With a `webhook_url` the result comes by webhook."""
    return {"data": {"id": item_id, "status": "processing"}}


BGERASER: Final = Dialect(
    name="bgeraser",
    prefix="/bgeraser",
    endpoints=(
        Endpoint("POST", "/v1/removebg", REMOVAL, "removeBackgroundBgeraser"),
        Endpoint("GET", "/v1/account", ACCOUNT, "getAccountBgeraser"),
    ),
    default_size="auto",
    default_format=compositor_pb2.OUTPUT_FORMAT_PNG,
    sizes={
        "auto": _FULL,
        "preview": _PREVIEW,
        "full": _FULL,
        # Names of remove.bg, as near as the vendor's own two come.
        "small": _PREVIEW,
        "regular": _PREVIEW,
        "medium": _FULL,
        "hd": _FULL,
        "4k": _FULL,
        "50mp": _FULL,
    },
    preview=_PREVIEW,
    max_file_bytes=25 * MEBIBYTE,
    width_header="X-Image-Width",
    height_header="X-Image-Height",
    read_own_fields=_read_own_fields,
    result_headers=_result_headers,
    result_header_schemas={"X-Width": WHOLE, "X-Height": WHOLE, **FOREGROUND_HEADERS},
    error_document=error_list,
    error_schema=ERROR_LIST,
    result_document=cutout_with_box,
    result_schema=CUTOUT_WITH_BOX,
    rate_unit=plan_pb2.RATE_UNIT_REQUESTS,
    queued_document=_queued_document,
    queued_schema=closed_object(
        {"data": closed_object({"id": {"type": "string"}, "status": {"const": "processing"}})}
    ),
    rate_scope=plan_pb2.RATE_SCOPE_KEY,
    errors={
        reasons.ERROR_REASON_MISSING_SOURCE: PublicError(400, "missing_parameter", "Missing image_file"),
        reasons.ERROR_REASON_KEY_MISSING: _KEY_INVALID,
        reasons.ERROR_REASON_KEY_INVALID: _KEY_INVALID,
        reasons.ERROR_REASON_ACCOUNT_NOT_FOUND: _KEY_INVALID,
        reasons.ERROR_REASON_KEY_NOT_FOUND: _KEY_INVALID,
        reasons.ERROR_REASON_INSUFFICIENT_CREDITS: _QUOTA,
        reasons.ERROR_REASON_QUOTA_EXCEEDED: _QUOTA,
        reasons.ERROR_REASON_RATE_LIMIT_EXCEEDED: _RATE,
        reasons.ERROR_REASON_CONCURRENCY_LIMIT_EXCEEDED: _RATE,
        reasons.ERROR_REASON_ROUTE_NOT_FOUND: PublicError(404, "not_found", "Not found"),
        reasons.ERROR_REASON_INTERNAL: PublicError(500, "internal_error", "Internal processing error"),
    },
)
