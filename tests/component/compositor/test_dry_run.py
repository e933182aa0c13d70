"""A dry run: what a call would give, with its errors, without a pixel or a network."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.compositor.v1 import compositor_pb2 as pb
from matteworks_common.errors import NotFound, from_rpc_error
from tests.component.compositor.conftest import Service
from tests.component.compositor.pictures import encoded, gradient

PICTURE = encoded(gradient(400, 200))


async def look(service: Service, *asked: dict[str, Any], model: str = "") -> pb.RemoveBackgroundResponse:
    first, *more = [pb.RenderOptions(**options) for options in asked or ({},)]
    request = pb.RemoveBackgroundRequest(
        image=PICTURE, options=first, more_options=more, model=model, dry_run=True
    )
    return await service.stub.RemoveBackground(request, timeout=60)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"max_pixel_count": 5000},
        {"scale_percent": 50, "max_pixel_count": 5000},
        {"format": pb.OUTPUT_FORMAT_JPEG},
    ],
)
async def test_the_size_is_that_of_the_result(service: Service, options: dict[str, Any]) -> None:
    seen = await look(service, options)
    assert not seen.rendering.image
    real = await service.remove(PICTURE, **options)
    assert (seen.rendering.size, seen.rendering.is_shrunk) == (real.rendering.size, real.rendering.is_shrunk)
    assert seen.rendering.source_size == real.rendering.source_size


async def test_no_network_sees_the_picture(service: Service) -> None:
    await look(service, {}, {"max_pixel_count": 100})
    (asked,) = service.inference.requests
    assert asked.dry_run
    assert asked.WhichOneof("source") is None


async def test_of_a_crop_the_size_is_not_known(service: Service) -> None:
    seen = await look(service, {"crop": pb.Crop()}, {})
    assert not seen.rendering.HasField("size")
    assert seen.more_renderings[0].size.width_px == 400


async def test_a_model_that_is_not_there_is_told(service: Service) -> None:
    service.inference.error = NotFound(reasons.ERROR_REASON_MODEL_NOT_FOUND, "None.", field="model")
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await look(service, model="nobodys")
    assert from_rpc_error(raised.value).reason == reasons.ERROR_REASON_MODEL_NOT_FOUND


async def test_a_wrong_option_is_told(service: Service) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await look(service, {"encoding_quality": 500})
    assert from_rpc_error(raised.value).field == "encoding_quality"
