"""Crop, erase and expand over a real connection."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray
from PIL import Image

from matteworks.compositor.v1 import compositor_pb2 as pb
from matteworks.compositor.v1 import edit_pb2 as edit
from matteworks.compositor.v1 import edit_pb2_grpc
from matteworks_common.errors import MatteworksError, from_rpc_error
from matteworks_compositor.app import build
from tests.component.compositor.conftest import settings_for
from tests.component.compositor.pictures import decoded, encoded, gradient, with_orientation
from tests.support.fake_inference import FakeInference, box_matte, running_inference
from tests.support.harness import channel_to


@dataclass
class Tools:
    """The editing tools of a running compositor."""

    stub: edit_pb2_grpc.EditServiceStub
    inference: FakeInference

    async def crop(self, image: bytes, **area: Any) -> edit.CropResponse:
        return await self.stub.Crop(edit.CropRequest(image=image, **area), timeout=60)

    async def erase(self, image: bytes, mask: bytes, **output: Any) -> edit.EraseResponse:
        request = edit.EraseRequest(image=image, mask_image=mask, output=edit.EditOutput(**output))
        return await self.stub.Erase(request, timeout=60)

    async def expand(self, image: bytes, **amount: Any) -> edit.ExpandResponse:
        return await self.stub.Expand(edit.ExpandRequest(image=image, **amount), timeout=60)


@pytest_asyncio.fixture
async def tools() -> AsyncIterator[Tools]:
    async with running_inference() as inference:
        settings = settings_for(inference)
        async with channel_to(await build(settings), settings) as channel:
            yield Tools(edit_pb2_grpc.EditServiceStub(channel), inference)


async def refusal(call: Any) -> MatteworksError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return from_rpc_error(raised.value)


def region(left: int, top: int, right: int, bottom: int) -> pb.Region:
    return pb.Region(
        left=pb.Length(px=left), top=pb.Length(px=top), right=pb.Length(px=right), bottom=pb.Length(px=bottom)
    )


def stripes(width: int, height: int) -> NDArray[np.uint8]:
    """A texture that goes on in one way only."""
    x = np.arange(width)
    row = np.where((x // 6) % 2 == 0, 60, 190).astype(np.uint8)
    return np.repeat(np.broadcast_to(row, (height, width))[..., None], 3, axis=2)


def mask_of(width: int, height: int, left: int, top: int, right: int, bottom: int) -> bytes:
    mask = np.zeros((height, width), np.uint8)
    mask[top:bottom, left:right] = 255
    return encoded(mask)


async def test_a_box_is_cut_out_exactly_and_no_network_is_asked(tools: Tools) -> None:
    picture = gradient(300, 200)
    answer = await tools.crop(encoded(picture), box=region(20, 30, 120, 90))
    assert np.array_equal(decoded(answer.picture.image), picture[30:90, 20:120])
    assert (answer.area.left_px, answer.area.top_px, answer.area.width_px) == (20, 30, 100)
    assert not tools.inference.requests


async def test_a_box_is_measured_in_the_upright_picture(tools: Tools) -> None:
    picture = gradient(300, 200)
    answer = await tools.crop(with_orientation(picture, 6, "PNG"), box=region(250, 10, 300, 60))
    assert np.array_equal(decoded(answer.picture.image), picture[10:60, 250:300])


@pytest.mark.parametrize(
    ("ratio", "size"), [((1, 1), (200, 200)), ((1, 2), (100, 200)), ((4, 1), (400, 100))]
)
async def test_a_ratio_gives_the_largest_part_around_the_subject(
    tools: Tools, ratio: tuple[int, int], size: tuple[int, int]
) -> None:
    tools.inference.draw = box_matte(0.7, 0.1, 0.9, 0.4)
    picture = gradient(400, 200)
    answer = await tools.crop(encoded(picture), aspect_ratio=pb.AspectRatio(width=ratio[0], height=ratio[1]))
    area = answer.area
    assert (area.width_px, area.height_px) == size
    assert area.left_px == min(320 - size[0] // 2, 400 - size[0])
    cut = picture[area.top_px : area.top_px + size[1], area.left_px : area.left_px + size[0]]
    assert np.array_equal(decoded(answer.picture.image), cut)


async def test_the_subject_is_cut_out_with_room_as_far_as_the_picture_goes(tools: Tools) -> None:
    tools.inference.draw = box_matte(0.25, 0.25, 0.75, 0.75)
    room = pb.Crop(margin_top=pb.Length(px=10), margin_left=pb.Length(px=400))
    area = (await tools.crop(encoded(gradient(400, 200)), subject=room)).area
    assert area.left_px == 0
    assert abs(area.top_px - 40) <= 2
    assert abs(area.left_px + area.width_px - 300) <= 2


async def test_only_what_the_mask_covers_is_changed_and_the_texture_goes_on(tools: Tools) -> None:
    picture = stripes(300, 200)
    spoiled = picture.copy()
    spoiled[80:120, 130:180] = (250, 10, 10)
    mask = mask_of(300, 200, 128, 78, 182, 122)
    result = decoded((await tools.erase(encoded(spoiled), mask)).picture.image)
    outside = np.ones((200, 300), bool)
    outside[78:122, 128:182] = False
    assert np.array_equal(result[outside], spoiled[outside])
    assert np.abs(result[78:122, 128:182].astype(int) - picture[78:122, 128:182]).mean() < 12
    again = decoded((await tools.erase(encoded(spoiled), mask)).picture.image)
    assert np.array_equal(result, again)


async def test_a_hole_in_a_large_picture_is_filled_from_a_reduced_copy_and_nothing_else_changes(
    tools: Tools,
) -> None:
    generator = np.random.default_rng(0)
    picture = (gradient(2400, 1800) // 2 + generator.integers(0, 40, (1800, 2400, 1))).astype(np.uint8)
    picture[500:1300, 700:1700] = (255, 0, 255)
    mask = mask_of(2400, 1800, 690, 490, 1710, 1310)
    answer = await tools.erase(encoded(picture), mask)
    result = decoded(answer.picture.image)
    changed = (result != picture).any(axis=2)
    assert not changed[:490].any()
    assert not changed[:, 1710:].any()
    magenta = (result[..., 0] > 230) & (result[..., 2] > 230)
    assert not magenta.any()


async def test_scattered_holes_are_filled(tools: Tools) -> None:
    picture = gradient(400, 300)
    mask = np.zeros((300, 400), np.uint8)
    mask[::7, ::9] = 255
    spoiled = np.where(mask[..., None] > 0, np.uint8(0), picture)
    result = decoded((await tools.erase(encoded(spoiled), encoded(mask))).picture.image)
    assert np.abs(result.astype(int) - picture).mean() < 3


async def test_a_filled_part_of_a_transparent_picture_is_opaque(tools: Tools) -> None:
    rgba = np.dstack((gradient(100, 80), np.zeros((80, 100), np.uint8)))
    rgba[:, :50, 3] = 255
    result = decoded((await tools.erase(encoded(rgba), mask_of(100, 80, 60, 20, 80, 40))).picture.image)
    assert (result[20:40, 60:80, 3] == 255).all()
    assert not result[60:, 60:, 3].any()


async def test_the_picture_itself_stays_in_a_larger_one(tools: Tools) -> None:
    picture = stripes(120, 90)
    answer = await tools.expand(
        encoded(picture), borders=edit.Borders(top_px=30, right_px=60, bottom_px=0, left_px=0)
    )
    result = decoded(answer.picture.image)
    assert result.shape == (120, 180, 3)
    assert (answer.original.left_px, answer.original.top_px) == (0, 30)
    assert np.array_equal(result[30:, :120], picture)
    above = np.abs(result[:30, :120].astype(int) - picture[0][None]).mean()
    assert above < 25, "the stripes go on"


async def test_the_subject_is_not_repeated_in_the_borders(tools: Tools) -> None:
    tools.inference.draw = box_matte(0.0, 0.3, 0.3, 0.7)
    picture = stripes(200, 160)
    picture[48:112, :60] = (250, 10, 10)
    answer = await tools.expand(encoded(picture), borders=edit.Borders(left_px=80, top_px=40))
    result = decoded(answer.picture.image).astype(int)
    result[40:, 80:] = 0
    assert not ((result[..., 0] > 220) & (result[..., 1] < 60)).any()


async def test_a_picture_that_is_all_subject_is_widened_all_the_same(tools: Tools) -> None:
    tools.inference.draw = lambda width, height: np.full((height, width), 255, np.uint8)
    answer = await tools.expand(encoded(gradient(120, 90)), borders=edit.Borders(bottom_px=40))
    assert decoded(answer.picture.image).shape == (130, 120, 3)


async def test_a_picture_is_widened_to_a_ratio(tools: Tools) -> None:
    answer = await tools.expand(encoded(gradient(100, 100)), aspect_ratio=pb.AspectRatio(width=3, height=2))
    assert (answer.picture.size.width_px, answer.picture.size.height_px) == (150, 100)
    assert answer.original.left_px == 25


@pytest.mark.parametrize("target", ["JPEG", "WEBP", "AVIF", "TIFF", "BMP", "GIF"])
async def test_an_edit_comes_in_every_format(tools: Tools, target: str) -> None:
    output = edit.EditOutput(format=pb.OutputFormat.Value(f"OUTPUT_FORMAT_{target}"))
    rgba = np.dstack((gradient(60, 40), np.full((40, 60), 128, np.uint8)))
    answer = await tools.crop(encoded(rgba), box=region(0, 0, 30, 40), output=output)
    with Image.open(io.BytesIO(answer.picture.image)) as opened:
        assert (opened.format, opened.size) == (target, (30, 40))


PICTURE = encoded(gradient(60, 40))
MASK = mask_of(60, 40, 10, 10, 20, 20)


async def test_what_makes_no_sense_is_refused_by_name(tools: Tools) -> None:
    ratio, borders = pb.AspectRatio, edit.Borders
    wrong = [
        ("area", tools.crop(PICTURE)),
        ("roi", tools.crop(PICTURE, box=region(0, 0, 61, 40))),
        ("roi", tools.crop(PICTURE, box=region(5, 5, 5, 9))),
        ("aspect_ratio", tools.crop(PICTURE, aspect_ratio=ratio(width=0, height=1))),
        ("crop.margin_top", tools.crop(PICTURE, subject=pb.Crop(margin_top=pb.Length(px=999)))),
        ("image", tools.crop(b"hello", box=region(0, 0, 1, 1))),
        ("mask_image", tools.erase(PICTURE, b"")),
        ("mask_image", tools.erase(PICTURE, mask_of(61, 40, 0, 0, 5, 5))),
        ("mask_image", tools.erase(PICTURE, mask_of(60, 40, 0, 0, 0, 0))),
        ("mask_image", tools.erase(PICTURE, mask_of(60, 40, 0, 0, 60, 40))),
        ("output.format", tools.erase(PICTURE, MASK, format=pb.OUTPUT_FORMAT_ZIP)),
        ("output.format", tools.erase(PICTURE, MASK, format=77)),
        ("encoding_quality", tools.erase(PICTURE, MASK, encoding_quality=0)),
        ("amount", tools.expand(PICTURE)),
        ("borders", tools.expand(PICTURE, borders=borders())),
        ("borders", tools.expand(PICTURE, borders=borders(top_px=-1))),
        ("borders", tools.expand(PICTURE, borders=borders(left_px=61))),
        ("aspect_ratio", tools.expand(PICTURE, aspect_ratio=ratio(width=3, height=2))),
        ("aspect_ratio", tools.expand(PICTURE, aspect_ratio=ratio(width=20, height=1))),
    ]
    for field, call in wrong:
        error = await refusal(call)
        assert (error.code, error.field) == (grpc.StatusCode.INVALID_ARGUMENT, field)
    assert not tools.inference.requests


async def test_a_picture_without_a_subject_is_told_so(tools: Tools) -> None:
    tools.inference.draw = lambda width, height: np.zeros((height, width), np.uint8)
    error = await refusal(tools.crop(PICTURE, aspect_ratio=pb.AspectRatio(width=1, height=1)))
    assert error.reason_name == "UNKNOWN_FOREGROUND"
