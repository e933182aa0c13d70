"""200: what a successful removal looks like to a client."""

from __future__ import annotations

import asyncio
import base64

import pytest

from matteworks.compositor.v1 import compositor_pb2
from tests.support.edge_harness import EdgeStack, picture

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_an_upload_comes_back_as_a_picture_with_the_vendors_headers(edge: EdgeStack) -> None:
    answer = await edge.remove(size="auto")
    assert answer.status_code == 200
    assert answer.content.startswith(b"\x89PNG")
    told = {name.lower(): value for name, value in answer.headers.items()}
    assert told["content-type"] == "image/png"
    assert (told["x-width"], told["x-height"]) == ("40", "30")
    assert (told["x-max-width"], told["x-max-height"]) == ("40", "30")
    assert told["x-type"] == "car"
    assert told["x-credits-charged"] == "0.25"
    assert [told[f"x-foreground-{side}"] for side in ("top", "left", "width", "height")] == list("2134")
    assert (told["x-ratelimit-limit"], told["x-ratelimit-remaining"]) == ("500", "499")
    assert told["x-ratelimit-reset"] == "1800000001"
    assert told["access-control-allow-origin"] == "*"
    assert "content-encoding" not in told


async def test_json_carries_the_picture_and_the_box_and_the_same_headers(edge: EdgeStack) -> None:
    answer = await edge.remove(headers={"Accept": "application/json"})
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    data = answer.json()["data"]
    assert list(data) == [
        "result_b64",
        "foreground_top",
        "foreground_left",
        "foreground_width",
        "foreground_height",
    ]
    assert base64.b64decode(data["result_b64"]).startswith(b"\x89PNG")
    assert [data[f"foreground_{side}"] for side in ("top", "left", "width", "height")] == [2, 1, 3, 4]
    assert answer.headers["x-credits-charged"] == "0.25"


async def test_a_client_that_accepts_everything_gets_bytes(edge: EdgeStack) -> None:
    answer = await edge.remove(headers={"Accept": "application/json, text/plain, */*"})
    assert answer.headers["content-type"] == "image/png"


@pytest.mark.parametrize(
    ("name", "content_type"),
    [("png", "image/png"), ("jpg", "image/jpeg"), ("webp", "image/webp"), ("zip", "application/zip")],
)
async def test_each_format_has_its_content_type(edge: EdgeStack, name: str, content_type: str) -> None:
    answer = await edge.remove(format=name)
    assert answer.headers["content-type"] == content_type


@pytest.mark.parametrize(
    ("level", "told"), [("none", None), ("1", "car"), ("2", "car_part"), ("latest", "car_part"), ("x", "car")]
)
async def test_the_type_is_told_at_the_level_asked_for(edge: EdgeStack, level: str, told: str | None) -> None:
    answer = await edge.remove(type_level=level)
    assert answer.headers.get("x-type") == told


async def test_every_parameter_reaches_the_compositor(edge: EdgeStack) -> None:
    answer = await edge.remove(
        roi="0 10% 20px 100%",
        crop="TRUE",
        crop_margin="10px, 5%",
        scale="50%",
        position="10% 90%",
        channels="rgba",
        semitransparency="false",
        bg_color="#0f08",
        type="graphic",
        format="webp",
        size="hd",
        **{"shadow_type[car]": "drop", "shadow_opacity[car]": "70", "unknown": "ignored"},
    )
    assert answer.status_code == 200
    request = edge.compositor.requests[-1]
    assert request.image == picture()
    assert request.subject_type == 8
    expected = compositor_pb2.RenderOptions(
        max_pixel_count=4_000_000,
        max_png_pixel_count=10_000_000,
        format=compositor_pb2.OUTPUT_FORMAT_WEBP,
        channels=compositor_pb2.CHANNELS_RGBA,
        roi={"left": {"px": 0}, "top": {"percent": 10}, "right": {"px": 20}, "bottom": {"percent": 100}},
        crop={
            "margin_top": {"px": 10},
            "margin_right": {"percent": 5},
            "margin_bottom": {"px": 10},
            "margin_left": {"percent": 5},
        },
        scale_percent=50,
        position={"share": {"horizontal_percent": 10, "vertical_percent": 90}},
        semitransparency=False,
        bg_color={"red": 0, "green": 255, "blue": 0, "alpha": 136},
        shadows=[{"subject_type": 4, "shadow_type": 3, "opacity_percent": 70}],
    )
    assert request.options == expected


async def test_empty_fields_and_empty_files_count_as_absent(edge: EdgeStack) -> None:
    empty = dict.fromkeys(("roi", "crop", "crop_margin", "scale", "bg_color", "image_url", "size"), "")
    answer = await edge.http.post(
        "/v1.0/removebg",
        files={"image_file": ("x", picture()), "bg_image_file": ("", b"")},
        data=empty,
        headers={"X-Api-Key": edge.key},
    )
    assert answer.status_code == 200


@pytest.mark.parametrize("alias", ["image_file_b64", "image_base64"])
@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
@pytest.mark.parametrize("encoding", ["data", "json"])
async def test_base64_is_accepted_in_forms_and_json(
    edge: EdgeStack, alias: str, prefix: str, encoding: str
) -> None:
    body = {alias: prefix + base64.b64encode(picture()).decode()}
    answer = await edge.http.post(
        "/v1.0/removebg",
        headers={"X-Api-Key": edge.key},
        **{encoding: body},  # type: ignore[arg-type]
    )
    assert answer.status_code == 200
    assert edge.compositor.requests[-1].image == picture()


async def test_json_numbers_booleans_and_maps_are_read(edge: EdgeStack) -> None:
    body = {
        "image_file_b64": base64.b64encode(picture()).decode(),
        "crop": True,
        "scale": 60,
        "semitransparency": False,
        "bg_color": None,
        "shadow_type": {"car": "3D"},
        "shadow_opacity": 40,
    }
    answer = await edge.http.post("/v1.0/removebg", json=body, headers={"X-Api-Key": edge.key})
    assert answer.status_code == 200
    options = edge.compositor.requests[-1].options
    assert options.HasField("crop")
    assert options.scale_percent == 60
    assert options.semitransparency is False
    assert [(s.subject_type, s.shadow_type, s.opacity_percent) for s in options.shadows] == [(4, 4, 40)]


async def test_a_transparent_background_colour_is_no_background(edge: EdgeStack) -> None:
    answer = await edge.http.post(
        "/v1.0/removebg",
        files={"image_file": ("x", picture()), "bg_image_file": ("y", picture())},
        data={"bg_color": "00000000"},
        headers={"X-Api-Key": edge.key},
    )
    assert answer.status_code == 200
    options = edge.compositor.requests[-1].options
    assert options.WhichOneof("background") == "bg_image"


async def test_the_preflight_allows_the_key_header(edge: EdgeStack) -> None:
    answer = await edge.http.options(
        "/v1.0/removebg",
        headers={"Origin": "https://a.example", "Access-Control-Request-Headers": "x-api-key"},
    )
    assert answer.status_code == 204
    assert "X-Api-Key" in answer.headers["access-control-allow-headers"]
    assert answer.headers["access-control-allow-origin"] == "*"


async def test_stages_are_told_as_server_timing(edge: EdgeStack) -> None:
    answer = await edge.remove()
    stages = [entry.split(";")[0] for entry in answer.headers["server-timing"].split(", ")]
    assert stages == [
        "authenticate", "receive", "fetch", "reserve", "render", "render.decode", "commit", "respond",
    ]  # fmt: skip


@pytest.mark.parametrize("header", ["Bearer", "Token", "Api-Key", "bearer"])
async def test_the_key_may_come_as_authorization(edge: EdgeStack, header: str) -> None:
    answer = await edge.http.post(
        "/v1.0/removebg",
        files={"image_file": ("x", picture())},
        headers={"Authorization": f"{header} {edge.key}"},
    )
    assert answer.status_code == 200


async def test_five_uploads_at_once_from_one_key_all_succeed(edge: EdgeStack) -> None:
    answers = await asyncio.gather(*(edge.remove() for _ in range(5)))
    assert [answer.status_code for answer in answers] == [200] * 5
