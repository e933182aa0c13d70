"""Fill and expand by a prompt: compositor and inference on real ports, and a server that really paints."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import grpc
import numpy as np
import onnx
import pytest
import pytest_asyncio
from numpy.typing import NDArray

from matteworks.compositor.v1 import edit_pb2 as edit
from matteworks.compositor.v1 import edit_pb2_grpc
from matteworks_common.errors import MatteworksError, from_rpc_error
from matteworks_compositor.app import build as build_compositor
from matteworks_compositor.settings import CompositorSettings
from tests.component.compositor.pictures import decoded, encoded, gradient
from tests.support.harness import channel_to
from tests.support.painting_inference import inference_with_painter
from tests.support.painting_server import KEY, PaintingServer, painting_server
from tests.unit.inference.tiny_painters import mean_filling_network

RED = np.array([255, 0, 0])
BOX = (slice(60, 120), slice(100, 200))


@dataclass
class Tools:
    """The editing tools of a compositor whose inference service has a painter."""

    stub: edit_pb2_grpc.EditServiceStub
    server: PaintingServer

    async def fill(self, image: bytes, mask: bytes, prompt: str, **more: Any) -> edit.FillResponse:
        request = edit.FillRequest(image=image, mask_image=mask, prompt=prompt, **more)
        return await self.stub.Fill(request, timeout=30)

    async def refusal(self, image: bytes, mask: bytes, prompt: str, **more: Any) -> MatteworksError:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await self.fill(image, mask, prompt, **more)
        return from_rpc_error(raised.value)


@asynccontextmanager
async def tools_with(
    directory: Path, server: PaintingServer, eraser: Literal["patches", "painter"] = "patches", **changes: Any
) -> AsyncIterator[Tools]:
    async with inference_with_painter(directory, server, **changes) as target:
        settings = CompositorSettings(
            listen_address="127.0.0.1:0", inference_target=target, drain_delay_s=0, threads=2, eraser=eraser
        )
        async with channel_to(await build_compositor(settings), settings) as channel:
            yield Tools(edit_pb2_grpc.EditServiceStub(channel), server)


@pytest.fixture(scope="module")
def server() -> Iterator[PaintingServer]:
    with painting_server() as started:
        yield started


@pytest_asyncio.fixture
async def tools(tmp_path: Path, server: PaintingServer) -> AsyncIterator[Tools]:
    server.behaviour = "paint"
    server.seen.clear()
    async with tools_with(tmp_path, server) as started:
        yield started


def hole(width: int = 300, height: int = 200) -> NDArray[np.uint8]:
    mask = np.zeros((height, width), np.uint8)
    mask[BOX] = 255
    return mask


def rim(mask: NDArray[np.uint8], reach_px: int) -> NDArray[np.bool_]:
    """The hole and what is at most so far from it."""
    rows, columns = np.nonzero(mask)
    wide = np.zeros(mask.shape, bool)
    wide[
        max(0, rows.min() - reach_px) : rows.max() + reach_px + 1,
        max(0, columns.min() - reach_px) : columns.max() + reach_px + 1,
    ] = True
    return wide


async def test_the_hole_is_painted_and_the_rest_stays_to_the_bit(tools: Tools) -> None:
    picture = gradient(300, 200)
    answer = await tools.fill(encoded(picture), encoded(hole()), "a red box")
    result = decoded(answer.picture.image)
    assert answer.painter == "painter-1"
    assert np.abs(result[BOX].astype(int) - RED).max() <= 20
    outside = ~rim(hole(), 4)
    assert np.array_equal(result[outside], picture[outside])
    assert {stage.stage for stage in answer.stages} >= {"decode", "paint", "fill", "encode"}


async def test_what_a_server_gets_is_openais_request_for_the_surroundings_of_the_hole(tools: Tools) -> None:
    picture = gradient(3000, 2000)
    mask = np.zeros((2000, 3000), np.uint8)
    mask[1000:1060, 1500:1600] = 255
    result = decoded((await tools.fill(encoded(picture), encoded(mask), "a red box")).picture.image)
    assert result.shape == picture.shape
    assert np.abs(result[1000:1060, 1500:1600].astype(int) - RED).max() <= 20
    asked = tools.server.seen[-1]
    assert (asked["prompt"], asked["n"], asked["size"], asked["model"]) == (
        "a red box", "1", "256x256", "painter-1",
    )  # fmt: skip
    assert asked["authorization"] == f"Bearer {KEY}"
    assert decoded(asked["image"]).shape == (256, 256, 4)
    share = (decoded(asked["mask"])[..., 3] == 0).mean()
    assert 0.05 < share < 0.5, "the hole fills a good part of what is sent"


async def test_a_picture_by_url_is_fetched(tools: Tools) -> None:
    tools.server.behaviour = "url"
    result = decoded((await tools.fill(encoded(gradient(300, 200)), encoded(hole()), "red")).picture.image)
    assert np.abs(result[BOX].astype(int) - RED).max() <= 20


async def test_transparent_masks_and_pictures_say_where_in_openais_way(tools: Tools) -> None:
    picture = gradient(300, 200)
    clear = np.dstack((np.zeros_like(picture), 255 - hole()))
    by_mask = await tools.fill(encoded(picture), encoded(clear), "red", mask_rule=edit.MASK_RULE_TRANSPARENT)
    assert np.abs(decoded(by_mask.picture.image)[BOX].astype(int) - RED).max() <= 20
    own = encoded(np.dstack((picture, 255 - hole())))
    by_itself = decoded(
        (await tools.fill(own, b"", "red", mask_rule=edit.MASK_RULE_TRANSPARENT)).picture.image
    )
    assert np.abs(by_itself[BOX][..., :3].astype(int) - RED).max() <= 20
    assert (by_itself[..., 3] == 255).all() if by_itself.shape[2] == 4 else True
    refusal = await tools.refusal(encoded(picture), b"", "red", mask_rule=edit.MASK_RULE_TRANSPARENT)
    assert refusal.field == "mask_image"


async def test_borders_are_painted_and_the_picture_itself_stays(tools: Tools) -> None:
    picture = gradient(300, 200)
    request = edit.ExpandRequest(
        image=encoded(picture), borders=edit.Borders(left_px=80, top_px=20), prompt="all red"
    )
    answer = await tools.stub.Expand(request, timeout=30)
    result = decoded(answer.picture.image)
    assert result.shape == (220, 380, 3)
    assert np.array_equal(result[20:, 80:], picture)
    assert np.abs(result[:, :70].astype(int) - RED).max() <= 20


@pytest.mark.parametrize(
    ("behaviour", "reason", "words"),
    [
        ("error", "PAINTER_FAILED", "status 401"),
        ("redirect", "PAINTER_FAILED", "status 307"),
        ("size", "PAINTER_FAILED", "128 × 128"),
        ("garbage", "PAINTER_FAILED", "not OpenAI's form"),
        ("nothing", "PAINTER_FAILED", "not OpenAI's form"),
        ("cut", "PAINTER_FAILED", "no picture that can be read"),
        ("huge", "PAINTER_FAILED", "MB"),
        ("refuse", "INVALID_ARGUMENT", "refuses to paint"),
    ],
)
async def test_a_server_that_misbehaves_is_a_clear_error(
    tools: Tools, behaviour: str, reason: str, words: str
) -> None:
    tools.server.behaviour = behaviour
    tools.server.sent_bytes = 0
    refusal = await tools.refusal(encoded(gradient(300, 200)), encoded(hole()), "red")
    assert (refusal.reason_name, words in refusal.message) == (reason, True), refusal.message
    assert KEY not in refusal.message
    assert tools.server.sent_bytes < 64 * 2**20, "of a gigabyte little is read"
    assert len(tools.server.seen) == 1, "nobody asks, and pays, twice"


async def test_a_server_that_hangs_is_given_up_in_time(tmp_path: Path, server: PaintingServer) -> None:
    server.behaviour = "hang"
    async with tools_with(tmp_path, server, painter_timeout_s=0.5) as tools:
        start = time.monotonic()
        refusal = await tools.refusal(encoded(gradient(300, 200)), encoded(hole()), "red")
        assert refusal.reason_name == "DEADLINE_EXCEEDED"
        assert time.monotonic() - start < 10


async def test_a_server_that_is_not_there_is_a_clear_error(tmp_path: Path, server: PaintingServer) -> None:
    async with tools_with(tmp_path, server, painter_url="http://127.0.0.1:9/v1") as tools:
        refusal = await tools.refusal(encoded(gradient(300, 200)), encoded(hole()), "red")
        assert (refusal.reason_name, "cannot be reached" in refusal.message) == ("PAINTER_FAILED", True)


async def test_without_a_painter_the_error_says_how_to_add_one(
    tmp_path: Path, server: PaintingServer
) -> None:
    async with tools_with(tmp_path, server, painter="none") as tools:
        refusal = await tools.refusal(encoded(gradient(300, 200)), encoded(hole()), "red")
        assert refusal.reason_name == "TOOL_UNAVAILABLE"
        assert "MATTEWORKS_INFERENCE_PAINTER" in refusal.message


@pytest.mark.parametrize(
    ("mask", "prompt", "field"),
    [
        (hole(299, 200), "red", "mask_image"),
        (np.zeros((200, 300), np.uint8), "red", "mask_image"),
        (np.full((200, 300), 255, np.uint8), "red", "mask_image"),
        (hole(), "r" * 1001, "prompt"),
        (hole(), "  ", "prompt"),
    ],
)
async def test_what_cannot_be_painted_is_refused_before_anybody_is_asked(
    tools: Tools, mask: NDArray[np.uint8], prompt: str, field: str
) -> None:
    refusal = await tools.refusal(encoded(gradient(300, 200)), encoded(mask), prompt)
    assert (refusal.reason_name, refusal.field) == ("INVALID_ARGUMENT", field)
    assert tools.server.seen == []


async def test_a_result_is_scaled_to_a_size_of_its_ratio_only(tools: Tools) -> None:
    picture = encoded(gradient(300, 200))
    size = edit.EditOutput()
    size.size.width_px, size.size.height_px = 150, 100
    answer = await tools.fill(picture, encoded(hole()), "red", output=size)
    assert decoded(answer.picture.image).shape == (100, 150, 3)
    size.size.height_px = 150
    refusal = await tools.refusal(picture, encoded(hole()), "red", output=size)
    assert refusal.field == "output.size"


async def test_a_network_of_the_operators_erases_holes_one_by_one(
    tmp_path: Path, server: PaintingServer
) -> None:
    """LaMa's interface at its own size: each hole gets the mean of what is around it."""
    network = mean_filling_network(side_px=512)
    onnx.save(network, tmp_path / "lama.onnx")
    picture = np.full((600, 2000, 3), (40, 120, 200), np.uint8)
    picture[:, 1000:] = (200, 60, 20)
    mask = np.zeros((600, 2000), np.uint8)
    mask[280:320, 100:140] = 255
    mask[280:320, 1800:1840] = 255
    spoiled = np.where(mask[..., None] > 0, np.uint8(0), picture)
    async with tools_with(tmp_path, server, "painter", painter="network", painter_model="") as tools:
        request = edit.EraseRequest(image=encoded(spoiled), mask_image=encoded(mask))
        result = decoded((await tools.stub.Erase(request, timeout=60)).picture.image)
        assert np.abs(result.astype(int) - picture).max() <= 3
        refusal = await tools.refusal(encoded(spoiled), encoded(mask), "red")
        assert (refusal.reason_name, "lama" in refusal.message) == ("TOOL_UNAVAILABLE", True)
