"""From the wire to a paid removal."""

from __future__ import annotations

from matteworks.auth.v1 import auth_pb2, plan_pb2
from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.jobs.v1 import jobs_pb2, removal_pb2
from matteworks_imaging.header import ALL_FORMATS, MAX_FILE_BYTES
from matteworks_outbound.urls import check_url
from matteworks_removal.offers import Size, Tariff
from matteworks_removal.service import Counting, RemovalRequest
from matteworks_removal.sources import PictureSource, RemotePicture, SentPicture

_DEFAULT_SIZE = Size(credits_milli=1000, max_pixels=50_000_000)


def removal_request(request: jobs_pb2.CreateRemovalRequest, item_id: str, image: bytes) -> RemovalRequest:
    """What the removal library takes; `image` is the stored input where the item has one.

    The scope makes every item a charge of its own, equal pictures in one batch included. Raises
    InvalidField.
    """
    spec = request.removal
    size = _size(spec.size) if spec.HasField("size") else _DEFAULT_SIZE
    return RemovalRequest(
        source=_source(spec, image),
        background=_background(spec),
        tariff=Tariff(size, _size(spec.preview) if spec.HasField("preview") else size),
        subject_type=spec.subject_type,
        options=spec.options,
        quality=spec.quality,
        model=spec.model,
        scope=f"item/{item_id}",
        max_file_bytes=spec.max_file_bytes or MAX_FILE_BYTES,
        formats=ALL_FORMATS,
        # The call that it came with was counted.
        counting=Counting(
            dialect=request.caller.dialect,
            rate_unit=plan_pb2.RATE_UNIT_NONE,
            urgency=auth_pb2.URGENCY_DEFERRED,
        ),
    )


def caller_of(caller: removal_pb2.Caller) -> auth_pb2.AuthenticateResponse:
    """The caller as the removal library knows it."""
    return auth_pb2.AuthenticateResponse(
        account_id=caller.account_id, key_id=caller.key_id, is_test=caller.is_test
    )


def _source(spec: removal_pb2.RemovalSpec, image: bytes) -> PictureSource:
    if spec.WhichOneof("source") == "image_url":
        url = check_url(spec.image_url, "image_url", reasons.ERROR_REASON_INVALID_IMAGE_URL)
        return RemotePicture("image_url", url)
    return SentPicture("image", image)


def _background(spec: removal_pb2.RemovalSpec) -> PictureSource | None:
    match spec.WhichOneof("background"):
        case "bg_image":
            return SentPicture("bg_image", spec.bg_image)
        case "bg_image_url":
            url = check_url(spec.bg_image_url, "bg_image_url", reasons.ERROR_REASON_INVALID_BG_IMAGE_URL)
            return RemotePicture("bg_image_url", url)
        case _:
            return None


def _size(size: removal_pb2.PricedSize) -> Size:
    return Size(
        size.credits_milli,
        max_pixels=size.max_pixel_count,
        max_side_px=size.max_side_px,
        is_free_call_eligible=size.is_free_call_eligible,
        falls_back=size.falls_back,
    )
