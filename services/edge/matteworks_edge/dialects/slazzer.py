"""Slazzer's API v2.0: /v2.0/remove_image_background."""

from __future__ import annotations

from typing import Final

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.compositor.v1 import compositor_pb2
from matteworks_edge.dialects.base import Dialect, Endpoint
from matteworks_edge.errors import ErrorAnswer, PublicError
from matteworks_edge.fields.reader import Fields
from matteworks_edge.openapi.schemas import BOOLEAN, TEXT, closed_object
from matteworks_edge.operations.catalogue import REMOVAL
from matteworks_removal.offers import Size

_PREVIEW: Final = Size(250, max_pixels=250_000, is_free_call_eligible=True)
_KEY_INVALID: Final = PublicError(401, "invalid_key", "invalid api key")
_RATE_LIMIT: Final = PublicError(429, "rate_limit", "Api rate limit crossed")


def _size_name(fields: Fields) -> str | None:
    """There is no size but a switch: the preview, or the whole picture."""
    return "preview" if fields.boolean("preview", False) else "full"


def _error_document(answer: ErrorAnswer) -> object:
    return {"error": answer.sentence}


SLAZZER: Final = Dialect(
    name="slazzer",
    prefix="/slazzer",
    endpoints=(Endpoint("POST", "/v2.0/remove_image_background", REMOVAL, "removeBackgroundSlazzer"),),
    default_size="full",
    default_format=compositor_pb2.OUTPUT_FORMAT_PNG,
    sizes={"preview": _PREVIEW, "full": Size(1000, max_pixels=50_000_000)},
    preview=_PREVIEW,
    width_header="X-Width",
    height_header="X-Height",
    key_header="API-KEY",
    field_names={
        "source_image_file": "image_file",
        "source_image_url": "image_url",
        "source_image_base64": "image_file_b64",
        "bg_color_code": "bg_color",
        "bg_image_base64": "bg_image_file_b64",
        "channel": "channels",
    },
    size_name=_size_name,
    own_fields={
        "preview": {**BOOLEAN, "default": False, "description": "Whether 0.25 megapixels are enough."},
        "bg_image_file_b64": {"type": "string", "description": "Picture behind the subject, in base64."},
    },
    errors={
        reasons.ERROR_REASON_MISSING_SOURCE: PublicError(
            400, "missing_source", "Source image file not found"
        ),
        reasons.ERROR_REASON_KEY_MISSING: _KEY_INVALID,
        reasons.ERROR_REASON_KEY_INVALID: _KEY_INVALID,
        reasons.ERROR_REASON_INSUFFICIENT_CREDITS: PublicError(
            402, "insufficient_credits", "No credits remaining"
        ),
        reasons.ERROR_REASON_RATE_LIMIT_EXCEEDED: _RATE_LIMIT,
        reasons.ERROR_REASON_CONCURRENCY_LIMIT_EXCEEDED: _RATE_LIMIT,
        reasons.ERROR_REASON_QUOTA_EXCEEDED: _RATE_LIMIT,
    },
    error_document=_error_document,
    error_schema=("ErrorSentence", closed_object({"error": TEXT})),
)
