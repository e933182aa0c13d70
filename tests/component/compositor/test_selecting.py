"""Cut-outs of what is pointed at, over a real connection."""

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
from tests.component.compositor.pictures import decoded, encoded
from tests.support.fake_inference import FakeInference, box_matte, empty_matte, running_inference
from tests.support.harness import channel_to

WIDTH, HEIGHT = 240, 160
RED, BLUE, GREEN = (60, 80), (180, 80), (120, 20)


@dataclass
class Pointer:
    """The selection of a running compositor, and the network that it asks."""

    stub: edit_pb2_grpc.EditServiceStub
    inference: FakeInference

    async def select(
        self, image: bytes, inside: Any = (), outside: Any = (), **more: Any
    ) -> edit.SelectResponse:
        request = edit.SelectRequest(
            image=image,
            inside_points=[edit.Point(x_px=x, y_px=y) for x, y in inside],
            outside_points=[edit.Point(x_px=x, y_px=y) for x, y in outside],
            **more,
        )
        return await self.stub.Select(request, timeout=60)

    async def refusal(self, image: bytes, **more: Any) -> MatteworksError:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await self.select(image, **more)
        return from_rpc_error(raised.value)


@pytest_asyncio.fixture
async def pointer() -> AsyncIterator[Pointer]:
    async with running_inference() as inference:
        settings = settings_for(inference)
        async with channel_to(await build(settings), settings) as channel:
            yield Pointer(edit_pb2_grpc.EditServiceStub(channel), inference)


def two_squares() -> NDArray[np.uint8]:
    """A red and a blue square on grey green, with a little noise."""
    picture = np.full((HEIGHT, WIDTH, 3), (120, 150, 120), np.int16)
    picture[50:110, 30:90] = (200, 40, 40)
    picture[50:110, 150:210] = (40, 60, 190)
    noise = np.random.default_rng(4).integers(-6, 7, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def both(width_px: int, height_px: int) -> NDArray[np.uint8]:
    """A network's matte with both squares."""
    left, right = (
        box_matte(x / WIDTH, 50 / HEIGHT, (x + 60) / WIDTH, 110 / HEIGHT)(width_px, height_px)
        for x in (30, 150)
    )
    return np.asarray(np.maximum(left, right), np.uint8)


def solid(matte: NDArray[np.uint8]) -> tuple[float, float]:
    """How much of the red and of the blue square is taken."""
    return float((matte[54:106, 34:86] > 200).mean()), float((matte[54:106, 154:206] > 200).mean())


async def test_a_point_on_a_part_of_the_matte_takes_that_part(pointer: Pointer) -> None:
    pointer.inference.draw = both
    answer = await pointer.select(encoded(two_squares()), [RED])
    matte = decoded(answer.matte_image)
    assert matte.shape == (HEIGHT, WIDTH)
    red, blue = solid(matte)
    assert red > 0.99
    assert blue == 0
    assert decoded(answer.rendering.image)[80, 180, 3] == 0


async def test_two_points_take_both_parts(pointer: Pointer) -> None:
    pointer.inference.draw = both
    matte = decoded((await pointer.select(encoded(two_squares()), [RED, BLUE])).matte_image)
    assert min(solid(matte)) > 0.99


async def test_a_point_outside_takes_a_part_away(pointer: Pointer) -> None:
    pointer.inference.draw = both
    red, blue = solid(decoded((await pointer.select(encoded(two_squares()), (), [RED])).matte_image))
    assert red < 0.01
    assert blue > 0.9


async def test_a_box_takes_what_is_in_it(pointer: Pointer) -> None:
    pointer.inference.draw = both
    box = pb.Region(left=px(140), top=px(40), right=px(220), bottom=px(120))
    red, blue = solid(decoded((await pointer.select(encoded(two_squares()), box=box)).matte_image))
    assert red == 0
    assert blue > 0.99


async def test_what_the_network_did_not_see_is_found_by_its_colours(pointer: Pointer) -> None:
    pointer.inference.draw = box_matte(30 / WIDTH, 50 / HEIGHT, 90 / WIDTH, 110 / HEIGHT)
    matte = decoded((await pointer.select(encoded(two_squares()), [BLUE])).matte_image)
    red, blue = solid(matte)
    assert red < 0.01
    assert blue > 0.99
    assert matte[80, 144] < 25
    assert matte[80, 216] < 25


async def test_a_matte_of_two_things_is_divided_by_their_colours(pointer: Pointer) -> None:
    pointer.inference.draw = box_matte(30 / WIDTH, 50 / HEIGHT, 210 / WIDTH, 110 / HEIGHT)
    matte = decoded((await pointer.select(encoded(two_squares()), [RED], [BLUE, GREEN])).matte_image)
    red, blue = solid(matte)
    assert red > 0.99
    assert blue < 0.01


async def test_a_picture_without_a_subject_can_be_pointed_at(pointer: Pointer) -> None:
    pointer.inference.draw = empty_matte
    red, blue = solid(decoded((await pointer.select(encoded(two_squares()), [RED])).matte_image))
    assert red > 0.99
    assert blue < 0.01


async def test_the_network_is_asked_once_and_equal_requests_give_equal_answers(pointer: Pointer) -> None:
    pointer.inference.draw = box_matte(30 / WIDTH, 50 / HEIGHT, 90 / WIDTH, 110 / HEIGHT)
    image = encoded(two_squares())
    first, second = [await pointer.select(image, [BLUE]) for _ in range(2)]
    assert len(pointer.inference.requests) == 1
    assert first.rendering.image == second.rendering.image


async def test_the_result_takes_the_options_of_a_removal(pointer: Pointer) -> None:
    pointer.inference.draw = both
    options = pb.RenderOptions(format=pb.OUTPUT_FORMAT_JPEG, crop=pb.Crop())
    answer = await pointer.select(encoded(two_squares()), [RED], options=options)
    assert answer.rendering.format == pb.OUTPUT_FORMAT_JPEG
    assert answer.rendering.size.width_px < 70


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "inside_points"),
        ({"inside": [(240.0, 80.0)]}, "inside_points[0]"),
        ({"inside": [(-0.5, 80.0)]}, "inside_points[0]"),
        ({"inside": [(float("nan"), 80.0)]}, "inside_points[0]"),
        ({"inside": [RED], "outside": [GREEN, (10.0, 160.0)]}, "outside_points[1]"),
        ({"inside": [RED] * 1000}, "inside_points"),
    ],
    ids=["no points", "right of it", "left of it", "nowhere", "outside, below it", "1,000 points"],
)
async def test_bad_points_are_refused_before_any_network(
    pointer: Pointer, given: dict[str, Any], field: str
) -> None:
    error = await pointer.refusal(encoded(two_squares()), **given)
    assert isinstance(error, InvalidField)
    assert error.field == field
    assert pointer.inference.requests == []


async def test_a_box_beside_the_picture_is_refused(pointer: Pointer) -> None:
    box = pb.Region(left=px(200), top=px(0), right=px(900), bottom=px(10))
    error = await pointer.refusal(encoded(two_squares()), box=box)
    assert error.reason == reasons.ERROR_REASON_ROI_EXCEEDS_BOUNDS


def px(count: int) -> pb.Length:
    return pb.Length(px=count)
