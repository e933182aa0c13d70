"""remove.bg's API v1.0."""

from __future__ import annotations

from typing import Final

from matteworks.compositor.v1 import compositor_pb2
from matteworks_edge.dialects.base import Dialect, Endpoint
from matteworks_edge.errors import error_list
from matteworks_edge.openapi.additions import ADDED_FIELDS
from matteworks_edge.openapi.schemas import CUTOUT_WITH_BOX, ERROR_LIST, FOREGROUND_HEADERS, TEXT, WHOLE
from matteworks_edge.operations.catalogue import ACCOUNT, IMPROVE, REMOVAL
from matteworks_edge.responses import confidence_header, cutout_with_box, foreground_headers
from matteworks_imaging.header import ALL_FORMATS
from matteworks_removal.offers import Size
from matteworks_removal.service import Removal

PREVIEW: Final = Size(250, max_pixels=250_000, is_free_call_eligible=True)
_FULL: Final = Size(1000, max_pixels=25_000_000)


def _result_headers(removal: Removal) -> dict[str, str]:
    """The subject's box, and the size that a larger plan would have given."""
    rendering = removal.response.rendering
    widest = rendering.source_size if rendering.is_shrunk else rendering.size
    return {
        **foreground_headers(removal),
        "X-Max-Width": str(widest.width_px),
        "X-Max-Height": str(widest.height_px),
        # Empty when the file's own transparency was the matte.
        **({"X-Model": removal.response.model} if removal.response.model else {}),
        **confidence_header(removal),
    }


REMOVE_BG: Final = Dialect(
    name="remove.bg",
    prefix="/removebg",
    endpoints=(
        Endpoint("POST", "/v1.0/removebg", REMOVAL, "removeBackground"),
        Endpoint("GET", "/v1.0/account", ACCOUNT, "getAccount"),
        Endpoint("POST", "/v1.0/improve", IMPROVE, "improve"),
        # For clients of other providers whose account call is the same.
        Endpoint("GET", "/v1/account", ACCOUNT, "getAccountUnversioned"),
    ),
    default_size="preview",
    default_format=compositor_pb2.OUTPUT_FORMAT_AUTO,
    sizes={
        "preview": PREVIEW,
        "small": PREVIEW,
        "regular": PREVIEW,
        "medium": Size(1000, max_pixels=1_500_000),
        "hd": Size(1000, max_pixels=4_000_000),
        "full": _FULL,
        "4k": _FULL,
        "50mp": Size(1000, max_pixels=50_000_000),
        # Stays at 25 megapixels, as callers of the vendor's API know it.
        "auto": Size(1000, max_pixels=25_000_000, falls_back=True),
    },
    preview=PREVIEW,
    max_png_pixels=10_000_000,
    # Who sends an animation would get, and pay for, its first frame alone: the vendor's refusal stays.
    input_formats=ALL_FORMATS - {"gif"},
    width_header="X-Width",
    height_header="X-Height",
    error_document=error_list,
    error_schema=ERROR_LIST,
    result_headers=_result_headers,
    result_header_schemas={
        **FOREGROUND_HEADERS,
        "X-Max-Width": WHOLE,
        "X-Max-Height": WHOLE,
        "X-Model": TEXT,
        "X-Confidence": {"type": "number", "minimum": 0, "maximum": 1},
    },
    has_additions=True,
    own_fields=ADDED_FIELDS,
    result_document=cutout_with_box,
    result_schema=CUTOUT_WITH_BOX,
)
