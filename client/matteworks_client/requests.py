"""One function a task: from plain Python to the request. Both clients send what is built here."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from matteworks.auth.v1 import auth_pb2, plan_pb2
from matteworks.common.v1 import image_pb2
from matteworks.compositor.v1 import compositor_pb2
from matteworks.inference.v1 import inference_pb2
from matteworks_client.choices import (
    Picture,
    QualityName,
    RenderChoices,
    SubjectName,
    picture_bytes,
    quality,
    render_options,
    subject_type,
)
from matteworks_client.results import Matte, Size


def removal(
    picture: Picture,
    model: str,
    subject: SubjectName | None,
    quality_name: QualityName | None,
    choices: RenderChoices,
    more: Sequence[RenderChoices] = (),
) -> compositor_pb2.RemoveBackgroundRequest:
    """Cut the subject out; `more` are further results of the same matte."""
    return compositor_pb2.RemoveBackgroundRequest(
        request_id=new_request_id(),
        image=picture_bytes(picture),
        options=render_options(choices),
        more_options=map(render_options, more),
        model=model,
        subject_type=subject_type(subject),
        quality=quality(quality_name),
    )


def look_at_price(
    owner: auth_pb2.AuthenticateResponse, price_milli: int, seen: compositor_pb2.RemoveBackgroundResponse
) -> auth_pb2.ReserveRequest:
    """What the account would be charged; nothing is held. `seen` is the answer to a dry run."""
    size = seen.rendering.source_size
    return auth_pb2.ReserveRequest(
        request_id=new_request_id(),
        account_id=owner.account_id,
        key_id=owner.key_id,
        prices=[auth_pb2.Price(credits_milli=0 if owner.is_test else price_milli)],
        megapixels=max(1, -(-size.width_px * size.height_px // 1_000_000)),
        rate_unit=plan_pb2.RATE_UNIT_NONE,
        dry_run=True,
    )


def composition(
    picture: Picture, matte: Matte | Picture, subject: SubjectName | None, choices: RenderChoices
) -> compositor_pb2.ComposeRequest:
    """Compose with a matte that the caller has: from `segment`, or a picture of it."""
    request = compositor_pb2.ComposeRequest(
        request_id=new_request_id(),
        image=picture_bytes(picture),
        options=render_options(choices),
        subject_type=subject_type(subject),
    )
    if isinstance(matte, Matte):
        size = image_pb2.Size(width_px=matte.size.width_px, height_px=matte.size.height_px)
        request.matte.CopyFrom(image_pb2.Matte(alpha=matte.alpha, size=size))
    else:
        request.matte_image = picture_bytes(matte)
    return request


def segmentation(
    picture: Picture, model: str, subject: SubjectName | None, quality_name: QualityName | None
) -> inference_pb2.SegmentRequest:
    """The matte of a file."""
    request = _segmentation(model, subject, quality_name)
    request.image = picture_bytes(picture)
    return request


def pixel_segmentation(
    rgb: bytes, size: Size, model: str, subject: SubjectName | None, quality_name: QualityName | None
) -> inference_pb2.SegmentRequest:
    """The matte of decoded pixels, three bytes each. Raises ValueError when their number does not fit."""
    if len(rgb) != 3 * size.width_px * size.height_px:
        raise ValueError(f"{size.width_px} x {size.height_px} pixels are not {len(rgb)} bytes of RGB")
    request = _segmentation(model, subject, quality_name)
    wire_size = image_pb2.Size(width_px=size.width_px, height_px=size.height_px)
    request.pixels.CopyFrom(image_pb2.Pixels(rgb=rgb, size=wire_size))
    return request


def inspection(picture: Picture) -> compositor_pb2.InspectRequest:
    """The facts of a header."""
    return compositor_pb2.InspectRequest(image=picture_bytes(picture))


def new_request_id() -> str:
    """An id for logs and traces; the attempts of one call share it."""
    return uuid.uuid4().hex


def _segmentation(
    model: str, subject: SubjectName | None, quality_name: QualityName | None
) -> inference_pb2.SegmentRequest:
    return inference_pb2.SegmentRequest(
        request_id=new_request_id(),
        model=model,
        subject_type=subject_type(subject),
        quality=quality(quality_name),
    )
