"""Prompts through every real process: painted by a server of ours, over REST, OpenAI's API, gRPC and the
command, paid once and only when there is a picture.
"""

from __future__ import annotations

import base64
import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from matteworks_client import MatteworksClient, MatteworksError
from tests.support.painting_server import PaintingServer
from tests.support.stack import RunningStack

pytestmark = pytest.mark.stack

BOX = (40, 60, 160, 200)
RED = np.array([255, 0, 0])


@pytest.fixture
def stack(painting_stack: tuple[RunningStack, PaintingServer]) -> RunningStack:
    return painting_stack[0]


@pytest.fixture
def server(painting_stack: tuple[RunningStack, PaintingServer]) -> Iterator[PaintingServer]:
    started = painting_stack[1]
    started.behaviour = "paint"
    started.seen.clear()
    yield started
    started.behaviour = "paint"


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    drawn = Image.new("L", (512, 512))
    ImageDraw.Draw(drawn).rectangle((BOX[0], BOX[1], BOX[2] - 1, BOX[3] - 1), fill=255)
    drawn.save(tmp_path / "mask.png")
    return tmp_path / "mask.png"


def check_painted(content: bytes, photo: Path) -> None:
    """Red in the box, and the photo to the bit beyond its rim."""
    with Image.open(io.BytesIO(content)) as result, Image.open(photo) as source:
        found, before = np.asarray(result.convert("RGB")), np.asarray(source.convert("RGB"))
    left, top, right, bottom = BOX
    assert np.abs(found[top:bottom, left:right].astype(int) - RED).max() <= 25
    outside: NDArray[np.bool_] = np.ones(found.shape[:2], bool)
    outside[top - 5 : bottom + 5, left - 5 : right + 5] = False
    # Decoders differ by a level; the painter's shift is nine.
    assert np.abs(found[outside].astype(int) - before[outside]).max() <= 2


def fill(stack: RunningStack, photo: Path, mask: Path, **fields: str) -> httpx.Response:
    return httpx.post(
        f"{stack.base_url}/api/tools/generative-fill",
        headers={"Authorization": f"Bearer {stack.key}"},
        data=fields,
        files={"image": photo.read_bytes(), "mask_file": mask.read_bytes()},
        timeout=60,
    )


def credits_left(stack: RunningStack) -> float:
    answer = httpx.get(f"{stack.base_url}/v1.0/account", headers={"X-Api-Key": stack.key}, timeout=30)
    credits: dict[str, Any] = answer.json()["data"]["attributes"]["credits"]
    return float(credits["total"])


def test_bgerasers_tool_paints_and_costs_one_credit(
    stack: RunningStack, server: PaintingServer, demo_photo: Path, mask: Path
) -> None:
    before = credits_left(stack)
    answer = fill(stack, demo_photo, mask, prompt="a red wall")
    assert answer.status_code == 200, answer.text
    check_painted(httpx.get(answer.json()["data"]["imageUrl"], timeout=30).content, demo_photo)
    assert before - credits_left(stack) == 1
    assert server.seen[-1]["prompt"] == "a red wall"


def test_the_client_and_the_command_paint(
    stack: RunningStack, server: PaintingServer, demo_photo: Path, mask: Path, tmp_path: Path
) -> None:
    with MatteworksClient(stack.internal_target) as client:
        check_painted(client.fill(demo_photo, mask, "red").image, demo_photo)
        larger = client.expand(demo_photo, borders_px=(0, 64, 0, 0), prompt="red")
        assert (larger.size.width_px, larger.area.width_px) == (576, 512)
        with pytest.raises(MatteworksError) as refused:
            client.fill(demo_photo, mask, "r" * 1001)
        assert refused.value.field == "prompt"
    done = subprocess.run(
        [
            sys.executable, "-m", "matteworks_cli", "edit", "fill",
            str(demo_photo), str(tmp_path / "red.png"), "--mask", str(mask), "--prompt", "red",
            "--state-dir", str(stack.state_directory),
        ],
        capture_output=True, text=True, check=False, timeout=90,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    check_painted((tmp_path / "red.png").read_bytes(), demo_photo)


def test_openais_form_paints_where_the_mask_is_transparent(
    stack: RunningStack, server: PaintingServer, demo_photo: Path, mask: Path
) -> None:
    with Image.open(mask) as drawn:
        clear = Image.new("RGBA", drawn.size, (0, 0, 0, 255))
        clear.putalpha(drawn.point(lambda value: 255 - value))
    file = io.BytesIO()
    clear.save(file, "PNG")
    answer = httpx.post(
        f"{stack.base_url}/v1/images/edits",
        headers={"Authorization": f"Bearer {stack.key}"},
        data={"prompt": "red", "model": "gpt-image-1", "size": "512x512"},
        files={"image": demo_photo.read_bytes(), "mask": file.getvalue()},
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    check_painted(base64.b64decode(answer.json()["data"][0]["b64_json"]), demo_photo)


def test_a_server_that_fails_costs_nothing_and_is_asked_once(
    stack: RunningStack, server: PaintingServer, demo_photo: Path, mask: Path
) -> None:
    before = credits_left(stack)
    server.behaviour = "garbage"
    answer = fill(stack, demo_photo, mask, prompt="red garbage")
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "PAINTER_FAILED"), answer.text
    assert answer.headers["x-credits-charged"] == "0"
    assert credits_left(stack) == before
    assert len(server.seen) == 1
