"""What one public API does differently from another: its names, sizes, prices and error codes.

The core knows `Dialect` objects only; another vendor's API is another object here and a route.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.compositor.v1 import compositor_pb2
from matteworks_common.errors import Reason
from matteworks_edge.errors import PublicError
from matteworks_imaging.header import ImageHeader

PREVIEW_PIXELS: Final = 250_000


@dataclass(frozen=True, slots=True)
class Offer:
    """One way to serve a request: how large the result may be, and what it costs."""

    max_pixels: int
    credits_milli: int
    is_free_call_eligible: bool = False


@dataclass(frozen=True, slots=True)
class Size:
    """A size that callers name. Give `max_pixels`, or `max_side_px` for the longer side.

    `falls_back`: small pictures, and callers who cannot pay, get the preview.
    """

    credits_milli: int
    max_pixels: int = 0
    max_side_px: int = 0
    is_free_call_eligible: bool = False
    falls_back: bool = False

    def offer(self, header: ImageHeader) -> Offer:
        """The offer of this size for a picture."""
        max_pixels = self.max_pixels
        if self.max_side_px:
            longer_px = max(header.width_px, header.height_px)
            shrink = min(1.0, self.max_side_px / longer_px)
            max_pixels = max(1, round(header.width_px * shrink)) * max(1, round(header.height_px * shrink))
        return Offer(max_pixels, self.credits_milli, self.is_free_call_eligible)


class ErrorStyle(Enum):
    """How a failed request is told."""

    # {"errors": [{"title", "code", "detail"?}]}
    LIST = auto()
    # {"detail", "status_code", "type"}
    DETAIL = auto()
    # {"error"}
    SENTENCE = auto()


@dataclass(frozen=True, slots=True)
class Dialect:
    """A public API. `sizes` has lower-case names, with every alias.

    `json_name` is the member that holds the picture when JSON is preferred: `data` for remove.bg's own
    document, another name for a flat one, empty when this API never answers with JSON.
    `has_credit_figures`: tells the charge and what is left in headers of its own.
    """

    name: str
    default_size: str
    default_format: compositor_pb2.OutputFormat.ValueType
    sizes: Mapping[str, Size]
    preview: Size
    width_header: str
    height_header: str
    has_foreground_box: bool
    has_max_size: bool
    errors: Mapping[Reason, PublicError] = field(default_factory=dict)
    error_style: ErrorStyle = ErrorStyle.LIST
    json_name: str = "data"
    takes_format_from_accept: bool = False
    takes_despill: bool = False
    has_uncertainty: bool = False
    has_credit_figures: bool = False

    def offers(self, size: Size, header: ImageHeader, *, is_test: bool) -> list[Offer]:
        """What may be charged for `size` of a picture, best first. A test key gets a free preview."""
        preview = self.preview.offer(header)
        if is_test:
            return [Offer(preview.max_pixels, 0)]
        if not size.falls_back:
            return [size.offer(header)]
        if header.pixel_count <= preview.max_pixels:
            return [preview]
        return [size.offer(header), preview]


_PREVIEW = Size(250, max_pixels=PREVIEW_PIXELS, is_free_call_eligible=True)
_FULL = Size(1000, max_pixels=25_000_000)

REMOVE_BG: Final = Dialect(
    name="remove.bg",
    default_size="preview",
    default_format=compositor_pb2.OUTPUT_FORMAT_AUTO,
    sizes={
        "preview": _PREVIEW,
        "small": _PREVIEW,
        "regular": _PREVIEW,
        "medium": Size(1000, max_pixels=1_500_000),
        "hd": Size(1000, max_pixels=4_000_000),
        "full": _FULL,
        "4k": _FULL,
        "50mp": Size(1000, max_pixels=50_000_000),
        # Stays at 25 megapixels, as callers of the vendor's API know it.
        "auto": Size(1000, max_pixels=25_000_000, falls_back=True),
    },
    preview=_PREVIEW,
    width_header="X-Width",
    height_header="X-Height",
    has_foreground_box=True,
    has_max_size=True,
)

# Every call of this one costs one credit, whatever the size.
_BG_PREVIEW = Size(1000, max_side_px=1024)
_BG_FULL = Size(1000, max_side_px=2048)

BGERASER: Final = Dialect(
    name="bgeraser",
    default_size="auto",
    default_format=compositor_pb2.OUTPUT_FORMAT_PNG,
    sizes={
        "preview": _BG_PREVIEW,
        "small": _BG_PREVIEW,
        "regular": _BG_PREVIEW,
        "medium": Size(1000, max_side_px=1536),
        "hd": _BG_FULL,
        "full": _BG_FULL,
        "4k": Size(1000, max_side_px=4096),
        "50mp": Size(1000, max_pixels=50_000_000),
        "auto": Size(1000, max_pixels=25_000_000),
    },
    preview=_BG_PREVIEW,
    width_header="X-Image-Width",
    height_header="X-Image-Height",
    has_foreground_box=False,
    has_max_size=False,
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


PHOTOROOM: Final = Dialect(
    name="photoroom",
    default_size="full",
    default_format=compositor_pb2.OUTPUT_FORMAT_PNG,
    sizes={
        "preview": _PREVIEW,
        "medium": Size(1000, max_pixels=1_500_000),
        "hd": Size(1000, max_pixels=4_000_000),
        "full": Size(1000, max_pixels=36_000_000),
    },
    preview=_PREVIEW,
    width_header="X-Width",
    height_header="X-Height",
    has_foreground_box=False,
    has_max_size=False,
    errors={
        reasons.ERROR_REASON_MISSING_SOURCE: PublicError(400, "missing_image", "Please provide an image")
    },
    error_style=ErrorStyle.DETAIL,
    json_name="base64img",
    takes_despill=True,
    has_uncertainty=True,
)

CLIPDROP: Final = Dialect(
    name="clipdrop",
    default_size="full",
    default_format=compositor_pb2.OUTPUT_FORMAT_PNG,
    # Results have the size of the input; every call costs one credit.
    sizes={"full": _FULL},
    preview=_PREVIEW,
    width_header="X-Width",
    height_header="X-Height",
    has_foreground_box=False,
    has_max_size=False,
    errors={
        reasons.ERROR_REASON_KEY_MISSING: PublicError(401, "no_key", "No api key provided"),
        reasons.ERROR_REASON_KEY_INVALID: PublicError(403, "invalid_key", "API Key invalid"),
    },
    error_style=ErrorStyle.SENTENCE,
    json_name="",
    takes_format_from_accept=True,
    has_credit_figures=True,
)

_BY_PATH: Final = {"/v1/segment": PHOTOROOM, "/remove-background/v1": CLIPDROP}


def dialect_of(path: str) -> Dialect:
    """The dialect that answers for `path`, also when no route has it."""
    return _BY_PATH.get(path) or (BGERASER if path.startswith("/v1/") else REMOVE_BG)
