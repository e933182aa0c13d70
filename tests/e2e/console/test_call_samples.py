"""The programs that the page shows do what they say, for every provider in every language."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from matteworks_console.call_samples import LANGUAGES, PROVIDERS, Choices, Provider, program
from tests.support.stack import RunningStack

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]

CHOICES = Choices(
    background="colour", colour="#ff0000", shadow="drop", crop=True, margin_percent="5", format="webp",
    size="preview",
)  # fmt: skip


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.name)
def test_a_shown_program_writes_the_picture_that_was_chosen(
    running_stack: RunningStack,
    demo_photo: Path,
    tmp_path: Path,
    provider: Provider,
    language: str,
    requests_directory: Callable[[], Path],
) -> None:
    call = provider.call(CHOICES)
    text = program(language, running_stack.base_url, call)
    runner = {"curl": "bash", "python": sys.executable, "node": "node"}[language]
    if shutil.which(runner) is None:
        pytest.skip(f"{runner} is not on this machine")
    options = {"curl": ["-c"], "python": ["-c"], "node": ["--input-type=module", "--eval"]}[language]
    # Bytes after a JPEG's end are ignored; without them equal uploads would share a result.
    (tmp_path / "photo.jpg").write_bytes(demo_photo.read_bytes() + os.urandom(16))
    environment = {**os.environ, "MATTEWORKS_API_KEY": running_stack.key}
    if language == "python":
        environment["PYTHONPATH"] = str(requests_directory())

    done = subprocess.run(
        [runner, *options, text], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )

    assert done.returncode == 0, done.stdout + done.stderr
    with Image.open(tmp_path / "cutout.webp") as cutout:
        assert cutout.format == "WEBP"
        red, green, blue = cutout.convert("RGB").getpixel((1, 1))
    if "background" not in call.left_out:
        assert red > 200
        assert max(green, blue) < 80
