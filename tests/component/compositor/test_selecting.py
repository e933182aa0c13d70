"""Cut-outs of what is pointed at, over a real connection."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.common.v1 import image_pb2
from matteworks.compositor.v1 import compositor_pb2 as pb
from matteworks.compositor.v1 import edit_pb2 as edit
from matteworks.compositor.v1 import edit_pb2_grpc
from matteworks.inference.v1 import inference_pb2
from matteworks_common.clock import SystemClock
from matteworks_common.errors import InvalidField, MatteworksError, from_rpc_error
from matteworks_compositor.app import build
from matteworks_inference.metrics import InferenceMetrics
from matteworks_inference.networks.promptable import find_promptable
from matteworks_inference.queueing.door import PictureAdmission
from matteworks_inference.tasks.selection.networks import PromptableNetworks
from matteworks_inference.tasks.selection.selection import PromptedMasks
from tests.component.compositor.conftest import settings_for
from tests.component.compositor.pictures import decoded, encoded
from tests.support.fake_inference import FakeInference, box_matte, empty_matte, running_inference
from tests.support.harness import channel_to
from tests.support.tiny_promptable import write_promptable

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

    async def subjects(self, image: bytes) -> edit.ListSubjectsResponse:
        return await self.stub.ListSubjects(edit.ListSubjectsRequest(image=image), timeout=60)

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


@asynccontextmanager
async def another_compositor(pointer: Pointer) -> AsyncIterator[Pointer]:
    """One that has not been told yet that there is no promptable network."""
    settings = settings_for(pointer.inference)
    async with channel_to(await build(settings), settings) as channel:
        yield Pointer(edit_pb2_grpc.EditServiceStub(channel), pointer.inference)


@contextmanager
def promptable(directory: Path) -> Iterator[PromptedMasks]:
    """A small promptable network that runs for real."""
    write_promptable(directory)
    found = find_promptable(directory)
    assert found is not None
    networks = PromptableNetworks(*found, threads=1, providers=["CPUExecutionProvider"])
    clock = SystemClock()
    admission = PictureAdmission(8, 30, clock, InferenceMetrics(CollectorRegistry()))
    prompted = PromptedMasks(networks, admission, clock)
    try:
        yield prompted
    finally:
        prompted.close()


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


def both_unequal(width_px: int, height_px: int) -> NDArray[np.uint8]:
    """The same, the red square ten columns narrower."""
    matte = both(width_px, height_px)
    matte[:, round(80 * width_px / WIDTH) : width_px // 2] = 0
    return matte


def seen(
    label: str,
    kind: image_pb2.SubjectType.ValueType,
    score: float,
    left: int,
    top: int,
    right: int,
    bottom: int,
) -> inference_pb2.Detection:
    """A thing that the detector saw, in pixels."""
    return inference_pb2.Detection(
        label=label,
        type=kind,
        score=score,
        left=left / WIDTH,
        top=top / HEIGHT,
        right=right / WIDTH,
        bottom=bottom / HEIGHT,
    )


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


async def test_subjects_are_listed_largest_first_with_what_was_seen_there(pointer: Pointer) -> None:
    pointer.inference.draw = both_unequal
    pointer.inference.detections = [seen("dog", image_pb2.SUBJECT_TYPE_ANIMAL, 0.8, 150, 50, 210, 110)]
    answer = await pointer.subjects(encoded(two_squares()))
    assert (answer.size.width_px, answer.size.height_px) == (WIDTH, HEIGHT)
    first, second = answer.subjects
    assert (first.number, first.label, first.subject.type) == (1, "dog", image_pb2.SUBJECT_TYPE_ANIMAL)
    assert first.subject.confidence == pytest.approx(0.8)
    assert (first.box.left_px, first.box.top_px, first.box.width_px, first.box.height_px) == (150, 50, 60, 60)
    assert first.coverage == pytest.approx(60 * 60 / (WIDTH * HEIGHT), rel=0.02)
    assert (second.number, second.label, second.subject.type) == (2, "", image_pb2.SUBJECT_TYPE_UNSPECIFIED)
    assert second.box.left_px == 30


async def test_subjects_come_by_number_alone_and_together(pointer: Pointer) -> None:
    pointer.inference.draw = both_unequal
    image = encoded(two_squares())
    blue, red = [decoded((await pointer.select(image, subjects=[number])).matte_image) for number in (1, 2)]
    together = decoded((await pointer.select(image, subjects=[2, 1, 2])).matte_image)
    assert solid(blue)[1] > 0.99
    assert red[54:106, 34:76].min() > 200
    assert not blue[:, :100].any()
    assert not red[:, 140:].any()
    plain = both_unequal(WIDTH, HEIGHT)
    assert np.abs(together.astype(int) - plain).max() <= 2, "all of them are what a removal keeps"
    assert len(pointer.inference.requests) == 1


async def test_one_call_gives_a_cut_out_for_each_subject(pointer: Pointer) -> None:
    pointer.inference.draw = both_unequal
    image = encoded(two_squares())
    each = {"grouping": edit.SUBJECT_GROUPING_EACH, "options": pb.RenderOptions(crop=pb.Crop())}
    everything = await pointer.select(image, **each)
    assert [one.number for one in everything.cutouts] == [1, 2]
    assert [one.rendering.size.width_px for one in everything.cutouts] == [60, 50]
    assert not everything.matte_image
    named = await pointer.select(image, subjects=[2], **each)
    assert [one.number for one in named.cutouts] == [2]
    assert named.cutouts[0].matte_image == everything.cutouts[1].matte_image


async def test_a_point_adds_to_a_subject_and_another_takes_away(pointer: Pointer) -> None:
    pointer.inference.draw = both
    image = encoded(two_squares())
    added = solid(decoded((await pointer.select(image, [BLUE], subjects=[1])).matte_image))
    assert min(added) > 0.99
    left = solid(decoded((await pointer.select(image, (), [BLUE], subjects=[1, 2])).matte_image))
    assert left[0] > 0.99
    assert left[1] < 0.01


async def test_two_people_in_one_part_are_two_subjects(pointer: Pointer) -> None:
    pointer.inference.draw = box_matte(30 / WIDTH, 50 / HEIGHT, 210 / WIDTH, 110 / HEIGHT)
    picture = two_squares()
    picture[50:110, 90:120], picture[50:110, 120:150] = picture[50:110, 60:90], picture[50:110, 180:210]
    pointer.inference.detections = [
        seen("person", image_pb2.SUBJECT_TYPE_PERSON, score, left, 50, right, 110)
        for score, left, right in ((0.9, 30, 118), (0.6, 122, 210))
    ]
    pointer.inference.detections.append(
        seen("footwear", image_pb2.SUBJECT_TYPE_PRODUCT, 0.9, 30, 90, 60, 110)
    )
    image = encoded(picture)
    assert [one.label for one in (await pointer.subjects(image)).subjects] == ["person", "person"]
    answer = await pointer.select(image, grouping=edit.SUBJECT_GROUPING_EACH)
    mattes = [decoded(one.matte_image) for one in answer.cutouts]
    left, right = sorted(mattes, key=lambda matte: -int(matte[80, 60]))
    assert left[54:106, 34:112].min() > 200
    assert right[54:106, 128:206].min() > 200
    assert int(left[54:106, 128:206].max()) == int(right[54:106, 34:112].max()) == 0


def with_a_speck(width_px: int, height_px: int) -> NDArray[np.uint8]:
    """A matte with both squares, and a small part above the red one."""
    matte = both(width_px, height_px)
    matte[30:44, 60:74] = 255
    return matte


async def test_a_small_part_in_the_box_of_a_thing_belongs_to_it(pointer: Pointer) -> None:
    pointer.inference.draw = with_a_speck
    image = encoded(two_squares())
    assert len((await pointer.subjects(image)).subjects) == 3
    pointer.inference.detections = [seen("person", image_pb2.SUBJECT_TYPE_PERSON, 0.9, 30, 28, 90, 110)]
    other = encoded(np.ascontiguousarray(two_squares() // 2))
    boxes = [one.box for one in (await pointer.subjects(other)).subjects]
    assert [(box.top_px, box.height_px) for box in boxes] == [(30, 80), (50, 60)]


async def test_a_small_part_that_is_pointed_out_goes_whole_and_alone(
    pointer: Pointer,
) -> None:
    pointer.inference.draw = with_a_speck
    pointer.inference.detections = [seen("person", image_pb2.SUBJECT_TYPE_PERSON, 0.9, 30, 28, 90, 110)]
    picture = two_squares()
    # Of the same colour as the square below it: colours cannot tell them apart.
    picture[30:44, 60:74] = (200, 40, 40)
    image = encoded(picture)
    speck = (67.0, 37.0)
    without = decoded((await pointer.select(image, [RED], [speck])).matte_image)
    assert without[30:44, 60:74].max() == 0
    assert np.array_equal(without[47:], decoded((await pointer.select(image, [RED])).matte_image)[47:])
    pointed_at_both = decoded((await pointer.select(image, [speck], [RED])).matte_image)
    assert pointed_at_both[32:42, 62:72].min() > 200
    assert solid(pointed_at_both) == (0, 0)


async def test_a_picture_without_a_subject_has_an_empty_list(pointer: Pointer) -> None:
    pointer.inference.draw = empty_matte
    image = encoded(two_squares())
    assert not (await pointer.subjects(image)).subjects
    for asked in ({"subjects": [1]}, {"grouping": edit.SUBJECT_GROUPING_EACH}):
        assert (await pointer.refusal(image, **asked)).reason == reasons.ERROR_REASON_UNKNOWN_FOREGROUND
    assert len(pointer.inference.requests) == 1


async def test_a_subject_that_is_not_there_is_told_with_those_that_are(pointer: Pointer) -> None:
    pointer.inference.draw = both
    error = await pointer.refusal(encoded(two_squares()), subjects=[1, 3])
    assert isinstance(error, InvalidField)
    assert error.field == "subjects[1]"
    assert "1 to 2" in error.message


async def test_the_operators_promptable_network_decides_and_the_matte_has_the_edges(
    pointer: Pointer, tmp_path: Path
) -> None:
    """Red and blue are one part of the matte: without the network a point on one of them takes both."""
    pointer.inference.draw = box_matte(30 / WIDTH, 50 / HEIGHT, 210 / WIDTH, 110 / HEIGHT)
    image = encoded(two_squares())
    assert min(solid(decoded((await pointer.select(image, [RED])).matte_image))) > 0.99
    with promptable(tmp_path) as prompted:
        pointer.inference.prompted = prompted
        async with another_compositor(pointer) as asked:
            red, blue = solid(decoded((await asked.select(image, [RED])).matte_image))
            assert red > 0.99
            assert blue == 0
            box = pb.Region(left=px(140), top=px(40), right=px(220), bottom=px(120))
            red, blue = solid(decoded((await asked.select(image, [BLUE], box=box)).matte_image))
            assert red == 0
            assert blue > 0.99
            await asked.select(image, subjects=[1])
    assert len(pointer.inference.prompts) == 2, "a number is no prompt"


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "inside_points"),
        ({"subjects": [0]}, "subjects[0]"),
        ({"subjects": [1, -2]}, "subjects[1]"),
        ({"subjects": [1] * 21}, "subjects"),
        ({"subjects": [1], "grouping": 7}, "grouping"),
        ({"inside": [RED], "grouping": edit.SUBJECT_GROUPING_EACH}, "grouping"),
        ({"inside": [(240.0, 80.0)]}, "inside_points[0]"),
        ({"inside": [(-0.5, 80.0)]}, "inside_points[0]"),
        ({"inside": [(float("nan"), 80.0)]}, "inside_points[0]"),
        ({"inside": [RED], "outside": [GREEN, (10.0, 160.0)]}, "outside_points[1]"),
        ({"inside": [RED] * 1000}, "inside_points"),
    ],
    ids=[
        "no points",
        "subject 0",
        "subject -2",
        "21 subjects",
        "no grouping",
        "points and each",
        "right of it",
        "left of it",
        "nowhere",
        "outside, below it",
        "1,000 points",
    ],
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
