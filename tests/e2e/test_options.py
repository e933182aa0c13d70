"""Options that only the whole stack can prove."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from PIL import Image

from matteworks_client import AsyncMatteworksClient, MatteworksClient
from tests.conformance.pictures import picture
from tests.support.stack import FAST_MODEL, RunningStack

pytestmark = pytest.mark.stack


def test_a_pinned_model_gives_the_same_bytes_also_beside_other_pictures(running_stack: RunningStack) -> None:
    wanted = picture("ball 640x480", "pinned")
    others = [picture(f"ball {640 - 32 * number}x480", f"beside {number}") for number in range(3)]

    def cut(content: bytes) -> httpx.Response:
        return httpx.post(
            f"{running_stack.base_url}/v1.0/removebg",
            headers={"X-Api-Key": running_stack.key},
            files={"image_file": content},
            data={"size": "full", "model": FAST_MODEL},
            timeout=60,
        )

    alone = cut(wanted)
    with ThreadPoolExecutor(4) as pool:
        beside = list(pool.map(cut, [wanted, *others]))

    assert alone.status_code == 200, alone.text
    assert all(answer.headers["x-model"] == FAST_MODEL for answer in (alone, *beside))
    assert beside[0].content == alone.content
    assert alone.headers["x-credits-charged"] == "1"


def test_the_command_writes_every_result_of_one_matte(
    running_stack: RunningStack, demo_photo: Path, tmp_path: Path
) -> None:
    command = [
        sys.executable, "-m", "matteworks_cli", "remove", str(demo_photo), "-o", str(tmp_path),
        "--also", "thumb:format=jpg,max_side=128,bg_color=white", "--also", "mask:channels=alpha",
        "--state-dir", str(running_stack.state_directory),
    ]  # fmt: skip
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=90)

    assert result.returncode == 0, result.stderr
    found = {}
    for path in tmp_path.iterdir():
        with Image.open(path) as image:
            found[path.name] = (image.mode, image.size)
    assert found == {
        "astronaut.png": ("RGBA", (512, 512)),
        "astronaut.thumb.jpg": ("RGB", (128, 128)),
        "astronaut.mask.png": ("L", (512, 512)),
    }


async def test_both_clients_get_several_results_of_one_matte(
    running_stack: RunningStack, demo_photo: Path
) -> None:
    with MatteworksClient(running_stack.internal_target) as client:
        first, second = client.cut_outs(demo_photo, [{"format": "webp"}, {"channels": "alpha"}])
    async with AsyncMatteworksClient(running_stack.internal_target) as client:
        (again,) = await client.cut_outs(demo_photo, [{"format": "webp"}])

    assert (first.format, second.format) == ("webp", "png")
    assert again.image == first.image
