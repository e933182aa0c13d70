"""bgeraser's tools at /api/tools/*: removal and editing, results by signed URL for a day."""

from __future__ import annotations

from typing import Any, Final

from matteworks.auth.v1 import plan_pb2
from matteworks.compositor.v1 import compositor_pb2, edit_pb2
from matteworks_common.settings import MEBIBYTE
from matteworks_common.vocabulary import subject_type_name
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
from matteworks_edge.operations.catalogue import picture_edit, stored_edit, stored_removal, subject_list
from matteworks_edge.operations.editing.tools import (
    BRUSH,
    CROP,
    EXPAND,
    FILL,
    PUT_BACK,
    SELECT,
    SELECT_ONE,
    UPSCALE,
    Tool,
)
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
_SUBJECT_CUTOUT: Final = closed_object(
    {"subject": WHOLE, "imageUrl": TEXT, "maskUrl": TEXT, "width": WHOLE, "height": WHOLE}
)
_SELECTED: Final = enveloped_schema(
    {
        **closed_object({**_DATA, "maskUrl": TEXT}),
        "properties": {
            **_DATA,
            "maskUrl": TEXT,
            "subjects": {"type": "array", "minItems": 1, "items": _SUBJECT_CUTOUT},
        },
    }
)
_SHARE: Final = {"type": "number", "minimum": 0, "maximum": 1}
_LISTED: Final = enveloped_schema(
    closed_object(
        {
            "width": WHOLE,
            "height": WHOLE,
            "subjects": {
                "type": "array",
                "items": closed_object(
                    {
                        "subject": WHOLE,
                        "box": {"type": "array", "items": WHOLE, "minItems": 4, "maxItems": 4},
                        "type": TEXT,
                        "label": TEXT,
                        "score": _SHARE,
                        "coverage": _SHARE,
                    }
                ),
            },
        }
    )
)


def _document(cutout: StoredCutout) -> dict[str, Any]:
    data = {
        "imageUrl": cutout.result.url,
        "width": cutout.width_px,
        "height": cutout.height_px,
        "format": _FORMAT_NAMES[cutout.format],
        "processingTimeMs": cutout.processing_time_ms,
    }
    if cutout.mask is not None:
        data["maskUrl"] = cutout.mask.url
    if cutout.subjects:
        data["subjects"] = [
            {
                "subject": subject.number,
                "imageUrl": subject.result.url,
                "maskUrl": subject.mask.url,
                "width": subject.width_px,
                "height": subject.height_px,
            }
            for subject in cutout.subjects
        ]
    return enveloped(data)


def _listed(found: edit_pb2.ListSubjectsResponse) -> dict[str, Any]:
    subjects = [
        {
            "subject": one.number,
            "box": [
                one.box.left_px,
                one.box.top_px,
                one.box.left_px + one.box.width_px,
                one.box.top_px + one.box.height_px,
            ],
            "type": subject_type_name(one.subject.type),
            "label": one.label,
            "score": round(one.subject.confidence, 3),
            "coverage": round(one.coverage, 4),
        }
        for one in found.subjects
    ]
    return enveloped({"width": found.size.width_px, "height": found.size.height_px, "subjects": subjects})


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
        # Not the vendor's: the same with the cut-out itself as the answer, and nothing stored.
        Endpoint("POST", "/api/tools/magic-select/image", picture_edit(SELECT_ONE), "toolMagicSelectImage"),
        # Not the vendor's: what magic-select takes by number.
        Endpoint("POST", "/api/tools/subjects", subject_list(_listed, _LISTED), "toolSubjects"),
        _tool("brush", BRUSH, "toolBrush"),
        # Not the vendor's: the way back of a cut-out that was edited elsewhere.
        _tool("put-back", PUT_BACK, "toolPutBack"),
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
