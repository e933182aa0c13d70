"""BackgroundErase's API v2: /v2, its account and its health."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any, Final

from matteworks.auth.v1 import plan_pb2
from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.compositor.v1 import compositor_pb2
from matteworks_common.errors import Reason
from matteworks_common.settings import MEBIBYTE
from matteworks_edge.dialects.base import Dialect, Endpoint
from matteworks_edge.errors import PUBLIC_ERRORS, ErrorAnswer, PublicError
from matteworks_edge.fields.css_colors import parse_css_color
from matteworks_edge.fields.reader import Fields
from matteworks_edge.intake.body import LEGACY_FIELD
from matteworks_edge.openapi.schemas import BOOLEAN, TEXT, WHOLE, closed_object
from matteworks_edge.operations.catalogue import HEALTH, REMOVAL, key_report
from matteworks_edge.operations.key_report import KeyReport
from matteworks_removal.offers import Size
from matteworks_removal.service import Removal

_FULL: Final = Size(1000, max_pixels=50_000_000)
_FORMATS: Final = {
    "png": compositor_pb2.OUTPUT_FORMAT_PNG,
    "jpg": compositor_pb2.OUTPUT_FORMAT_JPEG,
    "jpeg": compositor_pb2.OUTPUT_FORMAT_JPEG,
    "webp": compositor_pb2.OUTPUT_FORMAT_WEBP,
    "bmp": compositor_pb2.OUTPUT_FORMAT_BMP,
    "tiff": compositor_pb2.OUTPUT_FORMAT_TIFF,
    "tif": compositor_pb2.OUTPUT_FORMAT_TIFF,
    "gif": compositor_pb2.OUTPUT_FORMAT_GIF,
    # Ours.
    "avif": compositor_pb2.OUTPUT_FORMAT_AVIF,
    "webp_lossless": compositor_pb2.OUTPUT_FORMAT_WEBP_LOSSLESS,
}
_FORMAT_NAMES: Final = {value: name for name, value in reversed(_FORMATS.items())}
# What this API calls `bg_color` has a wider grammar than the field that we call so.
_COLOR_FIELD: Final = "css_color"
_GREEN: Final = compositor_pb2.Color(red=0, green=255, blue=0, alpha=255)


def _read_own_fields(fields: Fields, options: compositor_pb2.RenderOptions) -> None:
    color = fields.read(_COLOR_FIELD, parse_css_color, None)
    despills = fields.boolean("despill", False)
    if fields.text(LEGACY_FIELD) and not fields.text("channels"):
        options.channels = compositor_pb2.CHANNELS_ALPHA
    if options.channels == compositor_pb2.CHANNELS_ALPHA:
        return
    if color is not None:
        options.bg_color.CopyFrom(color)
    if despills:
        options.despill = True
        options.despill_color.CopyFrom(_GREEN)


def _answers_json(fields: Fields) -> bool:
    """The oldest way to send a picture has the oldest answer."""
    return fields.text(LEGACY_FIELD) is not None


def _result_document(removal: Removal) -> bytes:
    rendering = removal.response.rendering
    is_mask = removal.options.channels == compositor_pb2.CHANNELS_ALPHA
    # Joined by hand: base64 needs no escaping, and the text may be large.
    facts = {
        "format": _FORMAT_NAMES[rendering.format],
        "channels": "alpha" if is_mask else "rgba",
        "width": rendering.size.width_px,
        "height": rendering.size.height_px,
    }
    rest = json.dumps(facts, separators=(",", ":")).encode()[1:]
    return b"".join((b'{"status":"ok","image":"', base64.b64encode(rendering.image), b'",', rest))


_RESULT: Final = closed_object(
    {
        "status": {"const": "ok"},
        "image": {"type": "string", "contentEncoding": "base64"},
        "format": {"enum": list(dict.fromkeys(_FORMAT_NAMES.values()))},
        "channels": {"enum": ["rgba", "alpha"]},
        "width": WHOLE,
        "height": WHOLE,
    }
)


def _account_document(report: KeyReport) -> dict[str, Any]:
    # Keyed by the key itself, which has more entropy than anybody can try.
    fingerprint = hmac.new(report.api_key.encode(), b"fingerprint", hashlib.sha256).hexdigest()
    return {
        "status": "ok",
        "api_key": {
            "valid": True,
            "mode": "synthetic" if report.is_test else "live",
            "fingerprint": f"tok_fp_{fingerprint[:12]}",
        },
        "account": {
            "email": report.account.email,
            "plan": report.plan.display_name or report.plan.name,
            "subscription_status": "active" if report.can_spend else "inactive",
            "billing_model": "metered_monthly",
            "usage_unit": "image",
        },
    }


_ACCOUNT: Final = closed_object(
    {
        "status": {"const": "ok"},
        "api_key": closed_object(
            {"valid": {"const": True}, "mode": {"enum": ["live", "synthetic"]}, "fingerprint": TEXT}
        ),
        "account": closed_object(
            {
                "email": TEXT,
                "plan": TEXT,
                "subscription_status": {"enum": ["active", "inactive"]},
                "billing_model": {"const": "metered_monthly"},
                "usage_unit": {"const": "image"},
            }
        ),
    }
)


def _error_document(answer: ErrorAnswer) -> object:
    first = answer.errors[0]
    return {
        "error": {
            "code": first["code"],
            "message": answer.sentence,
            "status": answer.status,
            "request_id": answer.request_id,
            "details": {},
        }
    }


_ERROR: Final = closed_object(
    {
        "error": closed_object(
            {
                "code": TEXT,
                "message": TEXT,
                "status": {"type": "integer"},
                "request_id": TEXT,
                "details": {"type": "object"},
            }
        )
    }
)

_CODES: Final = {
    400: "invalid_parameter",
    401: "invalid_api_key",
    403: "subscription_inactive",
    413: "image_too_large",
    415: "unsupported_media_type",
    429: "rate_limited",
    500: "internal_error",
    502: "service_unavailable",
    503: "service_unavailable",
    504: "timeout",
}
_KEY_INVALID: Final = PublicError(401, "invalid_api_key", "The API key is not valid")
_TOO_LARGE: Final = PublicError(413, "image_too_large", "image too large (>{limit_mb} MB).")
_INVALID_IMAGE: Final = PublicError(400, "invalid_image", "The image could not be read", "")
_DOWNLOAD: Final = PublicError(400, "image_download_failed", "The image could not be downloaded", "")
_RATE: Final = PublicError(429, "rate_limited", "Rate limit exceeded", "")
_OWN_ERRORS: Final = {
    reasons.ERROR_REASON_MISSING_SOURCE: PublicError(400, "missing_image", "Send an image", ""),
    reasons.ERROR_REASON_MULTIPLE_SOURCES: PublicError(400, "multiple_images", "Send one image", ""),
    reasons.ERROR_REASON_FAILED_TO_READ_IMAGE: _INVALID_IMAGE,
    reasons.ERROR_REASON_INVALID_FILE_TYPE: _INVALID_IMAGE,
    reasons.ERROR_REASON_INVALID_DIMENSIONS: _INVALID_IMAGE,
    reasons.ERROR_REASON_UNKNOWN_FOREGROUND: _INVALID_IMAGE,
    reasons.ERROR_REASON_INVALID_IMAGE_URL: _DOWNLOAD,
    reasons.ERROR_REASON_FAILED_IMAGE_DOWNLOAD: _DOWNLOAD,
    reasons.ERROR_REASON_FILE_TOO_LARGE: _TOO_LARGE,
    reasons.ERROR_REASON_RESOLUTION_TOO_HIGH: PublicError(
        413, "image_too_large", "image too large (>50 megapixels)."
    ),
    reasons.ERROR_REASON_MALFORMED_BODY: PublicError(
        415, "unsupported_media_type", "The request body could not be read", ""
    ),
    reasons.ERROR_REASON_KEY_MISSING: PublicError(401, "invalid_api_key", "The API key is missing"),
    reasons.ERROR_REASON_KEY_INVALID: _KEY_INVALID,
    reasons.ERROR_REASON_KEY_NOT_FOUND: _KEY_INVALID,
    reasons.ERROR_REASON_ACCOUNT_NOT_FOUND: _KEY_INVALID,
    reasons.ERROR_REASON_KEY_RESTRICTED: PublicError(
        401, "invalid_api_key", "The API key may not be used here", ""
    ),
    # A good key that may not spend.
    reasons.ERROR_REASON_INSUFFICIENT_CREDITS: PublicError(
        403, "subscription_inactive", "The account has no credits left"
    ),
    reasons.ERROR_REASON_QUOTA_EXCEEDED: PublicError(403, "quota_exceeded", "The quota is used up", ""),
    reasons.ERROR_REASON_RATE_LIMIT_EXCEEDED: _RATE,
    reasons.ERROR_REASON_CONCURRENCY_LIMIT_EXCEEDED: _RATE,
}


def _told(reason: Reason, public: PublicError) -> PublicError:
    own = _OWN_ERRORS.get(reason)
    if own is not None:
        return own
    # Statuses that this API has not keep their own code.
    code = public.code if public.status in (404, 405, 408, 409, 422, 507) else _CODES.get(public.status)
    return PublicError(public.status, code or public.code, public.title, public.detail)


BACKGROUNDERASE: Final = Dialect(
    name="backgrounderase",
    prefix="/backgrounderase",
    endpoints=(
        Endpoint("POST", "/v2", REMOVAL, "removeBackgroundBackgrounderase"),
        Endpoint("GET", "/v2/account", key_report(_account_document, _ACCOUNT), "getAccountBackgrounderase"),
        Endpoint("GET", "/v2/health", HEALTH, "getVersionHealthBackgrounderase"),
        Endpoint("GET", "/health", HEALTH, "getHealthBackgrounderase"),
        Endpoint("GET", "/", HEALTH, "getRootHealthBackgrounderase"),
    ),
    default_size="full",
    default_format=compositor_pb2.OUTPUT_FORMAT_PNG,
    sizes={
        "preview": Size(1000, max_pixels=250_000),
        "medium": Size(1000, max_pixels=1_500_000),
        "hd": Size(1000, max_pixels=4_000_000),
        "full": _FULL,
        "auto": _FULL,
    },
    preview=Size(1000, max_pixels=250_000),
    formats=_FORMATS,
    known_fields=frozenset({"format", "channels", "size", "crop"}),
    field_names={"image": LEGACY_FIELD, "bg_color": _COLOR_FIELD},
    read_own_fields=_read_own_fields,
    own_fields={
        "image_base64": {"type": "string", "description": "Picture in base64; image_file_b64 is an alias."},
        LEGACY_FIELD: {
            "type": "string",
            "description": "Picture in base64; the answer is JSON, the mask unless `channels` says else.",
        },
        _COLOR_FIELD: {
            **TEXT,
            "description": "Colour behind the subject in any notation of CSS; not with channels=alpha.",
        },
        "despill": {
            **BOOLEAN,
            "default": False,
            "description": "Whether green light of a backdrop is taken out of the subject; not with "
            "channels=alpha.",
        },
    },
    key_parameter="api_key",
    takes_raw_body=True,
    max_file_bytes=30 * MEBIBYTE,
    width_header="X-Width",
    height_header="X-Height",
    answers_json=_answers_json,
    result_document=_result_document,
    result_schema=_RESULT,
    error_document=_error_document,
    error_schema=("ServiceError", _ERROR),
    errors={reason: _told(reason, public) for reason, public in PUBLIC_ERRORS.items()},
    proxy_codes=_CODES,
    rate_unit=plan_pb2.RATE_UNIT_REQUESTS,
)
