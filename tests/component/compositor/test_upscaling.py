"""Larger pictures over a real connection."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import cv2
import grpc
import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.compositor.v1 import compositor_pb2 as pb
from matteworks.compositor.v1 import edit_pb2 as edit
from matteworks.compositor.v1 import edit_pb2_grpc
from matteworks_common.errors import MatteworksError, Unavailable, from_rpc_error
from matteworks_compositor.app import build
from matteworks_compositor.kernels.enlarging import enlarge
from matteworks_imaging.box import Size
from tests.component.compositor.conftest import settings_for
from tests.component.compositor.pictures import decoded, encoded, with_orientation
from tests.support.fake_inference import FakeInference, enlarged_tile, running_inference
from tests.support.harness import channel_to

LIMIT_MEGAPIXELS = 0.2


@dataclass
class Enlarging:
    """A running compositor and the inference server that draws its tiles."""

    stub: edit_pb2_grpc.EditServiceStub
    inference: FakeInference

    async def upscale(self, image: bytes, timeout_s: float = 60, **amount: Any) -> edit.UpscaleResponse:
        return await self.stub.Upscale(edit.UpscaleRequest(image=image, **amount), timeout=timeout_s)

    async def refusal(self, image: bytes, timeout_s: float = 60, **amount: Any) -> MatteworksError:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await self.upscale(image, timeout_s, **amount)
        return from_rpc_error(raised.value)


@pytest_asyncio.fixture
async def enlarging() -> AsyncIterator[Enlarging]:
    async with running_inference() as inference:
        settings = settings_for(inference, upscale_network_megapixels=LIMIT_MEGAPIXELS)
        async with channel_to(await build(settings), settings) as channel:
            yield Enlarging(edit_pb2_grpc.EditServiceStub(channel), inference)


def photo_like(width_px: int, height_px: int) -> NDArray[np.uint8]:
    noise = np.random.default_rng(5).normal(128, 110, (height_px, width_px, 3))
    return np.clip(cv2.GaussianBlur(noise, (0, 0), 1.2), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("amount", "size"),
    [
        ({"factor": 2}, (300, 200)),
        ({"factor": 4}, (600, 400)),
        ({"bounds": edit.Bounds(width_px=333)}, (333, 222)),
        ({"bounds": edit.Bounds(height_px=700)}, (1050, 700)),
    ],
    ids=str,
)
async def test_tiles_are_drawn_and_no_seam_is_left(
    enlarging: Enlarging, amount: dict[str, Any], size: tuple[int, int]
) -> None:
    picture = photo_like(150, 100)
    answer = await enlarging.upscale(encoded(picture), **amount)
    assert (answer.picture.size.width_px, answer.picture.size.height_px) == size
    assert (answer.model, answer.picture.format) == ("enlarger", pb.OUTPUT_FORMAT_PNG)
    assert len(enlarging.inference.tiles) == 4
    in_one_piece = enlarge(picture, Size(*size), enlarged_tile(picture))
    difference = np.abs(decoded(answer.picture.image).astype(int) - in_one_piece)
    # At the very edge a tile's network sees the picture mirrored, and the whole picture's does not.
    assert difference[8:-8, 8:-8].max() <= 2
    assert {stage.stage for stage in answer.stages} == {"decode", "draw", "enlarge", "encode"}


async def test_equal_requests_give_equal_bytes(enlarging: Enlarging) -> None:
    image = encoded(photo_like(120, 90))
    first, second = [await enlarging.upscale(image, factor=2) for _ in range(2)]
    assert first.picture.image == second.picture.image


async def test_alpha_keeps_its_edges_and_lets_nothing_shine_through(enlarging: Enlarging) -> None:
    picture = np.zeros((80, 120, 4), np.uint8)
    picture[20:60, 30:90] = (200, 60, 40, 255)
    picture[:20] = (0, 255, 0, 0)
    result = decoded((await enlarging.upscale(encoded(picture), factor=4)).picture.image)
    assert result.shape == (320, 480, 4)
    alpha = result[..., 3]
    assert (alpha[90:230, 130:350] == 255).all()
    assert not alpha[:70].any()
    assert not alpha[:, :110].any()
    edge = (alpha > 0) & (alpha < 255)
    assert np.abs(result[edge][:, :3].astype(int) - (200, 60, 40)).max() <= 4, "no green, no black"
    assert not result[alpha == 0].any()


async def test_an_automatic_file_keeps_transparency_and_is_small_without(enlarging: Enlarging) -> None:
    picture = np.full((30, 30, 4), 200, np.uint8)
    automatic = {"format": pb.OUTPUT_FORMAT_AUTO}
    see_through = await enlarging.upscale(encoded(picture), factor=2, output=automatic)
    assert see_through.picture.format == pb.OUTPUT_FORMAT_WEBP
    assert (decoded(see_through.picture.image)[..., 3] == 200).all()
    opaque = await enlarging.upscale(encoded(picture[..., :3]), factor=2, output=automatic)
    assert opaque.picture.format == pb.OUTPUT_FORMAT_JPEG


async def test_a_turned_picture_is_enlarged_upright(enlarging: Enlarging) -> None:
    picture = cv2.GaussianBlur(photo_like(80, 40), (0, 0), 3).astype(np.uint8)
    answer = await enlarging.upscale(with_orientation(picture, 6), factor=2)
    assert (answer.picture.size.width_px, answer.picture.size.height_px) == (160, 80)
    difference = decoded(answer.picture.image).astype(int) - enlarge(picture, Size(160, 80))
    assert np.abs(difference).mean() < 3


async def test_what_is_flat_costs_no_network(enlarging: Enlarging) -> None:
    picture = np.full((100, 300, 3), 90, np.uint8)
    picture[40:60, 30:50] = 200
    answer = await enlarging.upscale(encoded(picture), factor=2)
    assert len(enlarging.inference.tiles) == 2
    assert answer.model == "enlarger"
    answer = await enlarging.upscale(encoded(np.full((100, 300, 3), 90, np.uint8)), factor=2)
    assert len(enlarging.inference.tiles) == 2
    assert answer.model == ""
    assert (decoded(answer.picture.image) == 90).all()


async def test_more_detail_than_the_network_is_given_is_left_to_the_filter(enlarging: Enlarging) -> None:
    picture = photo_like(500, 400)
    answer = await enlarging.upscale(encoded(picture), factor=2, output={"format": pb.OUTPUT_FORMAT_BMP})
    assert enlarging.inference.tiles == []
    assert answer.model == ""
    assert np.array_equal(decoded(answer.picture.image), enlarge(picture, Size(1000, 800)))


async def test_without_a_network_the_operator_is_told_how_to_get_one(enlarging: Enlarging) -> None:
    enlarging.inference.upscaler = ""
    error = await enlarging.refusal(encoded(photo_like(40, 40)), factor=2)
    assert error.reason == reasons.ERROR_REASON_TOOL_UNAVAILABLE
    assert "matteworks models pull not-installed" in error.message


async def test_what_cannot_be_made_costs_no_network(enlarging: Enlarging) -> None:
    image = encoded(photo_like(100, 60))
    for amount, field in (
        ({}, "amount"),
        ({"factor": 16}, "factor"),
        ({"factor": -2}, "factor"),
        ({"bounds": edit.Bounds()}, "bounds"),
        ({"bounds": edit.Bounds(width_px=50)}, "bounds"),
        ({"bounds": edit.Bounds(width_px=5000)}, "bounds"),
        ({"factor": 2, "output": edit.EditOutput(format=pb.OUTPUT_FORMAT_ZIP)}, "output.format"),
    ):
        error = await enlarging.refusal(image, **amount)
        assert (error.code, error.field) == (grpc.StatusCode.INVALID_ARGUMENT, field)
    assert enlarging.inference.tiles == []


async def test_a_tile_that_fails_fails_the_call(enlarging: Enlarging) -> None:
    enlarging.inference.error = Unavailable("gone", reason=reasons.ERROR_REASON_ENGINE_FAILED)
    error = await enlarging.refusal(encoded(photo_like(200, 150)), factor=2)
    assert error.reason == reasons.ERROR_REASON_ENGINE_FAILED


async def test_a_network_that_is_too_slow_for_the_deadline_is_told_early(enlarging: Enlarging) -> None:
    enlarging.inference.tile_s = 0.5
    error = await enlarging.refusal(encoded(photo_like(860, 170)), timeout_s=2.0, factor=2)
    assert error.reason == reasons.ERROR_REASON_OVERLOADED
    assert error.retry_after_s
    assert len(enlarging.inference.tiles) < 20
