"""Our own options of a removal: what reaches the compositor, and that nobody else notices them."""

from __future__ import annotations

import email
import email.policy
import io
import json
import zipfile

import httpx
import pytest
from PIL import Image

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.common.v1 import image_pb2
from matteworks.compositor.v1 import compositor_pb2
from matteworks_common.errors import LimitExceeded, NotFound
from tests.support.edge_harness import EdgeStack, picture

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_every_addition_reaches_the_compositor(edge: EdgeStack) -> None:
    answer = await edge.remove(
        despill="true",
        despill_color="#00b140",
        despill_strength="0",
        holes="Clear",
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
    assert options.holes == compositor_pb2.HOLES_CLEAR
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
    assert answer.headers["x-confidence"] == "0.88"


async def test_without_additions_the_request_is_as_it_was(edge: EdgeStack) -> None:
    await edge.remove()
    request = edge.compositor.requests[-1]
    assert (request.model, request.quality) == ("", image_pb2.QUALITY_UNSPECIFIED)
    for name in ("despill", "despill_color", "despill_strength_percent", "keep_metadata", "crop"):
        assert not request.options.HasField(name)
    assert request.options.holes == compositor_pb2.HOLES_UNSPECIFIED


@pytest.mark.parametrize("wrong", ["open", "1", "HOLES_KEEP"])
async def test_unknown_holes_are_refused_with_the_values_and_cost_nothing(
    edge: EdgeStack, wrong: str
) -> None:
    answer = await edge.remove(holes=wrong)
    assert answer.status_code == 400
    (error,) = answer.json()["errors"]
    assert error["title"] == "Invalid holes parameter given"
    assert "keep or clear" in error["detail"]
    assert edge.compositor.requests == []
    assert edge.books.spent_milli == 0


async def test_each_result_may_have_its_own_holes(edge: EdgeStack) -> None:
    answer = await edge.remove(
        holes="clear",
        outputs=outputs({"name": "a"}, {"name": "b", "holes": "keep"}, {"name": "c", "holes": ""}),
    )
    assert answer.status_code == 200, answer.text
    request = edge.compositor.requests[-1]
    assert [options.holes for options in (request.options, *request.more_options)] == [
        compositor_pb2.HOLES_CLEAR,
        compositor_pb2.HOLES_KEEP,
        compositor_pb2.HOLES_UNSPECIFIED,
    ]


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
        path=path, quality="95", model="../x", holes="?", keep_metadata="??", crop_aspect_ratio="no"
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


def outputs(*wanted: dict[str, object]) -> str:
    return json.dumps(wanted)


def members(answer: httpx.Response) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        return archive.namelist()


async def test_several_results_are_one_run_and_one_charge(edge: EdgeStack) -> None:
    answer = await edge.remove(
        picture(600, 500),
        size="full",
        format="png",
        bg_color="red",
        outputs=outputs(
            {"name": "full", "bg_color": ""},
            {"name": "thumb", "format": "jpg", "max_side": 64, "crop": True, "crop_margin": "5%"},
            {"name": "mask", "channels": "alpha"},
        ),
    )
    assert answer.status_code == 200, answer.text
    assert members(answer) == ["full.png", "thumb.jpg", "mask.png"]
    assert edge.books.spent_milli == 1000
    (request,) = edge.compositor.requests
    thumb, mask = request.more_options
    assert not request.options.HasField("bg_color"), "an empty field takes the form's away"
    assert (thumb.max_size.width_px, thumb.crop.margin_top.percent, thumb.bg_color.red) == (64, 5, 255)
    assert mask.channels == compositor_pb2.CHANNELS_ALPHA
    assert {options.max_pixel_count for options in (request.options, thumb, mask)} == {25_000_000}


async def test_equal_requests_give_equal_archives(edge: EdgeStack) -> None:
    wanted = outputs({"name": "a"}, {"name": "b", "format": "jpg"})
    first, second = [await edge.remove(outputs=wanted) for _ in range(2)]
    assert first.content == second.content


async def test_the_accept_header_chooses_parts(edge: EdgeStack) -> None:
    answer = await edge.remove(
        headers={"Accept": "multipart/mixed"}, outputs=outputs({"name": "a"}, {"name": "b", "format": "jpg"})
    )
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    parts = list(email.message_from_bytes(head + answer.content, policy=email.policy.default).iter_parts())
    assert [part.get_filename() for part in parts] == ["a.png", "b.jpg"]
    assert [part["X-Width"] for part in parts] == ["40", "40"]
    Image.open(io.BytesIO(parts[1].get_payload(decode=True))).verify()


async def test_a_background_picture_goes_behind_those_that_want_it(edge: EdgeStack) -> None:
    answer = await edge.http.post(
        "/v1.0/removebg",
        files={"image_file": picture(), "bg_image_file": picture(20, 20)},
        data={
            "outputs": outputs(
                {"name": "a"}, {"name": "b", "bg_color": "transparent"}, {"name": "c", "channels": "alpha"}
            )
        },
        headers={"X-Api-Key": edge.key},
    )
    assert answer.status_code == 200, answer.text
    request = edge.compositor.requests[-1]
    behind = [bool(options.bg_image) for options in (request.options, *request.more_options)]
    assert behind == [True, False, False]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("no json", "outputs"),
        ('"a"', "outputs"),
        ("[]", "outputs"),
        ("[1]", "outputs"),
        ("[" * 3000, "outputs"),
        ("{}", "outputs"),
        ('[{"format": "jpg"}]', "outputs[0].name"),
        ('[{"name": "con"}]', "outputs[0].name"),
        ('[{"name": "A"}]', "outputs[0].name"),
        ('[{"name": "a/../b"}]', "outputs[0].name"),
        ('[{"name": "a", "outputs": "[]"}]', "outputs[0].outputs"),
        ('[{"name": "a", "roi": "0 0 1 1"}]', "outputs[0].roi"),
        ('[{"name": "a", "max_side": 0}]', "outputs[0].max_side"),
        ('[{"name": "a", "crop": [1]}]', "outputs[0].crop"),
        ('[{"name": "a"}, {"name": "a"}]', "outputs"),
        ("[" + ",".join(["{}"] * 9) + "]", "outputs"),
    ],
)
async def test_wrong_outputs_are_named_and_nothing_runs(edge: EdgeStack, text: str, named: str) -> None:
    answer = await edge.remove(outputs=text)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["title"] == f"Invalid {named} parameter given"
    assert edge.compositor.requests == []
    assert edge.books.spent_milli == 0


async def test_a_wrong_way_of_packing_is_refused(edge: EdgeStack) -> None:
    answer = await edge.remove(outputs=outputs({"name": "a"}), outputs_as="tar")
    assert answer.json()["errors"][0]["title"] == "Invalid outputs_as parameter given"


async def test_a_dry_run_tells_price_size_and_balance_and_charges_nothing(edge: EdgeStack) -> None:
    answer = await edge.remove(picture(600, 500), size="full", dry_run="true")
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-credits-charged"] == "0"
    assert answer.headers["x-ratelimit-remaining"] == "500", "nothing is taken of the rate limit"
    assert answer.json() == {
        "data": {
            "dry_run": True,
            "credits": 1,
            "free_call": False,
            "repeat": False,
            "width": 600,
            "height": 500,
            "outputs": [],
            "balance": {"credits": 10, "free_calls": 0},
        }
    }
    (request,) = edge.compositor.requests
    assert request.dry_run
    assert request.options.max_pixel_count == 25_000_000
    assert (edge.books.spent_milli, edge.books.held_milli) == (0, 0)
    assert "Commit" not in edge.accounts.calls


async def test_after_a_dry_run_the_call_itself_is_charged(edge: EdgeStack) -> None:
    content = picture(601, 500)
    key = {"Idempotency-Key": "after-a-dry-run"}
    assert (await edge.remove(content, dry_run="true", headers=key)).json()["data"]["credits"] == 0.25
    edge.accounts.calls.clear()
    assert (await edge.remove(content)).headers["x-credits-charged"] == "0.25"
    assert (await edge.remove(content, dry_run="true")).json()["data"]["repeat"] is True


async def test_a_dry_run_tells_that_a_free_call_pays(edge: EdgeStack) -> None:
    edge.key = edge.accounts.new_key(credits_milli=0, free_calls=1)
    data = (await edge.remove(dry_run="true")).json()["data"]
    assert (data["credits"], data["free_call"], data["balance"]["free_calls"]) == (0, True, 1)


@pytest.mark.parametrize(
    ("fields", "content", "credits_milli"),
    [
        ({"size": "huge", "roi": "x"}, None, 10_000),
        ({}, b"no picture", 10_000),
        ({"roi": "0 0 4000 4000"}, None, 10_000),
        ({"size": "full"}, None, 0),
        ({"outputs": "[]"}, None, 10_000),
    ],
)
async def test_a_dry_run_fails_as_the_call_itself(
    edge: EdgeStack, fields: dict[str, str], content: bytes | None, credits_milli: int
) -> None:
    edge.key = edge.accounts.new_key(credits_milli=credits_milli)
    dry = await edge.remove(content, dry_run="true", **fields)
    real = await edge.remove(content, **fields)
    assert (dry.status_code, dry.json()) == (real.status_code, real.json())
    assert dry.status_code in (400, 402)


async def test_a_dry_run_with_a_used_up_rate_is_429(edge: EdgeStack) -> None:
    edge.accounts.failures["Reserve"] = [
        LimitExceeded(reasons.ERROR_REASON_RATE_LIMIT_EXCEEDED, "Wait.", retry_after_s=7)
    ]
    answer = await edge.remove(dry_run="true")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
