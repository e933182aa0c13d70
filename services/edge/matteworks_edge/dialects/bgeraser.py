"""bgeraser's removal at /v1/removebg: remove.bg's parameters with sizes, prices and errors of its own."""

from __future__ import annotations

from typing import Final

from matteworks.auth.v1 import plan_pb2
from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.compositor.v1 import compositor_pb2
from matteworks_edge.dialects.base import Dialect, Endpoint
from matteworks_edge.errors import PublicError, error_list
from matteworks_edge.openapi.schemas import CUTOUT_WITH_BOX, ERROR_LIST
from matteworks_edge.operations.catalogue import ACCOUNT, REMOVAL
from matteworks_edge.responses import cutout_with_box
from matteworks_removal.offers import Size

# Every call costs one credit, whatever the size.
_PREVIEW: Final = Size(1000, max_side_px=1024)
_FULL: Final = Size(1000, max_side_px=2048)

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
        "preview": _PREVIEW,
        "small": _PREVIEW,
        "regular": _PREVIEW,
        "medium": Size(1000, max_side_px=1536),
        "hd": _FULL,
        "full": _FULL,
        "4k": Size(1000, max_side_px=4096),
        "50mp": Size(1000, max_pixels=50_000_000),
        "auto": Size(1000, max_pixels=25_000_000),
    },
    preview=_PREVIEW,
    width_header="X-Image-Width",
    height_header="X-Image-Height",
    error_document=error_list,
    error_schema=ERROR_LIST,
    result_document=cutout_with_box,
    result_schema=CUTOUT_WITH_BOX,
    rate_unit=plan_pb2.RATE_UNIT_REQUESTS,
    rate_scope=plan_pb2.RATE_SCOPE_KEY,
    errors={
        reasons.ERROR_REASON_KEY_MISSING: PublicError(401, "authentication_error", "Missing API Key"),
        reasons.ERROR_REASON_KEY_INVALID: PublicError(401, "authentication_error", "API Key invalid"),
        reasons.ERROR_REASON_ACCOUNT_NOT_FOUND: PublicError(401, "authentication_error", "API Key invalid"),
        reasons.ERROR_REASON_INSUFFICIENT_CREDITS: PublicError(402, "quota_exceeded", "Insufficient credits"),
        reasons.ERROR_REASON_QUOTA_EXCEEDED: PublicError(402, "quota_exceeded", "Quota exceeded"),
        reasons.ERROR_REASON_RATE_LIMIT_EXCEEDED: PublicError(429, "rate_limited", "Rate limit exceeded"),
        reasons.ERROR_REASON_CONCURRENCY_LIMIT_EXCEEDED: PublicError(
            429, "rate_limited", "Too many requests at once"
        ),
    },
)
