"""bgremover's API v1: /v1/remove, batches, usage, deletion."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from matteworks.auth.v1 import plan_pb2
from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.common.v1 import image_pb2
from matteworks.compositor.v1 import compositor_pb2
from matteworks.jobs.v1 import jobs_pb2, removal_pb2
from matteworks_common.errors import InvalidField
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
from matteworks_edge.fields.parameters import parse_whole_number
from matteworks_edge.fields.reader import Fields
from matteworks_edge.openapi.schemas import TEXT, WHOLE, closed_object
from matteworks_edge.operations.account_report import AccountReport
from matteworks_edge.operations.catalogue import (
    account_report,
    batch,
    batch_poll,
    deletion,
    stored_removal,
    usage,
)
from matteworks_edge.operations.stored.batches import AcceptedBatch
from matteworks_edge.operations.stored.cutout import StoredCutout
from matteworks_edge.operations.usage import Usage
from matteworks_removal.offers import Size

_FULL: Final = Size(1000, max_pixels=50_000_000, is_free_call_eligible=True)
# Boxes, turned to the picture's orientation.
_RESOLUTIONS: Final[dict[str, tuple[int, int] | None]] = {
    "original": None,
    "1080p": (1920, 1080),
    "720p": (1280, 720),
    "480p": (854, 480),
}
_FORMATS: Final = {
    "png": compositor_pb2.OUTPUT_FORMAT_PNG,
    "webp": compositor_pb2.OUTPUT_FORMAT_WEBP,
    "jpeg": compositor_pb2.OUTPUT_FORMAT_JPEG,
    "jpg": compositor_pb2.OUTPUT_FORMAT_JPEG,
}
_FORMAT_NAMES: Final = {value: name for name, value in reversed(_FORMATS.items())}
_INVALID: Final = "INVALID_REQUEST"
_NUMBER: Final = {"type": "number", "minimum": 0}
_TIME: Final = {"type": "string", "format": "date-time"}
_DAY: Final = {"type": "string", "format": "date"}


def _read_own_fields(fields: Fields, options: compositor_pb2.RenderOptions) -> None:
    quality = fields.read("output_quality", _parse_quality, 90)
    if options.format != compositor_pb2.OUTPUT_FORMAT_PNG:
        options.encoding_quality = quality
    box = fields.read("max_resolution", _parse_resolution, None)
    if box is not None:
        options.max_size.CopyFrom(image_pb2.Size(width_px=box[0], height_px=box[1]))


def _parse_quality(text: str) -> int:
    return parse_whole_number("output_quality", text, 1, 100)


def _parse_resolution(text: str) -> tuple[int, int] | None:
    name = text.strip().lower()
    if name not in _RESOLUTIONS:
        raise InvalidField("max_resolution", f"Give one of {', '.join(_RESOLUTIONS)}.")
    return _RESOLUTIONS[name]


def _size_name(_: Fields) -> str:
    """There is one size; `max_resolution` bounds it after the crop."""
    return "original"


def _credits(credits_milli: int) -> int | float:
    return credits_milli / 1000 if credits_milli % 1000 else credits_milli // 1000


def _time(moment: datetime) -> str:
    return moment.replace(microsecond=0).isoformat().replace("+00:00", "Z")


def _removal_document(cutout: StoredCutout) -> dict[str, Any]:
    return enveloped(
        {
            "id": cutout.result.result_id,
            "output_url": cutout.result.url,
            "format": _FORMAT_NAMES[cutout.format],
            "width": cutout.width_px,
            "height": cutout.height_px,
            "original_width": cutout.source_width_px,
            "original_height": cutout.source_height_px,
            "file_size_bytes": cutout.result.size_bytes,
            "processing_time_ms": cutout.processing_time_ms,
            "credits_used": _credits(cutout.charged_credits_milli),
            "expires_at": _time(cutout.result.expire_time.ToDatetime(UTC)),
        }
    )


_REMOVAL: Final = enveloped_schema(
    closed_object(
        {
            "id": TEXT,
            "output_url": TEXT,
            "format": {"enum": ["png", "webp", "jpeg"]},
            **dict.fromkeys(
                ("width", "height", "original_width", "original_height", "file_size_bytes"), WHOLE
            ),
            "processing_time_ms": WHOLE,
            "credits_used": _NUMBER,
            "expires_at": _TIME,
        }
    )
)


def _accepted_document(accepted: AcceptedBatch) -> dict[str, Any]:
    batch = accepted.batch
    return enveloped(
        {
            "batch_id": batch.batch_id,
            "total_images": batch.item_count,
            "status": "processing",
            "estimated_time_ms": batch.estimated_time.ToMilliseconds(),
            "poll_url": f"{accepted.base_url}/v1/batch/{batch.batch_id}",
        }
    )


_ACCEPTED: Final = enveloped_schema(
    closed_object(
        {
            "batch_id": TEXT,
            "total_images": WHOLE,
            "status": {"const": "processing"},
            "estimated_time_ms": WHOLE,
            "poll_url": TEXT,
        }
    )
)


def _poll_document(found: jobs_pb2.GetBatchResponse) -> dict[str, Any]:
    batch = found.batch
    status = "processing" if not batch.is_ended else "completed" if batch.succeeded_count else "failed"
    ended = [item for item in found.items if item.state != removal_pb2.ITEM_STATE_PENDING]
    return enveloped(
        {
            "batch_id": batch.batch_id,
            "status": status,
            "total_images": batch.item_count,
            "completed": batch.succeeded_count,
            "failed": batch.failed_count + batch.cancelled_count,
            "results": [_polled(item) for item in ended],
        }
    )


def _polled(item: removal_pb2.Item) -> dict[str, Any]:
    if item.state == removal_pb2.ITEM_STATE_CANCELLED:
        return {"id": item.item_id, "error": {"code": "CANCELLED", "message": "The batch was cancelled."}}
    if item.state == removal_pb2.ITEM_STATE_FAILED:
        public = _ERRORS.get(_reason(item.error.reason))
        code = public.code if public else _INVALID
        return {"id": item.item_id, "error": {"code": code, "message": item.error.message}}
    if not item.result.url:
        return {
            "id": item.item_id,
            "error": {"code": "NOT_FOUND", "message": "Image not found or already deleted"},
        }
    return {
        "id": item.item_id,
        "output_url": item.result.url,
        "processing_time_ms": item.processing_time.ToMilliseconds(),
    }


def _reason(name: str) -> reasons.ErrorReason.ValueType:
    full_name = f"ERROR_REASON_{name}"
    is_known = full_name in reasons.ErrorReason.keys()  # noqa: SIM118 - the enum is no mapping
    return reasons.ErrorReason.Value(full_name) if is_known else reasons.ERROR_REASON_INTERNAL


_POLL: Final = enveloped_schema(
    closed_object(
        {
            "batch_id": TEXT,
            "status": {"enum": ["processing", "completed", "failed"]},
            "total_images": WHOLE,
            "completed": WHOLE,
            "failed": WHOLE,
            "results": {
                "type": "array",
                "items": {
                    "oneOf": [
                        closed_object({"id": TEXT, "output_url": TEXT, "processing_time_ms": WHOLE}),
                        closed_object({"id": TEXT, "error": closed_object({"code": TEXT, "message": TEXT})}),
                    ]
                },
            },
        }
    )
)


def _account_document(report: AccountReport) -> dict[str, Any]:
    account, plan = report.account, report.plan
    remaining_milli = report.remaining_credits_milli
    total_milli = max(plan.monthly_credits_milli, remaining_milli + report.charged_credits_milli)
    return enveloped(
        {
            "id": account.account_id,
            "email": account.email,
            "plan": plan.name.removeprefix("bgremover-"),
            "credits_remaining": _credits(remaining_milli),
            "credits_total": _credits(total_milli),
            "rate_limit": {
                "requests_per_minute": plan.requests_per_minute,
                "daily_limit": plan.requests_per_day or None,
            },
            "usage_this_month": {
                "images_processed": report.image_count,
                "credits_used": _credits(report.charged_credits_milli),
                "api_calls": report.call_count,
            },
        }
    )


_ACCOUNT: Final = enveloped_schema(
    closed_object(
        {
            "id": TEXT,
            "email": TEXT,
            "plan": TEXT,
            "credits_remaining": _NUMBER,
            "credits_total": _NUMBER,
            "rate_limit": closed_object(
                {"requests_per_minute": WHOLE, "daily_limit": {"type": ["integer", "null"], "minimum": 1}}
            ),
            "usage_this_month": closed_object(
                {"images_processed": WHOLE, "credits_used": _NUMBER, "api_calls": WHOLE}
            ),
        }
    )
)


def _usage_document(report: Usage) -> dict[str, Any]:
    return enveloped(
        {
            "period": {"start": report.start.isoformat(), "end": report.end.isoformat()},
            "total_requests": report.request_count,
            "total_credits_used": _credits(report.charged_credits_milli),
            "avg_processing_time_ms": report.mean_processing_ms,
            report.granularity: [
                {
                    "date": period.first_day.isoformat(),
                    "requests": period.request_count,
                    "credits": _credits(period.charged_credits_milli),
                }
                for period in report.periods
            ],
        }
    )


_PERIODS: Final = {
    "type": "array",
    "items": closed_object({"date": _DAY, "requests": WHOLE, "credits": _NUMBER}),
}
_USAGE: Final = enveloped_schema(
    {
        **closed_object(
            {
                "period": closed_object({"start": _DAY, "end": _DAY}),
                "total_requests": WHOLE,
                "total_credits_used": _NUMBER,
                "avg_processing_time_ms": WHOLE,
            }
        ),
        "additionalProperties": _PERIODS,
    }
)


def _deletion_document(result_id: str, deleted: datetime) -> dict[str, Any]:
    return enveloped({"id": result_id, "deleted": True, "deleted_at": _time(deleted)})


_DELETION: Final = enveloped_schema(
    closed_object({"id": TEXT, "deleted": {"const": True}, "deleted_at": _TIME})
)
_ERRORS: Final = enveloped_errors(_INVALID)

BGREMOVER: Final = Dialect(
    name="bgremover",
    prefix="/bgremover",
    endpoints=(
        Endpoint("POST", "/v1/remove", stored_removal(_removal_document, _REMOVAL), "removeBgremover"),
        Endpoint("POST", "/v1/remove/batch", batch(_accepted_document, _ACCEPTED), "removeBatchBgremover"),
        Endpoint("GET", "/v1/batch/{batch_id}", batch_poll(_poll_document, _POLL), "getBatchBgremover"),
        Endpoint("GET", "/v1/account", account_report(_account_document, _ACCOUNT), "getAccountBgremover"),
        Endpoint("GET", "/v1/usage", usage(_usage_document, _USAGE), "getUsageBgremover"),
        Endpoint(
            "DELETE", "/v1/images/{image_id}", deletion(_deletion_document, _DELETION), "deleteImageBgremover"
        ),
    ),
    default_size="original",
    default_format=compositor_pb2.OUTPUT_FORMAT_PNG,
    sizes={"original": _FULL},
    preview=_FULL,
    formats=_FORMATS,
    size_name=_size_name,
    width_header="X-Width",
    height_header="X-Height",
    max_file_bytes=50 * MEBIBYTE,
    reads_base64=False,
    known_fields=frozenset({"format", "bg_color", "crop"}),
    field_names={"image": "image_file", "file": "image_file", "output_format": "format"},
    read_own_fields=_read_own_fields,
    own_fields={
        "output_quality": {**WHOLE, "minimum": 1, "maximum": 100, "default": 90},
        "max_resolution": {**TEXT, "default": "original", "examples": list(_RESOLUTIONS)},
        "webhook_url": {**TEXT, "description": "Receives a POST at completion, beside the answer."},
    },
    error_document=enveloped_error,
    error_schema=ENVELOPED_ERROR,
    errors=_ERRORS,
    proxy_codes=enveloped_proxy_codes(_INVALID),
    rate_unit=plan_pb2.RATE_UNIT_REQUESTS,
)
