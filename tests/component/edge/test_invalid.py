"""400: what is wrong is named, nothing is charged, nothing is rendered."""

from __future__ import annotations

import base64
import struct
import zlib

import httpx
import pytest

from matteworks_imaging.header import MAX_FILE_BYTES
from tests.support.edge_harness import EdgeStack, picture

pytestmark = pytest.mark.asyncio(loop_scope="session")


def codes(answer: httpx.Response) -> list[str]:
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["x-credits-charged"] == "0"
    document = answer.json()
    assert list(document) == ["errors"]
    for error in document["errors"]:
        assert list(error)[:2] == ["title", "code"]
        assert all(isinstance(value, str) for value in error.values())
    return [error["code"] for error in document["errors"]]


def huge_png(width_px: int, height_px: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width_px, height_px, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("size", "huge", "invalid_size"),
        ("channels", "cmyk", "invalid_channels"),
        ("format", "gif", "invalid_format"),
        ("roi", "0 0 10", "invalid_roi"),
        ("roi", "20 0 10 10", "invalid_roi"),
        ("roi", "0% 0% 101% 100%", "invalid_roi"),
        ("roi", "-1 0 10 10", "invalid_roi"),
        ("roi", "nan 0 10 10", "invalid_roi"),
        ("roi", "0 0 2147483648 10", "invalid_roi"),
        ("roi", "0 0 \uff11\uff10 10", "invalid_roi"),
        ("roi", "0 0 41 30", "roi_exceeds_bounds"),
        ("roi", "10 10 10 20", "roi_region_empty"),
        ("crop_margin", "51%", "invalid_crop_margin"),
        ("crop_margin", "501", "invalid_crop_margin"),
        ("crop_margin", "1 2 3", "invalid_crop_margin"),
        ("scale", "5%", "invalid_scale"),
        ("scale", "1e309", "invalid_scale"),
        ("scale", "101%", "invalid_scale"),
        ("position", "101%", "invalid_position"),
        ("position", "1% 2% 3%", "invalid_position"),
        ("semitransparency", "maybe", "invalid_semitransparency"),
        ("crop", "perhaps", "invalid_parameter"),
        ("bg_color", "ggg", "invalid_bg_color"),
        ("bg_color", "12345", "invalid_bg_color"),
        ("bg_image_url", "ftp://a.example/x", "invalid_bg_image_url"),
        ("shadow_type", "round", "invalid_shadow_type"),
        ("shadow_type[tree]", "drop", "invalid_shadow_type"),
        ("shadow_opacity", "101", "invalid_shadow_opacity"),
        *(
            (name, "9" * 10_000, f"invalid_{name}")
            for name in ("roi", "crop_margin", "scale", "position", "bg_color", "size", "channels", "format")
        ),
    ],
)
async def test_a_bad_value_is_refused_with_the_parameters_own_code(
    edge: EdgeStack, name: str, value: str, code: str
) -> None:
    answer = await edge.remove(**{name: value})
    assert answer.status_code == 400
    assert codes(answer) == [code]
    assert edge.books.spent_milli == edge.books.held_milli == 0
    assert not edge.compositor.requests


async def test_everything_that_is_wrong_is_told_at_once(edge: EdgeStack) -> None:
    answer = await edge.http.post(
        "/v1.0/removebg",
        data={"size": "x", "scale": "y", "bg_color": "zz", "image_url": "nowhere"},
        headers={"X-Api-Key": edge.key},
    )
    assert codes(answer) == ["invalid_image_url", "invalid_size", "invalid_scale", "invalid_bg_color"]


async def test_no_source(edge: EdgeStack) -> None:
    answer = await edge.http.post("/v1.0/removebg", headers={"X-Api-Key": edge.key})
    assert answer.status_code == 400
    assert codes(answer) == ["missing_source"]


async def test_two_sources(edge: EdgeStack) -> None:
    answer = await edge.remove(image_url="https://a.example/x.jpg")
    assert codes(answer) == ["multiple_sources"]


async def test_two_backgrounds(edge: EdgeStack) -> None:
    answer = await edge.remove(bg_color="red", bg_image_url="https://a.example/x.jpg")
    assert codes(answer) == ["multiple_bg_sources"]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"GIF89a" + b"\0" * 20, "invalid_file_type"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "invalid_file_type"),
        (b"\xff\xd8\xff\xe0", "invalid_dimensions"),
        (huge_png(50_000_001, 1), "resolution_too_high"),
        (huge_png(0, 1), "invalid_dimensions"),
        (b"\xff\xd8\xff" + b"\0" * MAX_FILE_BYTES, "file_too_large"),
    ],
    ids=["gif", "svg", "cut", "bomb", "flat", "large"],
)
@pytest.mark.parametrize("field", ["image_file", "bg_image_file"])
async def test_a_file_that_cannot_be_used_is_refused_before_anything_is_held(
    edge: EdgeStack, content: bytes, code: str, field: str
) -> None:
    files = {"image_file": ("x.png", picture()), field: ("x.png", content)}
    answer = await edge.http.post("/v1.0/removebg", files=files, headers={"X-Api-Key": edge.key})
    assert answer.status_code == 400
    assert codes(answer) == [code]
    assert "Reserve" not in edge.accounts.calls


async def test_the_refusal_of_a_type_names_what_was_received(edge: EdgeStack) -> None:
    answer = await edge.remove(b"\0\0\0\x18ftypmp42" + b"\0" * 40)
    assert answer.json()["errors"] == [
        {
            "title": "Invalid file type",
            "code": "invalid_file_type",
            "detail": "Expected jpg/png/webp, received mp4",
        }
    ]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("!!!", "failed_to_read_image"),
        ("data:image/png;base64", "failed_to_read_image"),
        ("A", "failed_to_read_image"),
        ("aGVsbG8=", "invalid_file_type"),
        ("A" * (MAX_FILE_BYTES // 3 * 4 + 100), "file_too_large"),
    ],
    ids=["alphabet", "prefix", "length", "type", "size"],
)
@pytest.mark.parametrize("encoding", ["data", "json"])
async def test_base64_that_is_no_picture_is_refused(
    edge: EdgeStack, text: str, code: str, encoding: str
) -> None:
    answer = await edge.http.post(
        "/v1.0/removebg",
        headers={"X-Api-Key": edge.key},
        **{encoding: {"image_file_b64": text}},  # type: ignore[arg-type]
    )
    assert answer.status_code == 400
    assert codes(answer) == [code]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b"{"),
        ("application/json", b"[1]"),
        ("application/json", b'{"a":' + b"[" * 10_000),
        ("application/json", b"\xff\xfe\xfa"),
        ("multipart/form-data", b"--x\r\n"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\nb"),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\nb\r\n--x--\r\n"),
        ("multipart/form-data; boundary=x", b"garbage"),
        ("multipart/form-data; boundary=" + "x" * 300, b"--x--"),
        ("multipart/form-data; boundary=x", b"--x\r\n" + b"A: b\r\n" * 10_000),
        ("multipart/form-data; boundary=x", b"--x\r\nA: " + b"b" * 100_000),
        ("image/png", b"\x89PNG"),
        ("application/x-www-form-urlencoded", b"&".join(b"f%d=1" % i for i in range(10_000))),
    ],
    ids=range(13),
)
async def test_a_body_that_cannot_be_parsed_is_malformed(
    edge: EdgeStack, content_type: str, body: bytes
) -> None:
    answer = await edge.http.post(
        "/v1.0/removebg", content=body, headers={"X-Api-Key": edge.key, "Content-Type": content_type}
    )
    assert answer.status_code == 400
    assert codes(answer) == ["malformed_body"]


async def test_a_hundred_and_one_parts_are_too_many(edge: EdgeStack) -> None:
    answer = await edge.remove(**{f"f{number}": "x" for number in range(101)})
    assert codes(answer) == ["malformed_body"]


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate"])
async def test_a_compressed_body_is_refused(edge: EdgeStack, encoding: str) -> None:
    answer = await edge.remove(headers={"Content-Encoding": encoding})
    assert answer.status_code == 400
    assert codes(answer) == ["malformed_body"]


async def test_an_unknown_path_and_method_have_the_envelope_too(edge: EdgeStack) -> None:
    answer = await edge.http.get("/nowhere")
    assert (answer.status_code, codes(answer)) == (404, ["not_found"])
    answer = await edge.http.get("/v1.0/removebg")
    assert (answer.status_code, codes(answer)) == (405, ["method_not_allowed"])
    assert answer.headers["allow"] == "POST"


async def test_a_picture_handed_in_twice_counts_once(edge: EdgeStack) -> None:
    other = picture(50, 20, "PNG")
    answer = await edge.http.post(
        "/v1.0/removebg",
        files=[("image_file", ("a", picture())), ("image_file", ("b", other))],
        headers={"X-Api-Key": edge.key},
    )
    assert answer.status_code == 200
    assert edge.compositor.requests[-1].image == other


async def test_base64_of_an_upright_picture_is_limited_by_its_decoded_size(edge: EdgeStack) -> None:
    encoded = base64.b64encode(picture(600, 400, "PNG")).decode()
    answer = await edge.http.post(
        "/v1.0/removebg", data={"image_file_b64": encoded}, headers={"X-Api-Key": edge.key}
    )
    assert answer.status_code == 200
