"""bgeraser's tools at /api/tools/*: removal and editing, results by signed URL for a day."""

from __future__ import annotations

from typing import Any, Final

from matteworks.auth.v1 import plan_pb2
from matteworks.compositor.v1 import compositor_pb2
from matteworks_common.settings import MEBIBYTE
from matteworks_edge.dialects.base import Dialect, Endpoint
from matteworks_edge.dialects.envelope import (
    ENVELOPED_ERROR,
    enveloped,
    enveloped_error,
    enveloped_errors,
    enveloped_proxy_codes,
    enveloped_schema,
)
from matteworks_edge.fields.reader import Fields
from matteworks_edge.openapi.schemas import TEXT, WHOLE, closed_object
from matteworks_edge.operations.catalogue import stored_edit, stored_removal
from matteworks_edge.operations.editing.tools import BRUSH, CROP, EXPAND, FILL, SELECT, UPSCALE, Tool
from matteworks_edge.operations.stored.cutout import StoredCutout
from matteworks_removal.offers import Size

# As long as the provider's URLs work; the file goes with its URL.
_DAY_S: Final = 86_400.0
_FULL: Final = Size(1000, max_pixels=50_000_000)
_INVALID: Final = "INVALID_PARAMETER"
_FORMATS: Final = {
    "png": compositor_pb2.OUTPUT_FORMAT_PNG,
    "jpg": compositor_pb2.OUTPUT_FORMAT_JPEG,
    "jpeg": compositor_pb2.OUTPUT_FORMAT_JPEG,
    "webp": compositor_pb2.OUTPUT_FORMAT_WEBP,
}
_FORMAT_NAMES: Final = {
    compositor_pb2.OUTPUT_FORMAT_PNG: "png",
    compositor_pb2.OUTPUT_FORMAT_JPEG: "jpg",
    compositor_pb2.OUTPUT_FORMAT_WEBP: "webp",
}
_DATA: Final = {
    "imageUrl": TEXT,
    "width": WHOLE,
    "height": WHOLE,
    "format": {"enum": ["png", "jpg", "webp"]},
    "processingTimeMs": WHOLE,
}
_RESULT: Final = enveloped_schema(closed_object(_DATA))
_SELECTED: Final = enveloped_schema(closed_object({**_DATA, "maskUrl": TEXT}))


def _document(cutout: StoredCutout) -> dict[str, Any]:
    data = {
        "imageUrl": cutout.result.url,
        "width": cutout.width_px,
        "height": cutout.height_px,
        "format": _FORMAT_NAMES[cutout.format],
        "processingTimeMs": cutout.processing_time_ms,
    }
    return enveloped(data if cutout.mask is None else {**data, "maskUrl": cutout.mask.url})


def _size_name(_: Fields) -> str:
    """Results have the size of the source."""
    return "full"


def _tool(path: str, tool: Tool, operation_id: str) -> Endpoint:
    return Endpoint("POST", f"/api/tools/{path}", stored_edit(tool, _document, _RESULT, _DAY_S), operation_id)


BGERASER_TOOLS: Final = Dialect(
    name="bgeraser-tools",
    prefix="/bgeraser",
    provider="bgeraser",
    endpoints=(
        Endpoint(
            "POST",
            "/api/tools/bg-removal",
            stored_removal(_document, _RESULT, max_retention_s=_DAY_S),
            "toolBgRemoval",
        ),
        _tool("crop", CROP, "toolCrop"),
        _tool("generative-fill", FILL, "toolGenerativeFill"),
        _tool("generative-expand", EXPAND, "toolGenerativeExpand"),
        _tool("upscale", UPSCALE, "toolUpscale"),
        Endpoint(
            "POST",
            "/api/tools/magic-select",
            stored_edit(SELECT, _document, _SELECTED, _DAY_S),
            "toolMagicSelect",
        ),
        _tool("brush", BRUSH, "toolBrush"),
    ),
    roots=("/api/tools",),
    default_size="full",
    default_format=compositor_pb2.OUTPUT_FORMAT_PNG,
    sizes={"full": _FULL},
    preview=_FULL,
    formats=_FORMATS,
    size_name=_size_name,
    width_header="X-Width",
    height_header="X-Height",
    max_file_bytes=25 * MEBIBYTE,
    known_fields=frozenset({"format", "bg_color", "crop"}),
    field_names={"image": "image_file", "file": "image_file"},
    error_document=enveloped_error,
    error_schema=ENVELOPED_ERROR,
    errors=enveloped_errors(_INVALID),
    proxy_codes=enveloped_proxy_codes(_INVALID),
    rate_unit=plan_pb2.RATE_UNIT_REQUESTS,
)
