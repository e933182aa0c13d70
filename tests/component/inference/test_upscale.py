"""Larger tiles through the stub: real server, real queue, a rebuilt network or none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.common.v1 import image_pb2
from matteworks.inference.v1 import inference_pb2, inference_pb2_grpc
from matteworks_common.channels import call
from matteworks_common.errors import (
    FailedPrecondition,
    InvalidField,
    LimitExceeded,
    MatteworksError,
    NotFound,
    Unavailable,
)
from matteworks_inference.app import Dependencies, build
from matteworks_inference.engines.contract import EngineUnavailable
from matteworks_inference.engines.fake import FakeEngine
from matteworks_inference.networks.registry import Registry, parse_registry
from matteworks_inference.networks.tfjs_layers import onnx_from_layers
from tests.component.inference.test_segment import pixels_request, settings_for
from tests.support.harness import channel_to
from tests.unit.inference.tiny_layers import SCALE, expected, layers_model, layers_registry_table, weights
from tests.unit.inference.tiny_networks import registry_table, tiny_registry

TILE_PX = 24
Stub = inference_pb2_grpc.InferenceServiceStub


def registry_in(directory: Path, *, with_weights: bool = True) -> Registry:
    """A network for mattes, `first`, and one that doubles, `larger`."""
    tiny_registry(directory, first="general")
    if with_weights:
        model, parts = layers_model(weights())
        onnx.save(onnx_from_layers(model, parts.__getitem__), directory / "larger.onnx")
    return parse_registry(registry_table("first") + layers_registry_table("larger", TILE_PX))


@asynccontextmanager
async def service(
    directory: Path, fake: FakeEngine | None = None, *, with_weights: bool = True, **changes: object
) -> AsyncIterator[Stub]:
    settings = settings_for(directory, **changes)
    registry = registry_in(directory, with_weights=with_weights)
    app = await build(settings, Dependencies(registry=registry, engine=fake))
    async with channel_to(app, settings) as channel:
        yield Stub(channel)
        if fake is not None:
            fake.gate.set()


def tile(seed: int = 0, width_px: int = TILE_PX, height_px: int = TILE_PX) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height_px, width_px, 3), dtype=np.uint8)


async def upscale(stub: Stub, pixels: NDArray[np.uint8], timeout_s: float = 20) -> NDArray[np.uint8]:
    answer = await call(stub.Upscale, request_of(pixels), timeout_s=timeout_s)
    assert answer.model == "larger"
    size = answer.pixels.size
    return np.frombuffer(answer.pixels.rgb, np.uint8).reshape(size.height_px, size.width_px, 3)


def request_of(pixels: NDArray[np.uint8]) -> inference_pb2.UpscaleRequest:
    size = image_pb2.Size(width_px=pixels.shape[1], height_px=pixels.shape[0])
    return inference_pb2.UpscaleRequest(pixels=image_pb2.Pixels(rgb=pixels.tobytes(), size=size))


async def refusal(stub: Stub, pixels: NDArray[np.uint8]) -> MatteworksError:
    with pytest.raises(MatteworksError) as raised:
        await upscale(stub, pixels)
    return raised.value


async def models_of(stub: Stub) -> dict[str, inference_pb2.Model]:
    listed = await call(stub.ListModels, inference_pb2.ListModelsRequest(), timeout_s=5)
    return {model.name: model for model in listed.models}


async def test_a_tile_is_drawn_by_the_network_which_is_loaded_then(tmp_path: Path) -> None:
    async with service(tmp_path) as stub:
        before = (await models_of(stub))["larger"]
        assert (before.task, before.loads_on_use) == (inference_pb2.MODEL_TASK_UPSCALING, True)
        assert (before.is_loaded, before.engine) == (False, "")
        picture = tile()
        answer = await upscale(stub, picture)
        wanted = np.clip(np.rint(255 * expected(weights(), picture.astype(np.float32) / 255)), 0, 255)
        assert np.abs(answer.astype(int) - wanted).max() <= 1
        after = (await models_of(stub))["larger"]
        assert (after.is_loaded, bool(after.engine)) == (True, True)
        assert (await models_of(stub))["first"].task == inference_pb2.MODEL_TASK_SEGMENTATION


async def test_a_small_tile_comes_back_in_its_own_size(tmp_path: Path) -> None:
    async with service(tmp_path) as stub:
        picture = tile(1, 7, 5)
        answer = await upscale(stub, picture)
        assert answer.shape == (5 * SCALE, 7 * SCALE, 3)
        wanted = np.clip(np.rint(255 * expected(weights(), picture.astype(np.float32) / 255)), 0, 255)
        # Inside, where no neighbour is beyond the tile.
        assert np.abs(answer[2:-2, 2:-2].astype(int) - wanted[2:-2, 2:-2]).max() <= 1
        assert (await upscale(stub, tile(2, 1, 1))).shape == (SCALE, SCALE, 3)


async def test_tiles_that_share_a_run_are_drawn_as_alone(tmp_path: Path) -> None:
    tiles = [tile(seed) for seed in range(4)]
    async with service(tmp_path / "alone") as stub:
        alone = [await upscale(stub, one) for one in tiles]
    async with service(
        tmp_path / "together", max_batch_items=4, max_queue_delay_ms=500, engine="onnxruntime"
    ) as stub:
        await upscale(stub, tiles[0])
        answers = await asyncio.gather(*(call(stub.Upscale, request_of(one), timeout_s=20) for one in tiles))
    assert max(answer.batch_item_count for answer in answers) > 1
    for answer, one in zip(answers, alone, strict=True):
        together = np.frombuffer(answer.pixels.rgb, np.uint8).reshape(one.shape)
        assert np.array_equal(together, one)


async def test_many_tiles_do_not_hold_up_a_matte(tmp_path: Path) -> None:
    engine = FakeEngine(max_batch_items=1)
    async with service(tmp_path, engine) as stub:
        await upscale(stub, tile())
        engine.gate.clear()
        engine.has_begun.clear()
        engine.runs.clear()
        tiles = [asyncio.create_task(upscale(stub, tile(seed))) for seed in range(12)]
        await asyncio.get_running_loop().run_in_executor(None, engine.has_begun.wait)
        matte = asyncio.create_task(call(stub.Segment, pixels_request(), timeout_s=20))
        # A call that comes after the matte's is answered after the matte is in the line.
        await models_of(stub)
        await asyncio.sleep(0.2)
        engine.gate.set()
        await matte
        await asyncio.gather(*tiles)
        models = [run.key.model for run in engine.runs]
        # One tile runs, one may be handed over already, and the line takes turns.
        assert models.index("first") <= 3
        assert models.count("larger") == 12


async def test_a_tile_that_is_no_tile_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with service(tmp_path, engine) as stub:
        for pixels in (tile(0, TILE_PX + 1, 3), tile(0, 3, TILE_PX + 1), tile(0, 0, 3)):
            error = await refusal(stub, pixels)
            assert isinstance(error, InvalidField)
            assert error.reason == reasons.ERROR_REASON_INVALID_DIMENSIONS
        short = request_of(tile())
        short.pixels.rgb = short.pixels.rgb[:-1]
        with pytest.raises(InvalidField):
            await call(stub.Upscale, short, timeout_s=5)
        assert engine.loaded == ["first"]


async def test_without_weights_the_answer_says_how_to_get_them(tmp_path: Path) -> None:
    async with service(tmp_path, FakeEngine(), with_weights=False) as stub:
        error = await refusal(stub, tile())
        assert isinstance(error, FailedPrecondition)
        assert error.reason == reasons.ERROR_REASON_TOOL_UNAVAILABLE
        assert "matteworks models pull" in error.message
        assert not (await models_of(stub))["larger"].loads_on_use


async def test_an_upscaler_makes_no_mattes(tmp_path: Path) -> None:
    async with service(tmp_path, FakeEngine()) as stub:
        request = pixels_request()
        request.model = "larger"
        with pytest.raises(NotFound):
            await call(stub.Segment, request, timeout_s=5)


async def test_it_is_there_when_only_mattes_were_named(tmp_path: Path) -> None:
    async with service(tmp_path, FakeEngine(), models="first") as stub:
        assert (await upscale(stub, tile())).shape == (TILE_PX * SCALE, TILE_PX * SCALE, 3)


async def test_a_network_that_cannot_be_loaded_is_told_and_tried_again(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with service(tmp_path, engine) as stub:
        engine.load_failure = EngineUnavailable("no memory")
        error = await refusal(stub, tile())
        assert isinstance(error, Unavailable)
        assert error.reason == reasons.ERROR_REASON_ENGINE_FAILED
        engine.load_failure = None
        await upscale(stub, tile())


async def test_more_tiles_than_the_server_holds_are_refused(tmp_path: Path) -> None:
    engine = FakeEngine(max_batch_items=1)
    async with service(tmp_path, engine, max_requests=2) as stub:
        await upscale(stub, tile())
        engine.gate.clear()
        engine.has_begun.clear()
        held = [asyncio.create_task(upscale(stub, tile(seed))) for seed in range(2)]
        await asyncio.get_running_loop().run_in_executor(None, engine.has_begun.wait)
        error = await refusal(stub, tile(9))
        assert isinstance(error, LimitExceeded)
        assert error.reason == reasons.ERROR_REASON_OVERLOADED
        engine.gate.set()
        await asyncio.gather(*held)
