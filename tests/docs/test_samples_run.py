"""Every sample of the documentation, as a reader would run it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import INSTALL_TIMEOUT_S
from tests.docs.samples import Language, Sample, samples_below
from tests.support.stack import ROOT, RunningStack

SAMPLE_TIMEOUT_S = 90
PUBLIC_ADDRESS = "http://127.0.0.1:8080"
INTERNAL_ADDRESS = "127.0.0.1:8081"
SAMPLES = samples_below(ROOT)
# Results of tools that cut nothing out.
WHOLE_PICTURES = {"larger"}

pytestmark = [pytest.mark.stack, pytest.mark.timeout(SAMPLE_TIMEOUT_S + INSTALL_TIMEOUT_S + 120)]


def reader_folder(directory: Path, stack: RunningStack, photo: Path) -> Path:
    """What a reader has after `make demo` and `make up`."""
    # An upload equal to another sample's would be a repeat. Bytes after a JPEG's end are ignored.
    upload = photo.read_bytes() + uuid.uuid4().bytes
    (directory / "out").mkdir()
    (directory / "out" / "demo-input.jpg").write_bytes(upload)
    (directory / "photo.jpg").write_bytes(upload)
    # The network that enlarges takes its time: one tile of it will do.
    with Image.open(photo) as picture:
        picture.crop((190, 80, 254, 120)).save(directory / "small.jpg")
    (directory / ".matteworks").symlink_to(stack.state_directory)
    (directory / ".venv").symlink_to(sys.prefix)
    return directory


def command_for(sample: Sample, text: str) -> list[str]:
    """What runs the text. Skips, with the reason, where there is no such interpreter."""
    if sample.language is Language.PYTHON:
        return [sys.executable, "-W", "error", "-c", text]
    program = {Language.SHELL: "bash", Language.NODE: "node"}[sample.language]
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not on this machine")
    if sample.language is Language.NODE:
        return [found, "--input-type=module", "--eval", text]
    return [found, "-euo", "pipefail", "-c", text]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.id)
def test_a_sample_does_what_it_shows(
    sample: Sample,
    running_stack: RunningStack,
    demo_photo: Path,
    tmp_path: Path,
    requests_directory: Callable[[], Path],
    samples_not_run: dict[str, str],
) -> None:
    if sample.not_run_because:
        samples_not_run[sample.id] = sample.not_run_because
        pytest.skip(sample.not_run_because)
    folder = reader_folder(tmp_path, running_stack, demo_photo)
    given = set(folder.rglob("*"))
    text = sample.text.replace(PUBLIC_ADDRESS, running_stack.base_url)
    text = text.replace(INTERNAL_ADDRESS, running_stack.internal_target)
    environment = {
        **os.environ,
        "MATTEWORKS_BASE_URL": running_stack.base_url,
        "MATTEWORKS_API_KEY": running_stack.key,
    }
    if sample.language is Language.PYTHON and "import requests" in sample.text:
        environment["PYTHONPATH"] = str(requests_directory())
        text = "import warnings; warnings.simplefilter('ignore', ResourceWarning)\n" + text

    done = subprocess.run(
        command_for(sample, text), cwd=folder, env=environment, timeout=SAMPLE_TIMEOUT_S,
        capture_output=True, text=True,
    )  # fmt: skip

    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    for path in set(folder.rglob("*")) - given:
        check_written_picture(path)


def check_written_picture(path: Path) -> None:
    """Raises when a picture cannot be opened, or when a PNG still has its whole background."""
    if path.suffix.lower() not in {".png", ".jpg", ".jpeg", ".webp"}:
        return
    with Image.open(path) as image:
        image.load()
        # A matte alone is grey.
        if path.suffix.lower() == ".png" and path.stem not in WHOLE_PICTURES and image.mode != "L":
            assert image.getchannel("A").getextrema() == (0, 255), f"{path.name} is not cut out"


def test_each_way_to_call_the_api_is_shown() -> None:
    assert {sample.language for sample in SAMPLES if not sample.not_run_because} == set(Language)
