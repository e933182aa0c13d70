"""Several results of one matte: one run of the network, each result as if it had been asked for alone."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from matteworks.compositor.v1 import compositor_pb2 as pb
from matteworks_common.errors import MatteworksError, from_rpc_error
from tests.component.compositor.conftest import Service
from tests.component.compositor.pictures import encoded, gradient
from tests.support.fake_inference import box_matte

PICTURE = encoded(gradient(400, 200))
ASKED: list[dict[str, Any]] = [
    {},
    {"max_pixel_count": 10_000, "crop": pb.Crop()},
    {"format": pb.OUTPUT_FORMAT_JPEG, "bg_color": pb.Color(red=255, green=255, blue=255, alpha=255)},
    {"channels": pb.CHANNELS_ALPHA},
]


async def ask(service: Service, *asked: dict[str, Any]) -> pb.RemoveBackgroundResponse:
    first, *more = [pb.RenderOptions(**options) for options in asked]
    request = pb.RemoveBackgroundRequest(image=PICTURE, options=first, more_options=more)
    return await service.stub.RemoveBackground(request, timeout=60)


async def refusal(service: Service, *asked: dict[str, Any]) -> MatteworksError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await ask(service, *asked)
    return from_rpc_error(raised.value)


async def test_every_result_equals_the_one_of_its_own_call_and_the_network_runs_once(
    service: Service,
) -> None:
    together = await ask(service, *ASKED)
    assert len(service.inference.requests) == 1
    results = [together.rendering, *together.more_renderings]
    for options, result in zip(ASKED, results, strict=True):
        alone = (await service.remove(PICTURE, **options)).rendering
        assert (result.format, result.size, result.image) == (alone.format, alone.size, alone.image)
    assert {"output.2", "output.3", "output.4"} <= {stage.stage for stage in together.stages}


async def test_results_that_cannot_share_a_matte_are_refused(service: Service) -> None:
    roi = pb.Region(
        left=pb.Length(px=0), top=pb.Length(px=0), right=pb.Length(px=50), bottom=pb.Length(px=50)
    )
    error = await refusal(service, {}, {"roi": roi})
    assert (error.reason_name, error.field) == ("INVALID_ARGUMENT", "more_options")
    assert not service.inference.requests


async def test_too_many_results_are_refused(service: Service) -> None:
    assert (await refusal(service, *[{}] * 9)).field == "more_options"
    await ask(service, *[{"max_pixel_count": 100}] * 8)


async def test_a_wrong_option_of_any_result_fails_the_call_before_it_costs_anything(service: Service) -> None:
    assert (await refusal(service, {}, {"encoding_quality": 500})).field == "encoding_quality"
    assert not service.inference.requests


@pytest.mark.parametrize("ratio", [(1, 1), (4, 5), (16, 9), (1, 20)])
async def test_a_crop_is_padded_to_the_ratio_around_the_subject(
    service: Service, ratio: tuple[int, int]
) -> None:
    service.inference.draw = box_matte(0.25, 0.25, 0.75, 0.75)
    asked = pb.Crop(margin_top=pb.Length(px=10), aspect_ratio=pb.AspectRatio(width=ratio[0], height=ratio[1]))
    rendering = (await service.remove(PICTURE, crop=asked)).rendering
    width_px, height_px = rendering.size.width_px, rendering.size.height_px
    assert abs(width_px - height_px * ratio[0] / ratio[1]) <= max(1, ratio[0] / ratio[1])
    assert width_px >= rendering.foreground.width_px
    assert height_px >= rendering.foreground.height_px + 10
    is_tight = width_px == rendering.foreground.width_px or height_px == rendering.foreground.height_px + 10
    assert is_tight


@pytest.mark.parametrize("ratio", [(0, 1), (1, -1), (21, 1), (10_001, 10_000)])
async def test_a_ratio_that_no_picture_has_is_refused(service: Service, ratio: tuple[int, int]) -> None:
    crop = pb.Crop(aspect_ratio=pb.AspectRatio(width=ratio[0], height=ratio[1]))
    assert (await service.refusal(PICTURE, crop=crop)).field == "aspect_ratio"
