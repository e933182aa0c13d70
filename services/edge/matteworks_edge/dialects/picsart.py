"""Picsart's API 1.0: /tools/1.0/removebg, whose result is always told by URL."""

from __future__ import annotations

from typing import Any, Final

from matteworks.auth.v1 import plan_pb2
from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.compositor.v1 import compositor_pb2
from matteworks_common.errors import InvalidField
from matteworks_edge.dialects.base import Dialect, Endpoint
from matteworks_edge.errors import ErrorAnswer, PublicError
from matteworks_edge.fields.parameters import parse_whole_number
from matteworks_edge.fields.reader import Fields
from matteworks_edge.openapi.schemas import TEXT, WHOLE, closed_object
from matteworks_edge.operations.catalogue import stored_removal
from matteworks_edge.operations.stored.cutout import StoredCutout
from matteworks_removal.offers import Size

_FULL: Final = Size(1000, max_pixels=50_000_000)
_FORMATS: Final = {
    "png": compositor_pb2.OUTPUT_FORMAT_PNG,
    "jpg": compositor_pb2.OUTPUT_FORMAT_JPEG,
    "webp": compositor_pb2.OUTPUT_FORMAT_WEBP,
}
_CHANNELS: Final = {"cutout": compositor_pb2.CHANNELS_RGBA, "mask": compositor_pb2.CHANNELS_ALPHA}
_SHADOWS: Final = (
    "disabled", "custom",
    "bottom-right", "bottom", "bottom-left", "left", "right", "top-left", "top", "top-right",
)  # fmt: skip
# What we do not draw, and the value that means without it.
_NOT_DRAWN: Final = {"bg_blur": "0", "stroke_size": "0", "bg_width": "", "bg_height": "", "image_id": ""}


def _read_own_fields(fields: Fields, options: compositor_pb2.RenderOptions) -> None:
    options.channels = fields.read("output_type", _parse_output_type, compositor_pb2.CHANNELS_RGBA)
    if fields.read("shadow", _parse_shadow, "disabled") != "disabled":
        opacity = fields.read("shadow_opacity", _parse_opacity, 20)
        options.shadows.append(
            compositor_pb2.Shadow(shadow_type=compositor_pb2.SHADOW_TYPE_DROP, opacity_percent=opacity)
        )
    for name, without in _NOT_DRAWN.items():
        value = (fields.text(name) or without).strip()
        if value != without:
            fields.errors.append(InvalidField(name, f"Leave {name} out: this server does not do that."))


def _parse_output_type(text: str) -> compositor_pb2.Channels.ValueType:
    value = _CHANNELS.get(text.strip().lower())
    if value is None:
        raise InvalidField("output_type", "Give cutout or mask.")
    return value


def _parse_shadow(text: str) -> str:
    value = text.strip().lower()
    if value not in _SHADOWS:
        raise InvalidField("shadow", f"Give one of {', '.join(_SHADOWS)}.")
    return value


def _parse_opacity(text: str) -> int:
    return parse_whole_number("shadow_opacity", text, 0, 100)


def _size_name(_: Fields) -> str:
    """Results have the size of the source."""
    return "full"


def _document(cutout: StoredCutout) -> dict[str, Any]:
    return {"status": "success", "data": {"id": cutout.result.result_id, "url": cutout.result.url}}


def _error_document(answer: ErrorAnswer) -> object:
    first = answer.errors[0]
    return {"code": answer.status, "message": first["title"], "detail": first.get("detail") or first["title"]}


_KEY_INVALID: Final = PublicError(401, "unauthorized", "Unauthorized", "")

PICSART: Final = Dialect(
    name="picsart",
    prefix="/picsart",
    endpoints=(
        Endpoint(
            "POST",
            "/tools/1.0/removebg",
            stored_removal(
                _document,
                closed_object(
                    {"status": {"const": "success"}, "data": closed_object({"id": TEXT, "url": TEXT})}
                ),
                url_lifetime_s=86_400.0,
            ),
            "removeBackgroundPicsart",
        ),
    ),
    default_size="full",
    default_format=compositor_pb2.OUTPUT_FORMAT_PNG,
    sizes={"full": _FULL},
    preview=_FULL,
    formats=_FORMATS,
    size_name=_size_name,
    width_header="X-Width",
    height_header="X-Height",
    key_header="X-Picsart-API-Key",
    known_fields=frozenset({"format", "bg_color", "bg_image_file", "bg_image_url", *_NOT_DRAWN}),
    field_names={"image": "image_file", "bg_image": "bg_image_file"},
    read_own_fields=_read_own_fields,
    own_fields={
        "output_type": {**TEXT, "default": "cutout", "examples": list(_CHANNELS)},
        "shadow": {
            **TEXT,
            "default": "disabled",
            "examples": list(_SHADOWS),
            "description": "Every direction is a soft shadow under the subject.",
        },
        "shadow_opacity": {**WHOLE, "maximum": 100, "default": 20},
    },
    header_aliases={
        "X-Picsart-Correlation-Id": "X-Request-Id",
        "X-Picsart-Ratelimit-Limit": "X-RateLimit-Limit",
        "X-Picsart-Ratelimit-Available": "X-RateLimit-Remaining",
        "X-Picsart-Ratelimit-Reset-Time": "X-RateLimit-Reset",
    },
    errors={
        reasons.ERROR_REASON_KEY_MISSING: _KEY_INVALID,
        reasons.ERROR_REASON_KEY_INVALID: _KEY_INVALID,
        reasons.ERROR_REASON_ACCOUNT_NOT_FOUND: _KEY_INVALID,
        reasons.ERROR_REASON_FILE_TOO_LARGE: PublicError(413, "payload_too_large", "File too large", ""),
        reasons.ERROR_REASON_RESOLUTION_TOO_HIGH: PublicError(
            413, "payload_too_large", "Image resolution too high", ""
        ),
        reasons.ERROR_REASON_INVALID_FILE_TYPE: PublicError(
            415, "unsupported_media_type", "Invalid file type", ""
        ),
    },
    error_document=_error_document,
    error_schema=(
        "CodeMessageDetail",
        closed_object({"code": {"type": "integer"}, "message": TEXT, "detail": TEXT}),
    ),
    rate_unit=plan_pb2.RATE_UNIT_REQUESTS,
)
