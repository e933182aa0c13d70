"""Pixels that go from compositor to inference in memory that both see, with both services real."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.common.v1 import image_pb2
from matteworks.inference.v1 import inference_pb2
from matteworks_common.channels import open_channel
from matteworks_common.errors import DeadlineExceeded, InvalidField, InvalidPicture, LimitExceeded
from matteworks_common.settings import MEBIBYTE
from matteworks_common.shared_memory import Lender
from matteworks_compositor.inference_client import InferenceClient, Segmentation
from matteworks_compositor.options.model import Quality, SubjectType
from matteworks_imaging.box import Size
from tests.component.inference.test_segment import Service, fake_service
from tests.support.fake_inference import FakeInference, running_inference
from tests.unit.inference.tiny_networks import SIDE_PX


@dataclass
class Caller:
    """The compositor's client with its lender, and the service that it asks."""

    client: InferenceClient
    lender: Lender
    service: Service

    async def matte(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return (await segmented(self.client, pixels)).matte


async def segmented(client: InferenceClient, pixels: NDArray[np.uint8]) -> Segmentation:
    return await client.segment(
        pixels,
        source_size=Size(pixels.shape[1], pixels.shape[0]),
        model="first",
        quality=Quality.UNSPECIFIED,
        subject_type=SubjectType.UNSPECIFIED,
    )


@asynccontextmanager
async def caller(
    directory: Path, *, is_shared: bool = True, timeout_s: float = 20, **changes: object
) -> AsyncIterator[Caller]:
    """Both services, and `directory / "memory"` between them if `is_shared`; else the caller's alone."""
    memory = directory / "memory"
    memory.mkdir()
    shared = str(memory) if is_shared else ""
    async with fake_service(directory, shared_memory_directory=shared, **changes) as service:
        lender = Lender(memory)
        yield Caller(InferenceClient(service.channel, timeout_s, lender), lender, service)
        lender.close()
        assert list(memory.iterdir()) == []


def noise(seed: int, side_px: int = SIDE_PX) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (side_px, side_px, 3), dtype=np.uint8)


def files_in(directory: Path) -> list[str]:
    return sorted(path.name for path in (directory / "memory").iterdir())


async def test_shared_pixels_make_the_mattes_that_sent_ones_make(tmp_path: Path) -> None:
    async with caller(tmp_path) as both:
        for seed in range(3):
            pixels = noise(seed)
            assert np.array_equal(await both.matte(pixels), pixels[:, :, 0])
        # One after another they took turns in one file.
        assert len(files_in(tmp_path)) == 1


async def test_shared_pixels_are_not_in_the_message(tmp_path: Path) -> None:
    async with caller(tmp_path, max_message_bytes=8 * MEBIBYTE) as both:
        large = noise(0, 1800)
        assert large.nbytes > 8 * MEBIBYTE
        assert (await both.matte(large)).shape == (SIDE_PX, SIDE_PX)


async def test_a_part_of_a_larger_array_is_shared_as_it_looks(tmp_path: Path) -> None:
    async with caller(tmp_path) as both:
        part = noise(0, 2 * SIDE_PX)[::2, 1::2]
        assert np.array_equal(await both.matte(part), part[:, :, 0])


async def test_pictures_side_by_side_keep_their_own_pixels(tmp_path: Path) -> None:
    async with caller(tmp_path) as both:
        pictures = [noise(seed) for seed in range(40)]
        mattes = await asyncio.gather(*(both.matte(pixels) for pixels in pictures))
        for pixels, matte in zip(pictures, mattes, strict=True):
            assert np.array_equal(matte, pixels[:, :, 0])
        # What many needed at once is not kept for ever.
        assert len(files_in(tmp_path)) == 16


async def test_a_service_that_shares_no_memory_gets_messages(tmp_path: Path) -> None:
    async with caller(tmp_path, is_shared=False) as both:
        for seed in range(2):
            pixels = noise(seed)
            assert np.array_equal(await both.matte(pixels), pixels[:, :, 0])
        assert files_in(tmp_path) == []


async def test_a_service_that_does_not_know_shared_pixels_gets_messages(tmp_path: Path) -> None:
    old = InvalidPicture(reasons.ERROR_REASON_MISSING_SOURCE, "Send either.", field="source")
    async with running_inference(FakeInference(error=old)) as inference:
        async with open_channel(inference.target, MEBIBYTE) as channel:
            client = InferenceClient(channel, 5, Lender(tmp_path))
            for _ in range(2):
                with pytest.raises(InvalidField):
                    await segmented(client, noise(0))
        sources = [request.WhichOneof("source") for request in inference.requests]
        assert sources == ["shared_pixels", "pixels", "pixels"]


async def test_without_room_in_memory_pixels_go_in_the_message(tmp_path: Path) -> None:
    async with caller(tmp_path) as both:
        client = InferenceClient(both.service.channel, 20, Lender(tmp_path / "nowhere"))
        pixels = noise(0)
        assert np.array_equal((await segmented(client, pixels)).matte, pixels[:, :, 0])


async def test_a_refusal_at_the_door_stays_one(tmp_path: Path) -> None:
    async with caller(tmp_path, max_requests=1) as both:
        both.service.engine.gate.clear()
        first = asyncio.create_task(both.matte(noise(0)))
        await both.service.device_has_begun()
        with pytest.raises(LimitExceeded):
            await both.matte(noise(1))
        both.service.engine.gate.set()
        assert np.array_equal(await first, noise(0)[:, :, 0])


@pytest.mark.parametrize("way", ["deadline", "cancelled"])
async def test_memory_that_a_left_call_may_still_read_is_not_written_again(tmp_path: Path, way: str) -> None:
    async with caller(tmp_path, timeout_s=0.5 if way == "deadline" else 20) as both:
        both.service.engine.gate.clear()
        call = asyncio.create_task(both.matte(noise(0)))
        await both.service.device_has_begun()
        assert len(files_in(tmp_path)) == 1
        if way == "cancelled":
            call.cancel()
        with pytest.raises((DeadlineExceeded, asyncio.CancelledError)):
            await call
        assert files_in(tmp_path) == []
        both.service.engine.gate.set()
        assert np.array_equal(await both.matte(noise(1)), noise(1)[:, :, 0])


@pytest.mark.parametrize(
    ("name", "width_px", "field"),
    [
        ("../secret", SIDE_PX, "shared_pixels.name"),
        ("", SIDE_PX, "shared_pixels.name"),
        ("a" * 32, SIDE_PX, "shared_pixels.name"),
        ("b" * 32, SIDE_PX, "shared_pixels.name"),
        ("c" * 32, SIDE_PX, "shared_pixels.name"),
        ("d" * 32, SIDE_PX, "shared_pixels.name"),
        ("e" * 32, 0, "shared_pixels.size.width_px"),
        ("e" * 32, 4097, "shared_pixels.size.width_px"),
        ("e" * 32, SIDE_PX + 1, "shared_pixels.name"),
    ],
    ids=["above", "none", "missing", "link", "pipe", "folder", "no side", "long side", "too little"],
)
async def test_what_is_not_shared_pixels_is_refused_by_field(
    tmp_path: Path, name: str, width_px: int, field: str
) -> None:
    content = bytes(3 * SIDE_PX * SIDE_PX)
    async with fake_service(tmp_path, shared_memory_directory=str(tmp_path / "memory")) as service:
        memory = tmp_path / "memory"
        memory.mkdir()
        (tmp_path / "secret").write_bytes(content)
        (memory / ("b" * 32)).symlink_to(tmp_path / "secret")
        os.mkfifo(memory / ("c" * 32))
        (memory / ("d" * 32)).mkdir()
        (memory / ("e" * 32)).write_bytes(content)
        size = image_pb2.Size(width_px=width_px, height_px=SIDE_PX)
        shared = inference_pb2.SharedPixels(name=name, size=size)
        refusal = await service.refusal(inference_pb2.SegmentRequest(shared_pixels=shared, model="first"))
        assert isinstance(refusal, InvalidField)
        assert refusal.field == field
        assert service.engine.runs == []


def test_what_a_killed_process_left_is_removed_and_what_lives_stays(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from matteworks_common.shared_memory import Lender\n"
        "with Lender(Path(sys.argv[1])).lend(b'pixels') as name: print(name, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    killed = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert killed.stdout
    left = killed.stdout.readline().strip()
    killed.kill()
    killed.communicate()
    (tmp_path / "somebody's").write_bytes(b"")
    lender = Lender(tmp_path)
    with lender.lend(b"pixels") as living:
        assert {path.name for path in tmp_path.iterdir()} == {left, living, "somebody's"}
        long_ago_s = time.time() - 60
        for path in tmp_path.iterdir():
            os.utime(path, (long_ago_s, long_ago_s))
        Lender(tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {living, "somebody's"}
    lender.close()
