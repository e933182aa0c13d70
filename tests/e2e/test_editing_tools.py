"""bgeraser's tools through every real process: what they answer, what they make, and what they cost."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.support.stack import UPSCALER, RunningStack

pytestmark = pytest.mark.stack


def call(
    stack: RunningStack, tool: str, photo: bytes, mask: bytes | None = None, **fields: str
) -> httpx.Response:
    files = {"image": ("photo.jpg", photo)} | ({"mask_file": ("mask.png", mask)} if mask else {})
    return httpx.post(
        f"{stack.base_url}/api/tools/{tool}",
        headers={"Authorization": f"Bearer {stack.key}"},
        data=fields,
        files=files,
        timeout=90,
    )


def data_of(answer: httpx.Response, *more: str) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    document = answer.json()
    assert (list(document), document["success"]) == (["success", "data"], True)
    data: dict[str, Any] = document["data"]
    assert list(data) == ["imageUrl", "width", "height", "format", "processingTimeMs", *more]
    assert isinstance(data["processingTimeMs"], int)
    return data


def picture_of(data: dict[str, Any]) -> Image.Image:
    answer = httpx.get(data["imageUrl"], timeout=30)
    assert answer.status_code == 200
    picture = Image.open(io.BytesIO(answer.content))
    assert picture.size == (data["width"], data["height"])
    return picture


def error_of(answer: httpx.Response) -> tuple[int, str]:
    document = answer.json()
    assert (list(document), document["success"]) == (["success", "error"], False)
    assert document["error"]["message"]
    return answer.status_code, document["error"]["code"]


@pytest.fixture
def photo(demo_photo: Path) -> bytes:
    return demo_photo.read_bytes()


def test_a_removal_is_told_by_url(running_stack: RunningStack, photo: bytes) -> None:
    answer = call(running_stack, "bg-removal", photo)
    cutout = picture_of(data_of(answer))
    assert (cutout.format, cutout.mode, cutout.size) == ("PNG", "RGBA", (512, 512))
    assert answer.headers["x-credits-charged"] == "1"
    assert answer.headers["x-ratelimit-remaining"].isdecimal()


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({"x": "10", "y": "20px", "width": "100", "height": "50"}, (100, 50)),
        ({"x": "25%", "y": "0%", "width": "50%", "height": "100%"}, (256, 512)),
        ({"aspect_ratio": "2:1"}, (512, 256)),
    ],
    ids=str,
)
def test_a_part_is_cut_out_as_asked(
    running_stack: RunningStack, photo: bytes, fields: dict[str, str], size: tuple[int, int]
) -> None:
    assert picture_of(data_of(call(running_stack, "crop", photo, **fields))).size == size


def test_a_crop_to_the_subject_follows_its_margin(running_stack: RunningStack, photo: bytes) -> None:
    tight = data_of(call(running_stack, "crop", photo, mode="auto"))
    wide = data_of(call(running_stack, "crop", photo, mode="auto", margin="10px", format="jpg"))
    assert tight["width"] <= wide["width"] <= tight["width"] + 20
    assert wide["format"] == "jpg"
    assert picture_of(wide).format == "JPEG"


def test_a_picture_grows_around_itself(running_stack: RunningStack, photo: bytes) -> None:
    grown = picture_of(data_of(call(running_stack, "generative-expand", photo, left="64", top="32")))
    assert grown.size == (576, 544)
    with Image.open(io.BytesIO(photo)) as source:
        assert np.array_equal(np.asarray(grown.convert("RGB"))[32:, 64:], np.asarray(source.convert("RGB")))


def test_a_part_is_filled_and_the_rest_stays(running_stack: RunningStack, photo: bytes) -> None:
    mask = Image.new("L", (512, 512))
    ImageDraw.Draw(mask).ellipse((20, 20, 90, 90), fill=255)
    encoded = io.BytesIO()
    mask.save(encoded, "PNG")
    filled = picture_of(data_of(call(running_stack, "generative-fill", photo, encoded.getvalue())))
    with Image.open(io.BytesIO(photo)) as source:
        before, after = np.asarray(source.convert("RGB")), np.asarray(filled.convert("RGB"))
    changed = (before != after).any(axis=2)
    assert changed.any()
    assert not (changed & (np.asarray(mask) == 0)).any()


def test_a_stroke_erases_and_another_brings_it_back(running_stack: RunningStack, photo: bytes) -> None:
    cutout = httpx.get(data_of(call(running_stack, "bg-removal", photo))["imageUrl"], timeout=30).content
    there_and_back = [[200 + step % 20, 300 + step % 20] for step in range(3000)]
    strokes = json.dumps([{"points": there_and_back, "radius": 30}])
    erased = httpx.get(
        data_of(call(running_stack, "brush", cutout, strokes=strokes))["imageUrl"], timeout=30
    ).content
    before, after = (np.asarray(Image.open(io.BytesIO(one)))[..., 3] for one in (cutout, erased))
    assert (before[300, 200], after[300, 200]) == (255, 0)
    assert np.abs(before[:, 300:].astype(int) - after[:, 300:]).max() <= 2, "what was not drawn over stays"

    answer = httpx.post(
        f"{running_stack.base_url}/api/tools/brush",
        headers={"Authorization": f"Bearer {running_stack.key}"},
        data={"mode": "restore", "strokes": strokes},
        files={"image": ("cutout.png", erased), "original_file": ("photo.jpg", photo)},
        timeout=90,
    )
    restored = np.asarray(picture_of(data_of(answer)))
    assert restored[300, 200, 3] == 255
    with Image.open(io.BytesIO(photo)) as source:
        assert (
            np.abs(restored[300, 200, :3].astype(int) - source.convert("RGB").getpixel((200, 300))).max() < 8
        )


def test_an_edited_subject_is_put_back_for_a_credit(running_stack: RunningStack, photo: bytes) -> None:
    edited = np.zeros((100, 80, 4), np.uint8)
    edited[20:80, 20:60] = (250, 120, 10, 255)
    file = io.BytesIO()
    Image.fromarray(edited).save(file, "PNG")

    def put(**fields: str) -> httpx.Response:
        return httpx.post(
            f"{running_stack.base_url}/api/tools/put-back",
            headers={"Authorization": f"Bearer {running_stack.key}"},
            data=fields,
            files={"image": ("photo.jpg", photo), "edited_file": ("edited.png", file.getvalue())},
            timeout=90,
        )

    answer = put(left="400", top="10")
    assert answer.headers["X-Credits-Charged"] == "1"
    with Image.open(io.BytesIO(photo)) as source:
        expected = np.array(source.convert("RGB"))
    expected[30:90, 420:460] = (250, 120, 10)
    assert np.array_equal(np.asarray(picture_of(data_of(answer)).convert("RGB")), expected)
    for fields in (
        {},
        {"left": "500", "top": "0"},
        {"left": "4"},
        {"left": "1", "top": "1", "fill": "maybe"},
    ):
        refused = put(**fields)
        assert refused.status_code == 400, fields
        assert refused.headers.get("X-Credits-Charged", "0") == "0"


def test_what_is_pointed_at_comes_with_its_mask(running_stack: RunningStack, photo: bytes) -> None:
    data = data_of(call(running_stack, "magic-select", photo, points="[[250, 400, 1]]"), "maskUrl")
    cutout = Image.open(io.BytesIO(httpx.get(data["imageUrl"], timeout=30).content))
    mask = Image.open(io.BytesIO(httpx.get(data["maskUrl"], timeout=30).content))
    alpha = np.asarray(cutout)[..., 3]
    assert alpha[400, 250] > 250
    assert np.abs(np.asarray(mask).astype(int) - alpha).max() <= 3


def test_subjects_are_listed_for_nothing_and_taken_by_number(
    running_stack: RunningStack, photo: bytes
) -> None:
    listed = call(running_stack, "subjects", photo)
    assert listed.status_code == 200, listed.text
    assert listed.headers["x-credits-charged"] == "0"
    assert listed.headers["x-ratelimit-remaining"].isdecimal()
    data = listed.json()["data"]
    first = data["subjects"][0]
    assert (data["width"], data["height"], first["subject"], first["type"]) == (512, 512, 1, "person")
    left, top, right, bottom = first["box"]
    assert 0 <= left < 250 < right <= 512
    assert 0 <= top < 400 < bottom <= 512

    one = call(running_stack, "magic-select", photo, subject="1")
    alpha = np.asarray(picture_of(data_of(one, "maskUrl")))
    assert one.headers["x-credits-charged"] == "1"
    assert alpha[400, 250].max() > 250
    each = call(running_stack, "magic-select", photo, each="true")
    parts = data_of(each, "maskUrl", "subjects")["subjects"]
    assert [part["subject"] for part in parts] == [one["subject"] for one in data["subjects"]]
    assert each.headers["x-credits-charged"] == "1"
    assert picture_of(parts[0]).size == (512, 512)


# The first of them loads the network.
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("fields", "size"),
    [({}, (128, 80)), ({"scale": "4", "format": "jpg"}, (256, 160)), ({"target_width": "100"}, (100, 63))],
    ids=str,
)
def test_a_small_picture_becomes_large(
    running_stack: RunningStack,
    upscaler_weights: None,
    small_photo: Path,
    fields: dict[str, str],
    size: tuple[int, int],
) -> None:
    answer = call(running_stack, "upscale", small_photo.read_bytes(), **fields)
    larger = picture_of(data_of(answer))
    assert larger.size == size
    assert answer.headers["x-credits-charged"] == "1"
    assert answer.headers["x-model"] == UPSCALER
    with Image.open(small_photo) as small:
        again = np.asarray(larger.convert("RGB").resize(small.size, Image.Resampling.BOX)).astype(int)
        assert np.abs(again - np.asarray(small.convert("RGB"))).mean() < 2


def test_a_picture_that_the_filter_alone_enlarges_names_no_network(
    running_stack: RunningStack, upscaler_weights: None
) -> None:
    noise = np.random.default_rng(7).integers(0, 256, (700, 700, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    answer = call(running_stack, "upscale", file.getvalue())
    assert picture_of(data_of(answer)).size == (1400, 1400)
    assert "x-model" not in answer.headers


@pytest.mark.parametrize(
    ("tool", "fields", "expected"),
    [
        ("crop", {}, (400, "INVALID_PARAMETER")),
        ("crop", {"mode": "auto", "aspect_ratio": "1:1"}, (400, "INVALID_PARAMETER")),
        ("crop", {"x": "1", "y": "1", "width": "10"}, (400, "INVALID_PARAMETER")),
        ("crop", {"x": "1", "y": "1", "width": "50%", "height": "5"}, (400, "INVALID_PARAMETER")),
        ("crop", {"x": "500", "y": "1", "width": "50", "height": "5"}, (400, "INVALID_PARAMETER")),
        ("crop", {"aspect_ratio": "0:1"}, (400, "INVALID_PARAMETER")),
        ("crop", {"mode": "manual"}, (400, "INVALID_PARAMETER")),
        ("generative-expand", {}, (400, "INVALID_PARAMETER")),
        ("generative-expand", {"left": "0"}, (400, "INVALID_PARAMETER")),
        ("generative-expand", {"left": "99999"}, (400, "INVALID_PARAMETER")),
        ("generative-expand", {"left": "10", "prompt": "a beach"}, (501, "TOOL_UNAVAILABLE")),
        ("generative-fill", {}, (400, "INVALID_PARAMETER")),
        ("generative-fill", {"prompt": "x" * 1001}, (400, "INVALID_PARAMETER")),
        ("brush", {}, (400, "INVALID_PARAMETER")),
        ("brush", {"strokes": "nonsense"}, (400, "INVALID_PARAMETER")),
        ("brush", {"strokes": '[{"points": [[9000, 9000]]}]'}, (400, "INVALID_PARAMETER")),
        ("brush", {"strokes": '[{"points": [[1, 1]], "radius": 501}]'}, (400, "INVALID_PARAMETER")),
        ("brush", {"strokes": '[{"points": [[1, 1]]}]', "mode": "restore"}, (400, "INVALID_PARAMETER")),
        ("brush", {"strokes": '[{"points": [[1, 1]]}]', "mode": "paint"}, (400, "INVALID_PARAMETER")),
        ("upscale", {"scale": "16"}, (400, "INVALID_PARAMETER")),
        ("upscale", {"scale": "2", "target_width": "1024"}, (400, "INVALID_PARAMETER")),
        ("upscale", {"target_width": "100"}, (400, "INVALID_PARAMETER")),
        ("upscale", {"target_height": "512"}, (400, "INVALID_PARAMETER")),
        ("upscale", {"target_width": "16384"}, (400, "INVALID_PARAMETER")),
        ("upscale", {"target_width": "16385"}, (400, "INVALID_PARAMETER")),
        ("magic-select", {}, (400, "INVALID_PARAMETER")),
        ("magic-select", {"points": "[[1, 1]]"}, (400, "INVALID_PARAMETER")),
        ("magic-select", {"points": "[[9000, 1, 1]]"}, (400, "INVALID_PARAMETER")),
        ("magic-select", {"points": json.dumps([[1, 1, 1]] * 1000)}, (400, "INVALID_PARAMETER")),
        ("magic-select", {"subjects": "0"}, (400, "INVALID_PARAMETER")),
        ("magic-select", {"subject": "1,two"}, (400, "INVALID_PARAMETER")),
        ("magic-select", {"subjects": "[19]"}, (400, "INVALID_PARAMETER")),
        ("magic-select", {"subjects": "9" * 5000}, (400, "INVALID_PARAMETER")),
        ("magic-select", {"each": "true", "points": "[[1, 1, 1]]"}, (400, "INVALID_PARAMETER")),
        ("magic-select", {"box": "[1, 2, 3]"}, (400, "INVALID_PARAMETER")),
        ("magic-select", {"box": "[1, 2, 9000, 4]"}, (400, "INVALID_PARAMETER")),
        ("bg-removal", {"format": "psd"}, (400, "INVALID_PARAMETER")),
        ("no-such-tool", {}, (404, "NOT_FOUND")),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_told_and_free(
    running_stack: RunningStack, photo: bytes, tool: str, fields: dict[str, str], expected: tuple[int, str]
) -> None:
    answer = call(running_stack, tool, photo, **fields)
    assert error_of(answer) == expected
    assert answer.headers["x-credits-charged"] == "0"


def test_a_file_that_is_no_picture_and_a_missing_one_are_told_apart(running_stack: RunningStack) -> None:
    assert error_of(call(running_stack, "bg-removal", b"no picture at all")) == (415, "UNSUPPORTED_FORMAT")
    assert error_of(call(running_stack, "bg-removal", b"")) == (400, "INVALID_PARAMETER")
