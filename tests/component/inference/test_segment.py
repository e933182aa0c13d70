"""The inference service through its stub: real server, real queue, small networks or none."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from PIL import Image

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.common.v1 import image_pb2, instance_pb2, instance_pb2_grpc
from matteworks.inference.v1 import inference_pb2, inference_pb2_grpc
from matteworks_common.channels import call, open_channel
from matteworks_common.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    InvalidField,
    InvalidPicture,
    LimitExceeded,
    MatteworksError,
    NotFound,
    Unavailable,
)
from matteworks_common.lifecycle import running
from matteworks_common.settings import MEBIBYTE, SettingsError
from matteworks_inference.app import Dependencies, build
from matteworks_inference.engines.contract import EngineUnavailable
from matteworks_inference.engines.fake import FakeEngine
from matteworks_inference.networks.registry import Registry
from matteworks_inference.queueing.contract import DeviceLost
from matteworks_inference.settings import InferenceSettings
from tests.support.harness import channel_to
from tests.unit.inference.tiny_networks import SIDE_PX, tiny_registry


@dataclass
class Service:
    """A service under test."""

    channel: grpc.aio.Channel
    stub: inference_pb2_grpc.InferenceServiceStub
    engine: FakeEngine
    endings: list[str] = field(default_factory=list)

    async def segment(
        self, request: inference_pb2.SegmentRequest, timeout_s: float = 20
    ) -> inference_pb2.SegmentResponse:
        return await call(self.stub.Segment, request, timeout_s=timeout_s)

    async def refusal(self, request: inference_pb2.SegmentRequest, timeout_s: float = 20) -> MatteworksError:
        with pytest.raises(MatteworksError) as caught:
            await self.segment(request, timeout_s)
        return caught.value

    async def device_has_begun(self) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self.engine.has_begun.wait)


def settings_for(directory: Path, **changes: object) -> InferenceSettings:
    values: dict[str, object] = {
        "listen_address": "127.0.0.1:0",
        "drain_delay_s": 0,
        "grace_s": 1,
        "model_directory": directory,
        "threads": 1,
        "detects_subject": False,
    }
    return InferenceSettings(**{**values, **changes})  # type: ignore[arg-type]


def registry_in(directory: Path) -> Registry:
    return tiny_registry(directory, first="general", second="general")


@asynccontextmanager
async def fake_service(directory: Path, **changes: object) -> AsyncIterator[Service]:
    engine = FakeEngine()
    endings: list[str] = []
    settings = settings_for(directory, **changes)
    app = await build(
        settings,
        Dependencies(
            registry=registry_in(directory), engine=engine, end_process=lambda: endings.append("ended")
        ),
    )
    async with channel_to(app, settings) as channel:
        yield Service(channel, inference_pb2_grpc.InferenceServiceStub(channel), engine, endings)
        engine.gate.set()


@asynccontextmanager
async def real_service(directory: Path, **changes: object) -> AsyncIterator[Service]:
    settings = settings_for(directory, **changes)
    app = await build(settings, Dependencies(registry=registry_in(directory)))
    async with channel_to(app, settings) as channel:
        yield Service(channel, inference_pb2_grpc.InferenceServiceStub(channel), FakeEngine())


def pixels_request(seed: int = 0, side_px: int = SIDE_PX) -> inference_pb2.SegmentRequest:
    """Noise for the model `first`, whose plain answer is the red channel."""
    rgb = np.random.default_rng(seed).integers(0, 256, (side_px, side_px, 3), dtype=np.uint8)
    size = image_pb2.Size(width_px=side_px, height_px=side_px)
    return inference_pb2.SegmentRequest(pixels=image_pb2.Pixels(rgb=rgb.tobytes(), size=size), model="first")


def red_of(request: inference_pb2.SegmentRequest) -> bytes:
    return request.pixels.rgb[0::3]


async def test_pixels_become_a_matte_of_the_networks_size(tmp_path: Path) -> None:
    async with real_service(tmp_path) as service:
        request = pixels_request()
        response = await service.segment(request)
        assert response.matte.size == image_pb2.Size(width_px=SIDE_PX, height_px=SIDE_PX)
        assert response.matte.alpha == red_of(request)
        assert response.batch_item_count == 1


async def test_an_encoded_picture_becomes_a_matte(tmp_path: Path) -> None:
    async with real_service(tmp_path) as service:
        buffer = io.BytesIO()
        Image.new("RGB", (SIDE_PX, SIDE_PX), (180, 0, 0)).save(buffer, "PNG")
        response = await service.segment(inference_pb2.SegmentRequest(image=buffer.getvalue(), model="first"))
        assert set(response.matte.alpha) == {180}


async def test_the_response_tells_model_and_stages(tmp_path: Path) -> None:
    async with real_service(tmp_path) as service:
        response = await service.segment(pixels_request())
        assert response.model == "first"
        stages = [stage.stage for stage in response.stages]
        assert stages == ["resize", "queue", "infer"]


async def test_a_named_model_makes_the_matte(tmp_path: Path) -> None:
    async with fake_service(tmp_path) as service:
        request = pixels_request()
        request.model = "second"
        assert (await service.segment(request)).model == "second"
        assert [run.key.model for run in service.engine.runs] == ["second"]


async def test_concurrent_pictures_share_runs_and_get_their_own_mattes(tmp_path: Path) -> None:
    async with fake_service(tmp_path, max_batch_items=4) as service:
        service.engine.gate.clear()
        first = asyncio.create_task(service.segment(pixels_request(99)))
        await service.device_has_begun()
        requests = [pixels_request(seed) for seed in range(6)]
        tasks = [asyncio.create_task(service.segment(request)) for request in requests]
        await asyncio.sleep(0)
        service.engine.gate.set()
        responses = await asyncio.gather(*tasks)
        await first
        for request, response in zip(requests, responses, strict=True):
            assert response.matte.alpha == red_of(request)


async def test_a_full_queue_refuses_with_a_time_to_come_back(tmp_path: Path) -> None:
    async with fake_service(tmp_path, max_queued_items=1, max_batch_items=1) as service:
        service.engine.gate.clear()
        tasks = [asyncio.create_task(service.segment(pixels_request(seed))) for seed in range(8)]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        error = done.pop().exception()
        assert isinstance(error, LimitExceeded)
        assert error.reason == reasons.ERROR_REASON_OVERLOADED
        assert error.retry_after_s
        service.engine.gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert any(isinstance(result, inference_pb2.SegmentResponse) for result in results)


async def test_more_pictures_than_the_setting_allows_are_refused_before_any_work(tmp_path: Path) -> None:
    async with fake_service(tmp_path, max_requests=1) as service:
        service.engine.gate.clear()
        first = asyncio.create_task(service.segment(pixels_request()))
        await service.device_has_begun()
        error = await service.refusal(pixels_request())
        assert error.reason == reasons.ERROR_REASON_OVERLOADED
        service.engine.gate.set()
        await first
        await service.segment(pixels_request())


async def test_a_deadline_is_answered_while_the_device_is_stuck(tmp_path: Path) -> None:
    async with fake_service(tmp_path) as service:
        service.engine.gate.clear()
        assert isinstance(await service.refusal(pixels_request(), timeout_s=0.2), DeadlineExceeded)


async def test_an_engine_error_is_unavailable_and_the_service_lives_on(tmp_path: Path) -> None:
    async with fake_service(tmp_path) as service:
        service.engine.failures = [RuntimeError("CUDNN_STATUS_INTERNAL_ERROR at /home/x")]
        error = await service.refusal(pixels_request())
        assert isinstance(error, Unavailable)
        assert error.reason == reasons.ERROR_REASON_ENGINE_FAILED
        assert "CUDNN" not in error.message
        await service.segment(pixels_request())


async def test_a_lost_device_ends_readiness_and_the_process(tmp_path: Path) -> None:
    async with fake_service(tmp_path, health_interval_s=0.01) as service:
        service.engine.failures = [DeviceLost("an illegal memory access was encountered")]
        health = health_pb2_grpc.HealthStub(service.channel)
        watch = health.Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        assert isinstance(await service.refusal(pixels_request()), Unavailable)
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert service.endings == ["ended"]
        assert isinstance(await service.refusal(pixels_request()), Unavailable)
        assert len(service.engine.runs) == 1, "nothing that a lost device answers may be believed"
        watch.cancel()


@pytest.mark.parametrize(
    ("change", "kind", "reason"),
    [
        ({"model": "absent"}, NotFound, reasons.ERROR_REASON_MODEL_NOT_FOUND),
        ({"model": "second"}, FailedPrecondition, reasons.ERROR_REASON_MODEL_NOT_LOADED),
        ({"quality": 77}, InvalidField, reasons.ERROR_REASON_INVALID_ARGUMENT),
        ({"subject_type": 77}, InvalidField, reasons.ERROR_REASON_INVALID_ARGUMENT),
        ({"image": b"8BPS"}, InvalidPicture, reasons.ERROR_REASON_INVALID_FILE_TYPE),
        ({"image": b""}, InvalidPicture, reasons.ERROR_REASON_INVALID_FILE_TYPE),
        (
            {"source_size": image_pb2.Size(width_px=0, height_px=3)},
            InvalidField,
            reasons.ERROR_REASON_INVALID_DIMENSIONS,
        ),
    ],
)
async def test_a_wrong_request_is_refused_by_reason(
    tmp_path: Path, change: dict[str, object], kind: type[MatteworksError], reason: int
) -> None:
    async with fake_service(tmp_path, models="first") as service:
        request = pixels_request()
        request.MergeFrom(inference_pb2.SegmentRequest(**change))  # type: ignore[arg-type]
        error = await service.refusal(request)
        assert isinstance(error, kind)
        assert error.reason == reason
        assert service.engine.runs == []


async def test_a_dry_run_checks_the_model_and_runs_nothing(tmp_path: Path) -> None:
    async with fake_service(tmp_path, models="first") as service:
        answer = await service.segment(inference_pb2.SegmentRequest(model="first", dry_run=True))
        assert not answer.HasField("matte")
        error = await service.refusal(inference_pb2.SegmentRequest(model="absent", dry_run=True))
        assert error.reason == reasons.ERROR_REASON_MODEL_NOT_FOUND
        assert "first" in error.message
        assert service.engine.runs == []


async def test_a_request_without_a_picture_is_refused(tmp_path: Path) -> None:
    async with fake_service(tmp_path) as service:
        error = await service.refusal(inference_pb2.SegmentRequest())
        assert error.reason == reasons.ERROR_REASON_MISSING_SOURCE


async def test_list_models_tells_what_is_loaded_and_where(tmp_path: Path) -> None:
    async with fake_service(tmp_path, models="second") as service:
        listed = await call(service.stub.ListModels, inference_pb2.ListModelsRequest(), timeout_s=5)
        facts = [(model.name, model.is_loaded, model.is_default, model.engine) for model in listed.models]
        assert facts == [("second", True, True, "fake/none"), ("first", False, False, "")]
        assert listed.models[0].license == "Apache-2.0"
        assert listed.models[0].engine_reason
        assert listed.models[0].input_size.width_px == SIDE_PX


async def test_a_process_tells_how_busy_its_device_is_and_what_its_models_take(tmp_path: Path) -> None:
    async with fake_service(tmp_path, models="first") as service:
        await service.segment(pixels_request())
        stub = instance_pb2_grpc.InstanceServiceStub(service.channel)
        told = await call(stub.GetInstance, instance_pb2.GetInstanceRequest(), timeout_s=5)
        models = await call(service.stub.ListModels, inference_pb2.ListModelsRequest(), timeout_s=5)

    load = told.device_load
    assert (told.service, told.in_flight_count) == ("inference", 0)
    assert (load.engines, load.finished_count, load.in_hand_count) == ("fake/none", 1, 0)
    assert (load.waiting_count, load.max_waiting_count) == (0, 128)
    assert load.window.ToNanoseconds() >= 1e9
    assert models.models[1].memory_bytes == 0


async def test_without_a_list_every_model_with_weights_is_loaded(tmp_path: Path) -> None:
    async with fake_service(tmp_path) as service:
        assert service.engine.loaded == ["first", "second"]


async def test_missing_weights_refuse_the_start_and_name_the_command(tmp_path: Path) -> None:
    registry = registry_in(tmp_path)
    (tmp_path / "second.onnx").unlink()
    with pytest.raises(SettingsError, match="matteworks models pull second"):
        await build(settings_for(tmp_path, models="second"), Dependencies(registry=registry))


async def test_an_empty_model_directory_refuses_the_start_and_names_the_command(tmp_path: Path) -> None:
    registry = registry_in(tmp_path / "elsewhere")
    with pytest.raises(SettingsError, match="matteworks models pull"):
        await build(settings_for(tmp_path), Dependencies(registry=registry))


async def test_an_unknown_model_refuses_the_start_and_names_the_known(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="first, second"):
        await build(settings_for(tmp_path, models="third"), Dependencies(registry=registry_in(tmp_path)))


async def test_a_device_that_does_not_come_up_refuses_the_start_and_closes_what_was_opened(
    tmp_path: Path,
) -> None:
    engine = FakeEngine()
    engine.load_failure = EngineUnavailable("no CUDA here")
    with pytest.raises(SettingsError, match="no CUDA here"):
        await build(settings_for(tmp_path), Dependencies(registry=registry_in(tmp_path), engine=engine))
    assert engine.is_closed


async def test_stopping_answers_the_request_that_runs(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.gate.clear()
    settings = settings_for(tmp_path, grace_s=10)
    app = await build(settings, Dependencies(registry=registry_in(tmp_path), engine=engine))
    async with AsyncExitStack() as serving:
        service = await serving.enter_async_context(running(app, settings))
        async with open_channel(f"127.0.0.1:{service.port}", 8 * MEBIBYTE) as channel:
            stub = inference_pb2_grpc.InferenceServiceStub(channel)
            request = pixels_request()
            answer = asyncio.create_task(call(stub.Segment, request, timeout_s=20))
            await asyncio.get_running_loop().run_in_executor(None, engine.has_begun.wait)
            stopping = asyncio.create_task(serving.aclose())
            asyncio.get_running_loop().call_later(0.05, engine.gate.set)
            assert (await answer).matte.alpha == red_of(request)
            await stopping
    assert engine.is_closed
