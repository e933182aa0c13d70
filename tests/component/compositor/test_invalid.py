"""What a bad request gets: its documented reason, the field, and a service that goes on."""

from __future__ import annotations

import resource
import sys
from typing import Any

import grpc
import numpy as np
import pytest

from matteworks.common.v1 import error_reason_pb2, image_pb2
from matteworks.compositor.v1 import compositor_pb2 as pb
from matteworks_common.errors import Unavailable, from_rpc_error
from tests.component.compositor.conftest import Service
from tests.component.compositor.pictures import encoded, flat_png, gradient
from tests.support.fake_inference import empty_matte

GOOD = encoded(gradient(60, 40))
NAN = float("nan")


def px(value: int) -> pb.Length:
    return pb.Length(px=value)


def percent(value: float) -> pb.Length:
    return pb.Length(percent=value)


def region(left: pb.Length, top: pb.Length, right: pb.Length, bottom: pb.Length) -> pb.Region:
    return pb.Region(left=left, top=top, right=right, bottom=bottom)


def share(horizontal: float, vertical: float) -> pb.Position:
    return pb.Position(
        share=pb.Position.FreeRoomShare(horizontal_percent=horizontal, vertical_percent=vertical)
    )


WRONG_OPTIONS: list[tuple[str, str, dict[str, Any]]] = [
    ("INVALID_FORMAT", "format", {"format": 77}),
    ("INVALID_CHANNELS", "channels", {"channels": 9}),
    ("INVALID_ARGUMENT", "max_pixel_count", {"max_pixel_count": -1}),
    ("INVALID_SCALE", "scale_percent", {"scale_percent": 9.9}),
    ("INVALID_SCALE", "scale_percent", {"scale_percent": 100.1}),
    ("INVALID_SCALE", "scale_percent", {"scale_percent": NAN}),
    ("INVALID_SCALE", "scale_percent", {"scale_percent": float("inf")}),
    ("INVALID_POSITION", "position", {"position": share(-0.1, 50)}),
    ("INVALID_POSITION", "position", {"position": share(50, 100.1)}),
    ("INVALID_POSITION", "position", {"position": share(NAN, 50)}),
    ("INVALID_ROI", "roi", {"roi": region(px(-1), px(0), px(5), px(5))}),
    ("INVALID_ROI", "roi", {"roi": region(percent(NAN), px(0), px(5), px(5))}),
    ("INVALID_ROI", "roi", {"roi": region(px(0), px(0), percent(101), px(5))}),
    ("INVALID_ROI", "roi", {"roi": region(px(9), px(0), px(5), px(5))}),
    ("INVALID_ROI", "roi", {"roi": pb.Region()}),
    ("ROI_EXCEEDS_BOUNDS", "roi", {"roi": region(px(0), px(0), px(61), px(5))}),
    ("ROI_EXCEEDS_BOUNDS", "roi", {"roi": region(px(0), px(0), px(2**31 - 1), px(5))}),
    ("ROI_REGION_EMPTY", "roi", {"roi": region(px(5), px(0), px(5), px(5))}),
    ("INVALID_CROP_MARGIN", "crop.margin_top", {"crop": pb.Crop(margin_top=px(501))}),
    ("INVALID_CROP_MARGIN", "crop.margin_left", {"crop": pb.Crop(margin_left=percent(50.1))}),
    ("INVALID_CROP_MARGIN", "crop.margin_left", {"crop": pb.Crop(margin_left=px(-3))}),
    ("INVALID_CROP_MARGIN", "crop.margin_left", {"crop": pb.Crop(margin_left=percent(1e309))}),
    ("INVALID_BG_COLOR", "bg_color", {"bg_color": pb.Color(red=256)}),
    ("INVALID_BG_COLOR", "bg_color", {"bg_color": pb.Color(alpha=-1)}),
    ("INVALID_SHADOW_TYPE", "shadows.shadow_type", {"shadows": [pb.Shadow(shadow_type=50)]}),
    ("INVALID_SHADOW_OPACITY", "shadows.opacity_percent", {"shadows": [pb.Shadow(opacity_percent=101)]}),
    ("INVALID_ARGUMENT", "max_png_pixel_count", {"max_png_pixel_count": -1}),
    ("INVALID_ARGUMENT", "max_size", {"max_size": image_pb2.Size(width_px=10)}),
    ("INVALID_ARGUMENT", "encoding_quality", {"encoding_quality": 0}),
    ("INVALID_ARGUMENT", "encoding_quality", {"encoding_quality": 101}),
    ("INVALID_ARGUMENT", "despill_strength_percent", {"despill_strength_percent": -1}),
    ("INVALID_ARGUMENT", "despill_color", {"despill_color": pb.Color(red=300)}),
    ("INVALID_ARGUMENT", "despill_color", {"despill_color": pb.Color(red=90, green=90, blue=100)}),
    ("INVALID_FILE_TYPE", "bg_image", {"bg_image": b"%PDF, really"}),
    ("MISSING_SOURCE", "bg_image", {"bg_image": b""}),
]


@pytest.mark.parametrize(("reason", "field", "options"), WRONG_OPTIONS)
async def test_a_wrong_option_is_refused_by_name(
    service: Service, reason: str, field: str, options: dict[str, Any]
) -> None:
    error = await service.refusal(GOOD, **options)
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert (error.reason_name, error.field) == (reason, field)
    assert not service.inference.requests


def truncated(content: bytes) -> bytes:
    return content[: len(content) * 2 // 3]


NOISE = np.random.default_rng(1).integers(0, 256, (200, 200, 3), np.uint8)


@pytest.mark.parametrize(
    ("reason", "content"),
    [
        ("MISSING_SOURCE", b""),
        ("INVALID_FILE_TYPE", b"hello"),
        ("INVALID_FILE_TYPE", b"%!PS-Adobe-3.0 EPSF-3.0\n"),
        ("INVALID_FILE_TYPE", b"II+\0" + bytes(100)),
        ("INVALID_DIMENSIONS", b"II*\0" + bytes(100)),
        ("INVALID_DIMENSIONS", b"GIF89a" + bytes(100)),
        ("INVALID_FILE_TYPE", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
        ("INVALID_DIMENSIONS", b"\x89PNG\r\n\x1a\n"),
        ("INVALID_DIMENSIONS", b"\xff\xd8\xff\xe0"),
        ("FILE_TOO_LARGE", encoded(gradient(9, 9)) + bytes(50 * 2**20)),
        ("FAILED_TO_READ_IMAGE", truncated(encoded(NOISE, "JPEG"))),
        ("FAILED_TO_READ_IMAGE", truncated(encoded(NOISE, "PNG"))),
        ("FAILED_TO_READ_IMAGE", truncated(encoded(NOISE, "WEBP"))),
        ("FAILED_TO_READ_IMAGE", truncated(encoded(NOISE, "AVIF"))),
        ("FAILED_TO_READ_IMAGE", truncated(encoded(NOISE, "BMP"))),
        ("FAILED_TO_READ_IMAGE", truncated(encoded(NOISE, "GIF"))),
        ("FAILED_TO_READ_IMAGE", encoded(NOISE, "JPEG")[:-2].replace(b"\xff\xda", b"\xff\xd9", 1)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_file_that_cannot_be_used_is_refused_with_its_reason(
    service: Service, reason: str, content: bytes
) -> None:
    error = await service.refusal(content)
    assert error.reason_name == reason
    assert error.field in ("image", "")
    await service.remove(GOOD)


async def test_a_picture_of_one_pixel_too_many_is_refused_before_it_costs_memory(service: Service) -> None:
    bomb = flat_png(10_000, 5_001)
    await service.remove(GOOD)
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    error = await service.refusal(bomb)
    after_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert error.reason_name == "RESOLUTION_TOO_HIGH"
    assert error.metadata["limit_megapixels"] == "50"
    if sys.platform == "linux":
        assert after_kb - before_kb < 20_000


async def test_a_background_of_too_many_pixels_is_refused_under_its_own_name(service: Service) -> None:
    error = await service.refusal(GOOD, bg_image=flat_png(10_000, 5_001))
    assert (error.reason_name, error.field) == ("RESOLUTION_TOO_HIGH", "bg_image")


async def test_an_empty_matte_is_an_unknown_foreground(service: Service) -> None:
    service.inference.draw = empty_matte
    error = await service.refusal(GOOD)
    assert error.reason_name == "UNKNOWN_FOREGROUND"


async def test_a_matte_that_is_sure_of_nothing_is_an_unknown_foreground(service: Service) -> None:
    service.inference.draw = lambda width, height: np.full((height, width), 100, np.uint8)
    assert (await service.refusal(GOOD)).reason_name == "UNKNOWN_FOREGROUND"


async def test_a_subject_type_from_the_future_is_refused(service: Service) -> None:
    request = pb.RemoveBackgroundRequest(image=GOOD, subject_type=image_pb2.SubjectType.ValueType(99))
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await service.stub.RemoveBackground(request)
    assert from_rpc_error(raised.value).field == "subject_type"


async def test_an_error_of_the_inference_service_passes_through(service: Service) -> None:
    service.inference.error = Unavailable("gone", reason=error_reason_pb2.ERROR_REASON_ENGINE_FAILED)
    error = await service.refusal(GOOD)
    assert error.reason_name == "ENGINE_FAILED"
    assert error.code is grpc.StatusCode.UNAVAILABLE


async def test_a_matte_that_does_not_fit_its_size_is_the_upstreams_fault(service: Service) -> None:
    service.inference.draw = lambda width, height: np.zeros((0, width), np.uint8)
    assert (await service.refusal(GOOD)).reason_name == "ENGINE_FAILED"


async def test_a_damaged_background_names_its_own_field(service: Service) -> None:
    error = await service.refusal(GOOD, bg_image=truncated(encoded(NOISE, "PNG")))
    assert (error.reason_name, error.field) == ("FAILED_TO_READ_IMAGE", "bg_image")
