"""OpenAI's own client, unmodified but for its base URL: it erases and paints, and understands our errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.clients.conftest import WRONG_KEY, Bench
from tests.clients.installs import INSTALL_TIMEOUT_S, Client, Installation
from tests.support.painting_server import PaintingServer
from tests.support.stack import RunningStack

pytestmark = [pytest.mark.stack, pytest.mark.clients, pytest.mark.timeout(2 * INSTALL_TIMEOUT_S + 120)]

OPENAI = Client("openai", "openai_client.py", ("openai==3.57.0",))
BOX = (20, 20, 120, 120)


@pytest.fixture
def ready(
    painting_stack: tuple[RunningStack, PaintingServer],
    upload: bytes,
    tmp_path: Path,
    installed: Callable[[Client], Installation],
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[Bench, PaintingServer]:
    (tmp_path / "photo.jpg").write_bytes(upload)
    mask = Image.new("RGBA", (512, 512), (0, 0, 0, 255))
    ImageDraw.Draw(mask).rectangle(BOX, fill=(0, 0, 0, 0))
    mask.save(tmp_path / "mask.png")
    monkeypatch.setenv("MASK", str(tmp_path / "mask.png"))
    monkeypatch.setenv("PROMPT", "a red wall")
    monkeypatch.setenv("MODEL", "gpt-image-1")
    stack, server = painting_stack
    server.seen.clear()
    return Bench(stack, tmp_path / "photo.jpg", tmp_path, installed), server


def box_of(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    with Image.open(path) as picture:
        assert picture.size == (512, 512)
        return np.asarray(picture.convert("RGB"))[30:110, 30:110].astype(np.int64)


def test_it_paints(ready: tuple[Bench, PaintingServer]) -> None:
    bench, server = ready
    outcome = bench.use(OPENAI, "paint")
    assert np.abs(box_of(outcome.output) - [255, 0, 0]).max() <= 25
    assert server.seen[-1]["prompt"] == "a red wall"


def test_it_erases_by_the_models_name_and_by_the_word(
    ready: tuple[Bench, PaintingServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, server = ready
    monkeypatch.setenv("MODEL", "matteworks-erase")
    assert box_of(bench.use(OPENAI, "erase").output).std() > 0
    assert box_of(bench.use(OPENAI, "url").output).std() > 0
    assert server.seen == [], "nobody was asked to paint"


def test_it_tells_its_user_about_errors(
    ready: tuple[Bench, PaintingServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, server = ready
    wrong = bench.use(OPENAI, "error", key=WRONG_KEY).facts
    assert (wrong["kind"], wrong["code"]) == ("AuthenticationError", "invalid_api_key")
    monkeypatch.setenv("PROMPT", "x" * 1001)
    long = bench.use(OPENAI, "error").facts
    assert (long["kind"], long["param"]) == ("BadRequestError", "prompt")
    monkeypatch.setenv("PROMPT", "red")
    server.behaviour = "error"
    try:
        failed = bench.use(OPENAI, "error").facts
    finally:
        server.behaviour = "paint"
    assert (failed["kind"], failed["code"]) == ("InternalServerError", "painter_failed")
    assert len(server.seen) == 1, "the client does not pay for repeats"
