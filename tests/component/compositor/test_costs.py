"""What a request costs, in figures that no machine changes: decodes, calls, bytes, settings, memory a pixel.

Times belong to benchmarks. These guards keep the reasons for the times.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips

from matteworks.compositor.v1 import compositor_pb2 as pb
from matteworks.compositor.v1 import compositor_pb2_grpc
from matteworks_common.channels import open_channel
from matteworks_common.settings import MEBIBYTE
from matteworks_compositor.compositor import OUTPUT_WEIGHTS
from matteworks_compositor.options.model import OutputFormat
from matteworks_imaging import encoding
from tests.component.compositor.conftest import Service
from tests.component.compositor.pictures import encoded, gradient
from tests.support.fake_inference import running_inference

PICTURE = encoded(gradient(300, 200), "JPEG")
# What a message holds besides pixels: request id, sizes, model, field headers.
ENVELOPE_BYTES = 1024
LARGEST_MODEL_INPUT_BYTES = 3 * 1024 * 1024
MOST_BYTES_A_PIXEL = 12

ONE_PICTURE_REQUESTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "preview": {"max_pixel_count": 10_000},
    "region": {
        "roi": pb.Region(
            left=pb.Length(px=0),
            top=pb.Length(px=0),
            right=pb.Length(percent=60),
            bottom=pb.Length(percent=100),
        )
    },
    "crop": {"crop": pb.Crop()},
    "scale": {"scale_percent": 50},
    "colour": {"bg_color": pb.Color(red=9, green=90, blue=9, alpha=255)},
    "despill": {"despill": True},
    "matte": {"channels": pb.CHANNELS_ALPHA},
    "zip": {"format": pb.OUTPUT_FORMAT_ZIP},
}


class Operations:
    """What libvips was asked to do, in order, with its settings."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []

    @property
    def loaders(self) -> list[str]:
        return [name for name, _ in self.calls if "load" in name]

    @property
    def savers(self) -> list[tuple[str, dict[str, Any]]]:
        return [(name, settings) for name, settings in self.calls if "save" in name]


@pytest.fixture
def operations(monkeypatch: pytest.MonkeyPatch) -> Operations:
    """The real library, overheard."""
    heard, call = Operations(), pyvips.Operation.call

    def listen(name: str, *args: Any, **settings: Any) -> Any:
        heard.calls.append((name, settings))
        return call(name, *args, **settings)

    monkeypatch.setattr(pyvips.Operation, "call", staticmethod(listen))
    return heard


@pytest.mark.parametrize("name", ONE_PICTURE_REQUESTS)
async def test_a_picture_is_decoded_once_and_segmented_once(
    service: Service, operations: Operations, name: str
) -> None:
    await service.remove(PICTURE, **ONE_PICTURE_REQUESTS[name])
    assert operations.loaders == ["jpegload_buffer"]
    assert len(service.inference.requests) == 1
    # PNG is not written by libvips; on an opaque colour the answer is a JPEG.
    assert len(operations.savers) == (1 if name in ("zip", "colour") else 0)


async def test_a_background_picture_is_one_decode_more(service: Service, operations: Operations) -> None:
    await service.remove(PICTURE, bg_image=encoded(gradient(90, 60)))
    assert operations.loaders == ["jpegload_buffer", "pngload_buffer"]
    assert len(service.inference.requests) == 1


async def test_a_brought_matte_costs_no_call_of_the_network(service: Service, operations: Operations) -> None:
    request = pb.ComposeRequest(image=PICTURE, matte_image=encoded(gradient(30, 20)))
    await service.stub.Compose(request, timeout=60)
    assert service.inference.requests == []
    assert sorted(operations.loaders) == ["jpegload_buffer", "pngload_buffer"]


@pytest.mark.parametrize(
    ("width", "height"), [(60, 40), (1024, 1024), (1025, 3000), (4000, 3000), (9000, 200)]
)
async def test_inference_gets_three_megabytes_at_most_and_never_more_than_the_picture(
    service: Service, width: int, height: int
) -> None:
    await service.remove(encoded(gradient(width, height), "JPEG"))
    (request,) = service.inference.requests
    pixel_bytes = len(request.pixels.rgb)
    assert pixel_bytes <= min(LARGEST_MODEL_INPUT_BYTES, 3 * width * height)
    assert request.ByteSize() <= pixel_bytes + ENVELOPE_BYTES


async def test_a_jpeg_is_saved_with_the_settings_that_the_page_gives(
    service: Service, operations: Operations
) -> None:
    await service.remove(PICTURE, format=pb.OUTPUT_FORMAT_JPEG)
    ((name, used),) = operations.savers
    assert (name, used["Q"], used["subsample_mode"]) == ("jpegsave_buffer", encoding.JPEG_QUALITY, "off")
    assert not used.get("optimize_coding")


async def test_a_webp_is_saved_with_the_settings_that_the_page_gives(
    service: Service, operations: Operations
) -> None:
    await service.remove(PICTURE, format=pb.OUTPUT_FORMAT_WEBP)
    ((name, used),) = operations.savers
    told = (name, used["Q"], used["effort"], used["alpha_q"])
    assert told == ("webpsave_buffer", encoding.WEBP_QUALITY, encoding.WEBP_EFFORT, 100)


@pytest.mark.parametrize(
    "options", [{"format": pb.OUTPUT_FORMAT_PNG}, {"channels": pb.CHANNELS_ALPHA}], ids=["cut-out", "matte"]
)
async def test_a_png_is_filtered_as_the_page_says(service: Service, options: dict[str, Any]) -> None:
    """Each row starts with the number of its filter."""
    answer = await service.remove(PICTURE, **options)
    rows = _rows_of_png(answer.rendering.image)
    assert set(rows[:, 0]) == {1}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("format_", "weight"),
    [(pb.OUTPUT_FORMAT_PNG, 1), (pb.OUTPUT_FORMAT_ZIP, 1), (pb.OUTPUT_FORMAT_AVIF, 4)],
    ids=["png", "zip", "avif"],
)
async def test_fifty_megapixels_take_twelve_bytes_a_pixel_of_their_weight_at_most(
    format_: int, weight: int
) -> None:
    """The whole process above its idle size, message, file and result included.

    The crop keeps the decoder from shrinking while it loads, and ZIP keeps all the pixels to the end.
    """
    width, height = 8160, 6120
    noise = np.random.default_rng(0).integers(0, 12, (height, width, 1), np.uint8)
    image = encoded(gradient(width, height) + noise, "JPEG", quality=85, subsampling=2)
    request = pb.RemoveBackgroundRequest(
        image=image, options=pb.RenderOptions(format=format_, crop=pb.Crop())
    )
    async with running_inference() as inference:
        with _process(inference.target) as (process, port):
            async with open_channel(f"127.0.0.1:{port}", 96 * MEBIBYTE) as channel:
                stub = compositor_pb2_grpc.CompositorServiceStub(channel)
                await stub.RemoveBackground(pb.RemoveBackgroundRequest(image=PICTURE), timeout=60)
                idle_bytes = _memory(process.pid, "VmRSS")
                await stub.RemoveBackground(request, timeout=100)
                peak_bytes = _memory(process.pid, "VmHWM") - idle_bytes
    assert peak_bytes / (width * height) <= MOST_BYTES_A_PIXEL * weight
    assert OUTPUT_WEIGHTS.get(OutputFormat(format_), 1) == weight


def _rows_of_png(content: bytes) -> np.ndarray:
    """The rows before packing, each with its filter's number first."""
    position, packed, height = 8, b"", int.from_bytes(content[20:24], "big")
    while position < len(content):
        length = int.from_bytes(content[position : position + 4], "big")
        if content[position + 4 : position + 8] == b"IDAT":
            packed += content[position + 8 : position + 8 + length]
        position += 12 + length
    return np.frombuffer(zlib.decompress(packed), np.uint8).reshape(height, -1)


@contextmanager
def _process(inference_target: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A compositor of its own, as it is run, and the port that it says it listens on."""
    environment = {
        **os.environ,
        "MATTEWORKS_COMPOSITOR_LISTEN_ADDRESS": "127.0.0.1:0",
        "MATTEWORKS_COMPOSITOR_INFERENCE_TARGET": inference_target,
        "MATTEWORKS_COMPOSITOR_THREADS": "2",
        "MATTEWORKS_COMPOSITOR_DRAIN_DELAY_S": "0",
    }
    with subprocess.Popen(
        [sys.executable, "-m", "matteworks_compositor"], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            listening = next(line for line in process.stdout if '"listening"' in line)
            port = re.search(r'"port": (\d+)', listening)
            assert port is not None
            yield process, int(port[1])
        finally:
            process.send_signal(signal.SIGTERM)


def _memory(pid: int, field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024
