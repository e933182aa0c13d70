"""Photoroom's API v1: /v1/segment."""

from __future__ import annotations

import base64
from typing import Any, Final

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.common.v1 import image_pb2
from matteworks.compositor.v1 import compositor_pb2
from matteworks_common.settings import MEBIBYTE
from matteworks_edge.dialects.base import Dialect, Endpoint
from matteworks_edge.errors import ErrorAnswer, PublicError
from matteworks_edge.fields.reader import Fields
from matteworks_edge.openapi.schemas import BOOLEAN, TEXT, WHOLE, closed_object
from matteworks_edge.operations.account_report import AccountReport
from matteworks_edge.operations.catalogue import REMOVAL, account_report
from matteworks_removal.offers import Size
from matteworks_removal.service import Removal

_PREVIEW: Final = Size(250, max_pixels=250_000, is_free_call_eligible=True)


def _read_own_fields(fields: Fields, options: compositor_pb2.RenderOptions) -> None:
    options.despill = fields.boolean("despill", False)


def _result_headers(removal: Removal) -> dict[str, str]:
    """How much our detector doubts what it saw; the vendor gives people no score."""
    subject = removal.response.subject
    is_person = subject.type == image_pb2.SUBJECT_TYPE_PERSON
    return {"X-Uncertainty-Score": "-1" if is_person else f"{max(0.0, 1 - subject.confidence):.3f}"}


def _result_document(removal: Removal) -> bytes:
    return b'{"base64img":"%s"}' % base64.b64encode(removal.response.rendering.image)


def _balance(report: AccountReport) -> dict[str, int]:
    """What is left, and what the subscription gives, in whole images."""
    left_milli = report.remaining_credits_milli
    given_milli = max(report.plan.monthly_credits_milli, left_milli + report.charged_credits_milli)
    return {"available": left_milli // 1000, "subscription": given_milli // 1000}


def _credits_document(report: AccountReport) -> dict[str, Any]:
    return {"credits": _balance(report)}


def _images_document(report: AccountReport) -> dict[str, Any]:
    return {"images": _balance(report), "plan": report.plan.display_name or report.plan.name}


_BALANCE: Final = closed_object({"available": WHOLE, "subscription": WHOLE})
_CREDITS: Final = closed_object({"credits": _BALANCE})
_IMAGES: Final = closed_object({"images": _BALANCE, "plan": TEXT})


def _account_error(answer: ErrorAnswer) -> object:
    """The account's paths have another document than the removal."""
    return {"error": {"message": answer.sentence}}


_ACCOUNT_ERROR: Final = ("ErrorMessage", closed_object({"error": closed_object({"message": TEXT})}))


def _error_document(answer: ErrorAnswer) -> object:
    return {"detail": answer.sentence, "status_code": answer.status, "type": answer.errors[0]["code"]}


PHOTOROOM: Final = Dialect(
    name="photoroom",
    prefix="/photoroom",
    endpoints=(
        Endpoint("POST", "/v1/segment", REMOVAL, "removeBackgroundPhotoroom"),
        Endpoint(
            "GET",
            "/v1/account",
            account_report(_credits_document, _CREDITS),
            "getCreditsPhotoroom",
            is_apart=True,
            error_document=_account_error,
            error_schema=_ACCOUNT_ERROR,
        ),
        Endpoint(
            "GET",
            "/v2/account",
            account_report(_images_document, _IMAGES),
            "getImagesPhotoroom",
            is_apart=True,
            error_document=_account_error,
            error_schema=_ACCOUNT_ERROR,
        ),
    ),
    default_size="full",
    default_format=compositor_pb2.OUTPUT_FORMAT_PNG,
    sizes={
        "preview": _PREVIEW,
        "medium": Size(1000, max_pixels=1_500_000),
        "hd": Size(1000, max_pixels=4_000_000),
        "full": Size(1000, max_pixels=36_000_000),
    },
    preview=_PREVIEW,
    max_file_bytes=30 * MEBIBYTE,
    width_header="X-Width",
    height_header="X-Height",
    errors={
        reasons.ERROR_REASON_MISSING_SOURCE: PublicError(400, "missing_image", "Please provide an image")
    },
    error_document=_error_document,
    error_schema=(
        "ErrorDetail",
        closed_object({"detail": TEXT, "status_code": {"type": "integer"}, "type": TEXT}),
    ),
    read_own_fields=_read_own_fields,
    own_fields={
        "despill": {
            **BOOLEAN,
            "default": False,
            "description": "Whether green light of a backdrop is taken out of the subject.",
        }
    },
    result_headers=_result_headers,
    result_header_schemas={"X-Uncertainty-Score": {"type": "number", "minimum": -1, "maximum": 1}},
    result_document=_result_document,
    result_schema=closed_object({"base64img": {"type": "string", "contentEncoding": "base64"}}),
)
