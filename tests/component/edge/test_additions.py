"""Our own options of a removal: what reaches the compositor, and that nobody else notices them."""

from __future__ import annotations

import pytest

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.common.v1 import image_pb2
from matteworks.compositor.v1 import compositor_pb2
from matteworks_common.errors import NotFound
from tests.support.edge_harness import EdgeStack, picture

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_every_addition_reaches_the_compositor(edge: EdgeStack) -> None:
    answer = await edge.remove(
        despill="true",
        despill_color="#00b140",
        despill_strength="0",
        keep_metadata="1",
        crop="true",
        crop_margin="10%",
        crop_aspect_ratio="4:5",
        quality="Best",
        model="u2netp",
    )
    assert answer.status_code == 200, answer.text
    request = edge.compositor.requests[-1]
    options = request.options
    assert (request.model, request.quality) == ("u2netp", image_pb2.QUALITY_BEST)
    assert (options.despill, options.keep_metadata) == (True, True)
    assert (options.despill_color.red, options.despill_color.green, options.despill_color.blue) == (
        0,
        177,
        64,
    )
    assert options.HasField("despill_strength_percent")
    assert options.despill_strength_percent == 0
    assert (options.crop.aspect_ratio.width, options.crop.aspect_ratio.height) == (4, 5)
    assert options.crop.margin_left.percent == 10
    assert answer.headers["x-model"] == "test"


async def test_without_additions_the_request_is_as_it_was(edge: EdgeStack) -> None:
    await edge.remove()
    request = edge.compositor.requests[-1]
    assert (request.model, request.quality) == ("", image_pb2.QUALITY_UNSPECIFIED)
    for name in ("despill", "despill_color", "despill_strength_percent", "keep_metadata", "crop"):
        assert not request.options.HasField(name)


async def test_a_named_light_is_taken_out_unless_despill_says_no(edge: EdgeStack) -> None:
    await edge.remove(despill_color="green")
    assert edge.compositor.requests[-1].options.despill
    await edge.remove(despill_color="green", despill="false")
    assert not edge.compositor.requests[-1].options.despill


async def test_a_ratio_alone_crops(edge: EdgeStack) -> None:
    await edge.remove(crop_aspect_ratio="1:1", crop_margin="5px")
    crop = edge.compositor.requests[-1].options.crop
    assert (crop.aspect_ratio.width, crop.margin_top.px) == (1, 5)


async def test_a_crop_without_margins_is_still_a_crop(edge: EdgeStack) -> None:
    await edge.remove(crop="true")
    assert edge.compositor.requests[-1].options.HasField("crop")


@pytest.mark.parametrize(
    ("path", "key_header"),
    [("/v1/segment", "X-Api-Key"), ("/remove-background/v1", "X-Api-Key"), ("/v1/removebg", "X-Api-Key")],
)
async def test_other_providers_clients_are_answered_as_before(
    edge: EdgeStack, path: str, key_header: str
) -> None:
    answer = await edge.remove(
        path=path, quality="95", model="../x", keep_metadata="??", crop_aspect_ratio="no"
    )
    assert answer.status_code == 200, answer.text
    request = edge.compositor.requests[-1]
    assert (request.model, request.quality) == ("", image_pb2.QUALITY_UNSPECIFIED)
    assert "x-model" not in answer.headers


async def test_another_model_is_another_request_and_another_charge(edge: EdgeStack) -> None:
    content = picture(77, 50)
    first = await edge.remove(content, model="one")
    again = await edge.remove(content, model="one")
    other = await edge.remove(content, model="two")
    better = await edge.remove(content, model="one", quality="best")
    charged = [answer.headers["x-credits-charged"] for answer in (first, again, other, better)]
    assert charged == ["0.25", "0", "0.25", "0.25"]


async def test_a_model_that_is_not_there_is_told_with_the_list_and_costs_nothing(edge: EdgeStack) -> None:
    async def refuse(
        request: compositor_pb2.RemoveBackgroundRequest,
    ) -> compositor_pb2.RemoveBackgroundResponse:
        raise NotFound(
            reasons.ERROR_REASON_MODEL_NOT_FOUND, "No model has this name. Give one of a, b.", field="model"
        )

    edge.compositor.answer = refuse
    answer = await edge.remove(model="c")
    assert answer.status_code == 400
    (error,) = answer.json()["errors"]
    assert error["code"] == "invalid_model"
    assert "a, b" in error["detail"]
    assert edge.books.spent_milli == 0
