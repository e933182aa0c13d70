"""Answers as the strictest clients read them: the originals panic or raise where these raise."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.clients import shapes
from tests.clients.conftest import WRONG_KEY
from tests.clients.strict_parsers import (
    compose_like_go,
    read_account_like_ruby,
    read_error_like_php,
    read_error_like_ruby,
    read_facts_like_swift,
)
from tests.support.stack import RunningStack

pytestmark = pytest.mark.stack


@pytest.fixture
def api(running_stack: RunningStack) -> Iterator[httpx.Client]:
    base_url = f"{running_stack.base_url}/v1.0"
    with httpx.Client(base_url=base_url, headers={"X-Api-Key": running_stack.key}, timeout=60) as client:
        yield client


def test_the_account_fits_keyword_arguments(api: httpx.Client) -> None:
    assert read_account_like_ruby(api.get("/account").json())["total"] > 0


def test_the_parts_of_a_zip_compose(api: httpx.Client, upload: bytes) -> None:
    answer = api.post("/removebg", data={"format": "zip"}, files={"image_file": ("p.jpg", upload)})

    assert "application/zip" in answer.headers["Content-Type"]
    colour, alpha = compose_like_go(answer.content)
    assert (colour.mode, alpha.mode) == ("RGB", "L")
    assert colour.size == alpha.size


def test_sizes_and_box_are_integers(api: httpx.Client, upload: bytes) -> None:
    answer = api.post("/removebg", data={"size": "auto"}, files={"image_file": ("p.jpg", upload)})

    facts = read_facts_like_swift(answer)
    assert (facts["Width"], facts["Height"]) == (512, 512)
    assert facts["Foreground-Left"] + facts["Foreground-Width"] <= 512
    assert facts["Foreground-Top"] + facts["Foreground-Height"] <= 512


@pytest.mark.parametrize(
    ("status", "path", "fields", "key"),
    [
        (400, "/removebg", {"size": "x"}, None),
        (400, "/removebg", {}, None),
        (403, "/removebg", {"size": "auto"}, WRONG_KEY),
        (404, "/nothing", {"size": "auto"}, None),
    ],
)
def test_every_refusal_has_a_first_error_of_texts(
    status: int, path: str, fields: dict[str, str], key: str | None, api: httpx.Client
) -> None:
    headers = {"X-Api-Key": key} if key else {}
    answer = api.post(path, data=fields, headers=headers)

    assert answer.status_code == status
    title, code = read_error_like_ruby(answer)
    assert read_error_like_php(answer).startswith(f"{title} - {code}")


def test_an_upload_with_a_wrong_key_is_answered_although_it_was_sent_whole(
    api: httpx.Client, upload: bytes
) -> None:
    answer = api.post(
        "/removebg",
        content=shapes.ruby_gem(upload),
        headers={"Content-Type": shapes.CONTENT_TYPE, "X-Api-Key": WRONG_KEY},
    )

    assert answer.content == b'{"errors":[{"title":"API Key invalid","code":"auth_failed"}]}'
