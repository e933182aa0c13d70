"""Triton's own client, unmodified, against inference through Envoy: the mattes of `Segment`."""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from matteworks.common.v1 import image_pb2
from matteworks.inference.v1 import inference_pb2, inference_pb2_grpc
from matteworks_common.channels import call, open_channel
from matteworks_common.settings import MEBIBYTE
from tests.clients.conftest import PROGRAMS
from tests.clients.installs import NotInstalled, run_installer
from tests.support.stack import FAST_MODEL, RunningStack

pytestmark = [pytest.mark.stack, pytest.mark.clients, pytest.mark.timeout(600)]
REQUIREMENT = "tritonclient[grpc,http]==2.73.0"
# It wants another protobuf than ours, so it has an environment of its own, kept from run to run.
ENVIRONMENT = Path(__file__).parents[2] / ".venv-triton"
PICTURES = 4
IN_FLIGHT = 64


@pytest.fixture(scope="module")
def triton_python() -> Path:
    python = ENVIRONMENT / "bin" / "python"
    done = ENVIRONMENT / ".installed"
    if not done.is_file() or done.read_text() != REQUIREMENT:
        try:
            run_installer(sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT))
            run_installer(
                str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", REQUIREMENT,
                timeout_s=300,
            )  # fmt: skip
        except NotInstalled as error:
            pytest.xfail(f"tritonclient could not be installed: {error}")
        done.write_text(REQUIREMENT)
    return python


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Discs on slopes of colour, 320 x 320 and less, encoded and as pixels."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(PICTURES):
        width, height = 320 - 16 * number, 240 + 16 * number
        rows, columns = np.mgrid[0:height, 0:width]
        pixels = np.stack([rows % 256, columns % 256, (rows + columns) // 4 % 256], axis=-1).astype(np.uint8)
        pixels[(rows - height / 2) ** 2 + (columns - width / 2) ** 2 < (70 + 5 * number) ** 2] = (240, 60, 30)
        np.save(folder / f"{number}.npy", pixels)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


async def segmented(target: str, folder: Path) -> dict[str, str]:
    """The sha256 of every matte that `Segment` makes, by picture and input."""
    mattes = {}
    async with open_channel(target, 96 * MEBIBYTE) as channel:
        stub = inference_pb2_grpc.InferenceServiceStub(channel)
        for number in range(PICTURES):
            pixels = np.load(folder / f"{number}.npy")
            height_px, width_px, _ = pixels.shape
            size = image_pb2.Size(width_px=width_px, height_px=height_px)
            requests = {
                "pixels": inference_pb2.SegmentRequest(
                    pixels=image_pb2.Pixels(rgb=pixels.tobytes(), size=size), model=FAST_MODEL
                ),
                "image": inference_pb2.SegmentRequest(
                    image=(folder / f"{number}.png").read_bytes(), model=FAST_MODEL
                ),
            }
            for name, request in requests.items():
                response = await call(stub.Segment, request, timeout_s=60)
                mattes[f"{name} {number}"] = hashlib.sha256(response.matte.alpha).hexdigest()
    return mattes


@pytest.mark.parametrize("protocol", ["grpc", "http"])
async def test_64_requests_in_flight_get_the_mattes_of_segment(
    protocol: str, triton_python: Path, pictures: Path, running_stack: RunningStack
) -> None:
    target = running_stack.internal_target
    done = await asyncio.to_thread(
        subprocess.run,
        [
            str(triton_python), str(PROGRAMS / "triton_client.py"), protocol, target, str(pictures),
            FAST_MODEL, str(IN_FLIGHT), str(IN_FLIGHT),
        ],
        capture_output=True, text=True, timeout=300, cwd=pictures,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout.strip().splitlines()[-1])

    expected = await segmented(target, pictures)
    # Of even numbers the pixels are sent, of odd ones the files.
    sent = {f"{'image' if number % 2 else 'pixels'} {number % PICTURES}" for number in range(IN_FLIGHT)}
    assert facts["mattes"] == {name: expected[name] for name in sent}
    assert [tensor["name"] for tensor in facts["metadata"]["inputs"]] == ["image", "pixels"]
    assert "red first" in facts["refusal"]
