"""Prompts over OpenAI's API, from the edge to a server that paints: paid once, and only for a picture."""

from __future__ import annotations

import base64
import io
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.component.edge.test_real_services import RealServices, real_services
from tests.support.edge_harness import picture
from tests.support.painting_inference import inference_with_painter
from tests.support.painting_server import KEY, PaintingServer, painting_server

RED = np.array([255, 0, 0])
BOX = (slice(60, 120), slice(100, 200))


@dataclass
class Edits:
    """All services, an account with five credits, and the server that paints."""

    services: RealServices
    key: str
    server: PaintingServer

    async def edit(self, mask: bytes, **fields: str) -> httpx.Response:
        return await self.services.http.post(
            "/openai/v1/images/edits",
            files={"image": picture(300, 200), "mask": mask},
            data=fields,
            headers={"Authorization": f"Bearer {self.key}"},
        )


@pytest.fixture(scope="module")
def server() -> Iterator[PaintingServer]:
    with painting_server() as started:
        yield started


@asynccontextmanager
async def edits_by(server: PaintingServer, directory: Path, **changes: object) -> AsyncIterator[Edits]:
    server.seen.clear()
    async with (
        inference_with_painter(directory, server, painter_timeout_s=1, **changes) as target,
        real_services(target) as services,
    ):
        yield Edits(services, await services.grant(5000), server)


def clear_in(size: tuple[int, int] = (300, 200), *, is_empty: bool = False) -> bytes:
    mask = np.zeros((size[1], size[0], 4), np.uint8)
    mask[..., 3] = 255
    if not is_empty:
        mask[BOX] = 0
    file = io.BytesIO()
    Image.fromarray(mask).save(file, "PNG")
    return file.getvalue()


async def test_a_prompt_is_painted_for_one_credit_and_the_rest_stays(
    server: PaintingServer, tmp_path: Path
) -> None:
    server.behaviour = "paint"
    async with edits_by(server, tmp_path) as edits:
        answer = await edits.edit(clear_in(), prompt="a red box", model="gpt-image-1", size="300x200")
        assert answer.status_code == 200, answer.text
        document = answer.json()
        assert list(document) == ["created", "data", "output_format", "size"]
        assert document["size"] == "300x200"
        with Image.open(io.BytesIO(base64.b64decode(document["data"][0]["b64_json"]))) as painted:
            result = np.asarray(painted.convert("RGB")).astype(int)
        with Image.open(io.BytesIO(picture(300, 200))) as source:
            before = np.asarray(source.convert("RGB")).astype(int)
        assert np.abs(result[BOX] - RED).max() <= 25
        assert np.abs(result[:55] - before[:55]).max() <= 2
        assert np.abs(result[:, 205:] - before[:, 205:]).max() <= 2
        assert answer.headers["x-credits-charged"] == "1"
        assert await edits.services.balance(edits.key) == 4


async def test_an_erasing_model_and_word_ask_nobody(server: PaintingServer, tmp_path: Path) -> None:
    async with edits_by(server, tmp_path) as edits:
        for fields in ({"prompt": "a cat", "model": "matteworks-erase"}, {"prompt": "Erase."}, {}):
            answer = await edits.edit(clear_in(), **fields)
            assert answer.status_code == 200, answer.text
        assert server.seen == []


@pytest.mark.parametrize(
    ("behaviour", "status", "code"),
    [
        ("error", 502, "painter_failed"),
        ("size", 502, "painter_failed"),
        ("garbage", 502, "painter_failed"),
        ("huge", 502, "painter_failed"),
        ("hang", 504, "deadline_exceeded"),
        ("refuse", 400, "invalid_parameter"),
    ],
)
async def test_a_server_that_misbehaves_costs_nothing_and_is_asked_once(
    server: PaintingServer, tmp_path: Path, behaviour: str, status: int, code: str
) -> None:
    server.behaviour = behaviour
    async with edits_by(server, tmp_path) as edits:
        answer = await edits.edit(clear_in(), prompt="red")
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (status, code), answer.text
        assert list(error) == ["message", "type", "param", "code"]
        assert KEY not in answer.text
        assert answer.headers.get("x-should-retry") == ("false" if status == 502 else None)
        assert answer.headers["x-credits-charged"] == "0"
        assert await edits.services.balance(edits.key) == 5
        assert len(server.seen) == 1


async def test_bad_input_is_told_by_openais_names_and_free(server: PaintingServer, tmp_path: Path) -> None:
    server.behaviour = "paint"
    async with edits_by(server, tmp_path) as edits:
        for mask, fields, param in (
            (clear_in((299, 200)), {"prompt": "red"}, "mask"),
            (clear_in(is_empty=True), {"prompt": "red"}, "mask"),
            (clear_in(), {"prompt": "r" * 1001}, "prompt"),
            (clear_in(), {"prompt": "r" * 9000}, "prompt"),
            (clear_in(), {"prompt": "red", "size": "1024x1024"}, "size"),
            (clear_in(), {"prompt": "red", "n": "2"}, "n"),
            (clear_in(), {"prompt": "red", "output_format": "gif"}, "output_format"),
        ):
            answer = await edits.edit(mask, **fields)
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text
        assert await edits.services.balance(edits.key) == 5
        assert server.seen == []


async def test_without_a_painter_a_prompt_is_501_and_says_how_to_add_one(
    server: PaintingServer, tmp_path: Path
) -> None:
    async with edits_by(server, tmp_path, painter="none") as edits:
        answer = await edits.edit(clear_in(), prompt="red")
        assert (answer.status_code, answer.json()["error"]["code"]) == (501, "tool_unavailable")
        assert "MATTEWORKS_INFERENCE_PAINTER" in answer.json()["error"]["message"]
        assert answer.headers["x-should-retry"] == "false"
        assert await edits.services.balance(edits.key) == 5
