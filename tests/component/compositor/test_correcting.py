"""Mattes corrected by strokes and masks, over a real connection."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray

from matteworks.compositor.v1 import compositor_pb2 as pb
from matteworks.compositor.v1 import edit_pb2 as edit
from matteworks.compositor.v1 import edit_pb2_grpc
from matteworks_common.errors import MatteworksError, from_rpc_error
from matteworks_compositor.app import build
from tests.component.compositor.conftest import settings_for
from tests.component.compositor.pictures import decoded, encoded
from tests.support.fake_inference import FakeInference, box_matte, running_inference
from tests.support.harness import channel_to

KEEP, ERASE, RESTORE = edit.STROKE_KIND_KEEP, edit.STROKE_KIND_ERASE, edit.STROKE_KIND_RESTORE
WIDTH, HEIGHT, EDGE = 240, 160, 120


@dataclass
class Brush:
    """The brush of a running compositor, and the network that it asks."""

    stub: edit_pb2_grpc.EditServiceStub
    inference: FakeInference

    async def correct(self, image: bytes, *strokes: edit.Stroke, **more: Any) -> edit.CorrectResponse:
        return await self.stub.Correct(edit.CorrectRequest(image=image, strokes=strokes, **more), timeout=60)

    async def refusal(self, image: bytes, *strokes: edit.Stroke, **more: Any) -> MatteworksError:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await self.correct(image, *strokes, **more)
        return from_rpc_error(raised.value)


@pytest_asyncio.fixture
async def brush() -> AsyncIterator[Brush]:
    async with running_inference() as inference:
        settings = settings_for(inference)
        async with channel_to(await build(settings), settings) as channel:
            yield Brush(edit_pb2_grpc.EditServiceStub(channel), inference)


def stroke(kind: Any, *points: tuple[float, float], radius_px: float = 20) -> edit.Stroke:
    return edit.Stroke(kind=kind, points=[edit.Point(x_px=x, y_px=y) for x, y in points], radius_px=radius_px)


def two_colours() -> NDArray[np.uint8]:
    """Red left of EDGE, blue right of it, with a little noise."""
    picture = np.zeros((HEIGHT, WIDTH, 3), np.int16)
    picture[:, :EDGE] = (200, 40, 40)
    picture[:, EDGE:] = (40, 60, 190)
    noise = np.random.default_rng(4).integers(-6, 7, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def flat_matte(value: int) -> bytes:
    return encoded(np.full((HEIGHT, WIDTH), value, np.uint8))


async def test_a_stroke_ends_at_the_edge_that_its_rim_crosses(brush: Brush) -> None:
    # The brush reaches 9 px over the edge; its core does not.
    drawn = stroke(KEEP, (EDGE - 16, 60), (EDGE - 16, 110), radius_px=22)
    answer = await brush.correct(encoded(two_colours()), drawn, matte_image=flat_matte(0))
    matte = decoded(answer.matte_image)
    assert matte.shape == (HEIGHT, WIDTH)
    assert matte[85, EDGE - 4 : EDGE - 2].min() > 230, "up to the edge"
    assert matte[85, EDGE + 4 :].max() < 25, "and not beyond it"
    assert matte[:, : EDGE - 45].max() == 0
    cutout = decoded(answer.rendering.image)
    assert cutout.shape[2] == 4
    assert brush.inference.requests == []


async def test_the_core_of_a_stroke_is_taken_at_its_word(brush: Brush) -> None:
    drawn = stroke(ERASE, (EDGE, 80), radius_px=30)
    matte = decoded(
        (await brush.correct(encoded(two_colours()), drawn, matte_image=flat_matte(255))).matte_image
    )
    assert matte[80, EDGE - 12 : EDGE + 12].max() == 0
    assert matte[80, : EDGE - 40].min() == 255


async def test_the_networks_matte_is_asked_for_once(brush: Brush) -> None:
    brush.inference.draw = box_matte(0.25, 0.25, 0.75, 0.75)
    image = encoded(two_colours())
    first = await brush.correct(image, stroke(KEEP, (20, 20)))
    again = await brush.correct(image, stroke(ERASE, (120, 80)))
    assert len(brush.inference.requests) == 1
    assert decoded(first.matte_image)[20, 20] == 255
    assert decoded(again.matte_image)[20, 20] == 0
    assert decoded(again.matte_image)[80, 120] == 0


async def test_restoring_gives_the_networks_matte_back(brush: Brush) -> None:
    brush.inference.draw = box_matte(0.25, 0.25, 0.75, 0.75)
    image = encoded(two_colours())
    erased = await brush.correct(image, stroke(ERASE, (80, 80), radius_px=25))
    assert decoded(erased.matte_image)[80, 80] == 0
    restored = await brush.correct(
        image, stroke(RESTORE, (80, 80), radius_px=40), matte_image=erased.matte_image
    )
    assert decoded(restored.matte_image)[80, 80] == 255


async def test_a_cutout_is_corrected_by_its_own_alpha(brush: Brush) -> None:
    cutout = np.dstack((two_colours(), np.full((HEIGHT, WIDTH), 200, np.uint8)))
    answer = await brush.correct(encoded(cutout), stroke(ERASE, (60, 80)), own_alpha=True)
    alpha = decoded(answer.rendering.image)[..., 3]
    assert alpha[80, 60] == 0
    assert alpha[10, 230] == 200
    difference = decoded(answer.matte_image).astype(int) - alpha
    assert np.abs(difference).max() <= 2, "rounded twice"
    assert brush.inference.requests == []


async def test_a_mask_says_what_strokes_would(brush: Brush) -> None:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[40:120, 30 : EDGE + 4] = 255
    answer = await brush.correct(
        encoded(two_colours()), mask_image=encoded(mask), mask_kind=KEEP, matte_image=flat_matte(0)
    )
    matte = decoded(answer.matte_image)
    assert matte[80, 60 : EDGE - 10].min() == 255
    assert matte[80, EDGE + 12 :].max() == 0


async def test_the_result_takes_the_options_of_a_removal(brush: Brush) -> None:
    options = pb.RenderOptions(
        format=pb.OUTPUT_FORMAT_JPEG, crop=pb.Crop(), bg_color=pb.Color(green=255, alpha=255)
    )
    answer = await brush.correct(
        encoded(two_colours()),
        stroke(KEEP, (60, 80), radius_px=30),
        matte_image=flat_matte(0),
        options=options,
    )
    assert answer.rendering.format == pb.OUTPUT_FORMAT_JPEG
    assert answer.rendering.size.width_px < 90


@pytest.mark.parametrize(
    ("strokes", "more", "field"),
    [
        ([], {}, "strokes"),
        ([stroke(KEEP, (500, 500))], {}, "strokes[0].points"),
        ([stroke(KEEP)], {}, "strokes[0].points"),
        ([stroke(KEEP, (float("nan"), 1))], {}, "strokes[0].points"),
        ([stroke(KEEP, (1, 1), radius_px=0)], {}, "strokes[0].radius_px"),
        ([stroke(KEEP, (1, 1), radius_px=1e9)], {}, "strokes[0].radius_px"),
        ([stroke(edit.STROKE_KIND_UNSPECIFIED, (1, 1))], {}, "strokes[0].kind"),
        ([stroke(KEEP, (1, 1))] * 1001, {}, "strokes"),
        ([stroke(KEEP, *[(1, 1)] * 10_001)], {}, "strokes[0].points"),
        ([], {"mask_image": encoded(np.full((9, 9), 255, np.uint8)), "mask_kind": KEEP}, "mask_image"),
        ([], {"mask_image": flat_matte(0), "mask_kind": KEEP, "matte_image": flat_matte(0)}, "mask_image"),
        ([], {"mask_image": flat_matte(255)}, "mask_kind"),
        ([stroke(KEEP, (1, 1))], {"matte_image": encoded(np.zeros((9, 9), np.uint8))}, "matte_image"),
        ([stroke(KEEP, (1, 1))], {"matte_image": b"no picture"}, "matte_image"),
        ([stroke(KEEP, (1, 1))], {"options": pb.RenderOptions(roi=pb.Region(
            left=pb.Length(px=0), top=pb.Length(px=0), right=pb.Length(px=9), bottom=pb.Length(px=9)))},
         "options.roi"),
    ],
)  # fmt: skip
async def test_what_cannot_be_meant_is_refused_by_its_field(
    brush: Brush, strokes: list[edit.Stroke], more: dict[str, Any], field: str
) -> None:
    error = await brush.refusal(encoded(two_colours()), *strokes, **more)
    assert error.field == field
    assert brush.inference.requests == []
