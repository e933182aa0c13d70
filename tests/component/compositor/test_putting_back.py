"""An edited subject goes back into its picture, over a real connection."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.compositor.v1 import compositor_pb2 as pb
from matteworks.compositor.v1 import edit_pb2 as edit
from matteworks.compositor.v1 import edit_pb2_grpc
from matteworks_common.errors import InvalidField, MatteworksError, from_rpc_error
from matteworks_compositor.app import build
from tests.component.compositor.conftest import settings_for
from tests.component.compositor.pictures import decoded, encoded, gradient, with_orientation
from tests.support.fake_inference import FakeInference, box_matte, running_inference
from tests.support.harness import channel_to

Pixels = NDArray[np.uint8]
ORANGE, VIOLET = (250, 120, 10), (120, 20, 200)


@dataclass
class Tool:
    """PutBack of a running compositor."""

    stub: edit_pb2_grpc.EditServiceStub
    inference: FakeInference

    async def put_back(self, image: bytes, edited: bytes, **more: Any) -> Pixels:
        request = edit.PutBackRequest(image=image, edited_image=edited, **more)
        return decoded((await self.stub.PutBack(request, timeout=60)).picture.image)

    async def refusal(self, image: bytes, edited: bytes, **more: Any) -> MatteworksError:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await self.put_back(image, edited, **more)
        return from_rpc_error(raised.value)


@pytest_asyncio.fixture
async def tool() -> AsyncIterator[Tool]:
    async with running_inference() as inference:
        settings = settings_for(inference)
        async with channel_to(await build(settings), settings) as channel:
            yield Tool(edit_pb2_grpc.EditServiceStub(channel), inference)


def soft_disc(width: int, height: int, middle: tuple[int, int], radius: float, colour: Any) -> Pixels:
    """An RGBA subject with an edge 8 pixels wide. What is transparent is white, as some programs leave it."""
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(x - middle[0], y - middle[1])
    alpha = np.clip((radius - distance) / 8 + 0.5, 0, 1)
    rgba = np.full((height, width, 4), 255, np.uint8)
    rgba[alpha > 0, :3] = colour
    rgba[..., 3] = np.round(alpha * 255)
    return rgba


def over(above: Pixels, below: Pixels) -> NDArray[np.float64]:
    """What the blend of an opaque picture is, by its definition."""
    share = above[..., 3:].astype(float) / 255
    return above[..., :3] * share + below * (1 - share)


async def test_outside_nothing_changes_and_edges_are_mixed_by_alpha(tool: Tool) -> None:
    picture, edited = gradient(300, 200), soft_disc(300, 200, (150, 100), 60, ORANGE)
    result = await tool.put_back(encoded(picture), encoded(edited))
    empty = edited[..., 3] == 0
    assert np.array_equal(result[empty], picture[empty])
    assert np.abs(result - over(edited, picture)).max() <= 1
    assert np.array_equal(result[100, 150], ORANGE)
    assert not tool.inference.requests, "without filling no network is asked"


async def test_a_smaller_file_goes_where_its_place_is_in_the_upright_picture(tool: Tool) -> None:
    picture, edited = gradient(300, 200), soft_disc(90, 80, (45, 40), 30, ORANGE)
    result = await tool.put_back(
        with_orientation(picture, 6, "PNG"), encoded(edited), place=edit.Place(left_px=210, top_px=120)
    )
    expected = picture.astype(float)
    expected[120:, 210:] = over(edited, picture[120:, 210:])
    assert np.abs(result - expected).max() <= 1
    assert np.array_equal(result[:120], picture[:120])


async def test_a_transparent_picture_stays_so_and_hidden_colours_never_show(tool: Tool) -> None:
    picture = np.dstack((gradient(120, 100), np.zeros((100, 120), np.uint8)))
    picture[:, :60, 3] = 128
    edited = soft_disc(120, 100, (60, 50), 30, ORANGE)
    result = await tool.put_back(encoded(picture), encoded(edited))
    shares, under = edited[..., 3] / 255, picture[..., 3] / 255
    assert np.abs(result[..., 3] - 255 * (shares + under * (1 - shares))).max() <= 1
    rim = (edited[..., 3] > 0) & (picture[..., 3] == 0)
    assert (result[rim][:, :3] == ORANGE).all(), "the colours below an empty pixel are nobody's"
    assert np.array_equal(result[edited[..., 3] == 0], picture[edited[..., 3] == 0])


def stripes_with_a_box() -> tuple[Pixels, Pixels]:
    """Stripes, and the same with a violet subject at 40..100 × 40..120."""
    x = np.arange(300)
    row = np.where((x // 6) % 2 == 0, 60, 190).astype(np.uint8)
    plain = np.ascontiguousarray(np.repeat(np.broadcast_to(row, (200, 300))[..., None], 3, axis=2))
    picture = plain.copy()
    picture[40:120, 40:100] = VIOLET
    return plain, picture


def is_violet(pixels: Pixels) -> NDArray[np.bool_]:
    return (pixels[..., 2] > 150) & (pixels[..., 1] < 50)


@pytest.mark.parametrize("has_matte", [True, False])
async def test_the_old_subject_is_filled_where_the_new_one_does_not_hide_it(
    tool: Tool, has_matte: bool
) -> None:
    plain, picture = stripes_with_a_box()
    tool.inference.draw = box_matte(40 / 300, 40 / 200, 100 / 300, 120 / 200)
    matte = np.zeros((200, 300), np.uint8)
    matte[40:120, 40:100] = 255
    edited = soft_disc(300, 200, (100, 80), 40, ORANGE)
    left = await tool.put_back(encoded(picture), encoded(edited))
    assert is_violet(left).any(), "it stays unless it is to go"
    chosen = {"matte_image": encoded(matte)} if has_matte else {}
    result = await tool.put_back(encoded(picture), encoded(edited), fill_old_subject=True, **chosen)
    assert bool(tool.inference.requests) != has_matte
    assert not is_violet(result).any()
    beside = (edited[..., 3] == 0) & (matte == 255)
    assert np.abs(result[beside].astype(int) - plain[beside]).mean() < 25, "the stripes go on"
    far = edited[..., 3] == 0
    far[26:134, 26:114] = False
    assert np.array_equal(result[far], picture[far])


async def test_a_picture_without_a_subject_has_nothing_to_fill(tool: Tool) -> None:
    tool.inference.draw = lambda width, height: np.zeros((height, width), np.uint8)
    picture, edited = gradient(120, 100), soft_disc(120, 100, (60, 50), 30, ORANGE)
    result = await tool.put_back(encoded(picture), encoded(edited), fill_old_subject=True)
    assert np.abs(result - over(edited, picture)).max() <= 1


async def test_a_picture_that_is_all_subject_cannot_be_filled(tool: Tool) -> None:
    tool.inference.draw = lambda width, height: np.full((height, width), 255, np.uint8)
    edited = soft_disc(120, 100, (60, 50), 30, ORANGE)
    error = await tool.refusal(encoded(gradient(120, 100)), encoded(edited), fill_old_subject=True)
    assert isinstance(error, InvalidField)
    assert error.field == "fill_old_subject"


@pytest.mark.parametrize(
    ("edited", "more", "field"),
    [
        (soft_disc(90, 100, (45, 40), 30, ORANGE), {}, "edited_image"),
        (soft_disc(121, 100, (45, 40), 30, ORANGE), {"place": edit.Place()}, "edited_image"),
        (soft_disc(90, 80, (45, 40), 30, ORANGE), {"place": edit.Place(left_px=31)}, "place"),
        (soft_disc(90, 80, (45, 40), 30, ORANGE), {"place": edit.Place(top_px=-1)}, "place"),
        (gradient(120, 100), {}, "edited_image"),
        (np.zeros((100, 120, 4), np.uint8), {}, "edited_image"),
        (
            soft_disc(120, 100, (45, 40), 30, ORANGE),
            {"matte_image": encoded(np.zeros((50, 60), np.uint8)), "fill_old_subject": True},
            "matte_image",
        ),
        (
            soft_disc(120, 100, (45, 40), 30, ORANGE),
            {"matte_image": encoded(np.zeros((100, 120), np.uint8))},
            "matte_image",
        ),
    ],
)
async def test_what_does_not_fit_is_refused_by_its_name(
    tool: Tool, edited: Pixels, more: dict[str, Any], field: str
) -> None:
    error = await tool.refusal(encoded(gradient(120, 100)), encoded(edited), **more)
    assert isinstance(error, InvalidField)
    assert error.field == field
    assert not tool.inference.requests


async def test_what_is_no_picture_is_refused_by_its_name(tool: Tool) -> None:
    error = await tool.refusal(encoded(gradient(120, 100)), b"no picture")
    assert isinstance(error, InvalidField)
    assert error.field == "edited_image"
    assert error.reason == reasons.ERROR_REASON_INVALID_FILE_TYPE


async def test_the_file_is_of_the_type_that_was_asked_for(tool: Tool) -> None:
    edited = soft_disc(120, 100, (60, 50), 30, ORANGE)
    output = edit.EditOutput(format=pb.OUTPUT_FORMAT_JPEG)
    result = await tool.put_back(encoded(gradient(120, 100), "JPEG"), encoded(edited), output=output)
    assert np.abs(result[50, 60].astype(int) - ORANGE).max() < 12
