"""Which networks a picture gets through the stub, by quality and by subject."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from matteworks.common.v1 import image_pb2
from matteworks.inference.v1 import inference_pb2, inference_pb2_grpc
from matteworks_common.channels import call
from matteworks_inference.app import Dependencies, build
from matteworks_inference.engines.contract import Tensors
from matteworks_inference.engines.fake import FakeBatch, FakeEngine
from matteworks_inference.networks.graph import MATTE
from matteworks_inference.settings import InferenceSettings
from tests.support.harness import channel_to
from tests.unit.inference.tiny_networks import tiny_registry

ROLES = {"any": "general", "quick": "small", "people": "portrait"}
PHOTO = Path(__file__).parents[3] / "cli" / "matteworks_cli" / "demo" / "astronaut.jpg"
SIDE_PX = 256


@dataclass
class Service:
    """A service of three fake networks."""

    stub: inference_pb2_grpc.InferenceServiceStub
    engine: FakeEngine

    async def segment(
        self, rgb: np.ndarray, *, quality: int = 0, subject_type: int = 0
    ) -> inference_pb2.SegmentResponse:
        height_px, width_px = rgb.shape[:2]
        size = image_pb2.Size(width_px=width_px, height_px=height_px)
        request = inference_pb2.SegmentRequest(
            pixels=image_pb2.Pixels(rgb=np.ascontiguousarray(rgb).tobytes(), size=size),
            quality=image_pb2.Quality.ValueType(quality),
            subject_type=image_pb2.SubjectType.ValueType(subject_type),
        )
        return await call(self.stub.Segment, request, timeout_s=20)


@asynccontextmanager
async def service_of(
    directory: Path,
    models: Sequence[str] = ("any", "quick", "people"),
    *,
    detects_subject: bool = False,
    engine: FakeEngine | None = None,
) -> AsyncIterator[Service]:
    registry = tiny_registry(directory, **ROLES)
    settings = InferenceSettings(
        listen_address="127.0.0.1:0", drain_delay_s=0, grace_s=1, model_directory=directory, threads=1,
        models=",".join(models), detects_subject=detects_subject,
    )  # fmt: skip
    engine = engine or FakeEngine()
    app = await build(settings, Dependencies(registry=registry, engine=engine))
    async with channel_to(app, settings) as channel:
        yield Service(inference_pb2_grpc.InferenceServiceStub(channel), engine)


def disc(side_px: int = SIDE_PX, radius: float = 0.4) -> np.ndarray:
    """A red disc on black: for a fake network, a subject in the middle."""
    rgb = np.zeros((side_px, side_px, 3), np.uint8)
    cv2.circle(rgb, (side_px // 2, side_px // 2), round(radius * side_px), (255, 0, 0), -1)
    return rgb


@pytest.mark.parametrize(
    ("quality", "subject_type", "models"),
    [
        (image_pb2.QUALITY_FAST, image_pb2.SUBJECT_TYPE_PERSON, {"quick"}),
        (image_pb2.QUALITY_BALANCED, image_pb2.SUBJECT_TYPE_PERSON, {"any", "people"}),
        (image_pb2.QUALITY_BEST, image_pb2.SUBJECT_TYPE_PERSON, {"any", "quick", "people"}),
        (image_pb2.QUALITY_BALANCED, image_pb2.SUBJECT_TYPE_CAR, {"any", "quick"}),
        (image_pb2.QUALITY_UNSPECIFIED, image_pb2.SUBJECT_TYPE_CAR, {"any", "quick"}),
        (image_pb2.QUALITY_BALANCED, image_pb2.SUBJECT_TYPE_UNSPECIFIED, {"any", "people"}),
    ],
)
async def test_quality_and_subject_choose_the_networks(
    tmp_path: Path, quality: int, subject_type: int, models: set[str]
) -> None:
    async with service_of(tmp_path) as service:
        response = await service.segment(disc(), quality=quality, subject_type=subject_type)
        assert {run.key.model for run in service.engine.runs} == models
        assert set(response.model.split("+")) == models


class HalfBlindPortrait(FakeEngine):
    """Its portrait network sees the left half only."""

    def run(self, prepared: FakeBatch) -> list[Tensors]:
        answers = super().run(prepared)
        for matte in (answer[MATTE] for answer in answers) if prepared.key.model == "people" else ():
            matte[:, matte.shape[1] // 2 :] = 0
        return answers


async def test_the_small_network_is_asked_about_a_person_when_the_two_others_differ(tmp_path: Path) -> None:
    async with service_of(tmp_path, engine=HalfBlindPortrait()) as service:
        response = await service.segment(disc(), subject_type=image_pb2.SUBJECT_TYPE_PERSON)
        assert [run.key.model for run in service.engine.runs][-1] == "quick", "after the others"
        assert set(response.model.split("+")) == {"any", "people", "quick"}


@pytest.mark.parametrize("models", [["quick"], ["people"], ["any"], ["people", "quick"]])
async def test_networks_that_are_not_loaded_are_done_without(tmp_path: Path, models: list[str]) -> None:
    async with service_of(tmp_path, models) as service:
        response = await service.segment(disc())
        assert set(response.model.split("+")) <= set(models)
        alpha = np.frombuffer(response.matte.alpha, np.uint8).reshape(SIDE_PX, SIDE_PX)
        assert alpha[SIDE_PX // 2, SIDE_PX // 2] == 255
        assert alpha[0, 0] == 0


@pytest.mark.parametrize("models", [["any", "people"], ["people", "any"]])
async def test_fast_without_the_small_network_takes_the_general_one(
    tmp_path: Path, models: list[str]
) -> None:
    """The first model in the settings is the default, yet a portrait network does not know every subject."""
    async with service_of(tmp_path, models) as service:
        response = await service.segment(disc(), quality=image_pb2.QUALITY_FAST)
        assert response.model == "any"


async def test_the_matte_has_the_size_of_the_pixels(tmp_path: Path) -> None:
    async with service_of(tmp_path) as service:
        response = await service.segment(disc(100)[:80])
        assert (response.matte.size.width_px, response.matte.size.height_px) == (100, 80)


async def test_pixels_larger_than_any_network_get_a_matte_of_1024(tmp_path: Path) -> None:
    async with service_of(tmp_path) as service:
        response = await service.segment(disc(1500)[:900])
        assert (response.matte.size.width_px, response.matte.size.height_px) == (1024, 900)


async def test_a_known_subject_is_believed(tmp_path: Path) -> None:
    async with service_of(tmp_path, detects_subject=True) as service:
        response = await service.segment(disc(), subject_type=image_pb2.SUBJECT_TYPE_ANIMAL)
        assert response.subject == image_pb2.Subject(type=image_pb2.SUBJECT_TYPE_ANIMAL, confidence=1.0)
        assert "classify" not in [stage.stage for stage in response.stages]


async def test_without_a_detector_the_subject_is_not_determined(tmp_path: Path) -> None:
    async with service_of(tmp_path) as service:
        response = await service.segment(disc())
        assert response.subject.type == image_pb2.SUBJECT_TYPE_UNSPECIFIED


async def test_a_person_is_recognised_and_gets_the_portrait_network(tmp_path: Path) -> None:
    if not PHOTO.exists():
        pytest.skip("the demo photo is not here")
    photo = np.asarray(cv2.cvtColor(cv2.imread(str(PHOTO)), cv2.COLOR_BGR2RGB), np.uint8)
    async with service_of(tmp_path, detects_subject=True) as service:
        response = await service.segment(photo)
        assert response.subject.type == image_pb2.SUBJECT_TYPE_PERSON
        assert 0.5 <= response.subject.confidence <= 1
        assert [run.key.model for run in service.engine.runs][-1] == "people"
        stages = [stage.stage for stage in response.stages]
        assert sorted(stages) == ["classify", "infer", "queue", "refine", "resize"], "each once"


async def test_a_pictures_own_runs_are_not_told_as_waiting(tmp_path: Path) -> None:
    """Otherwise the stages of an idle server would add up to more than the call took."""
    async with service_of(tmp_path) as service:
        service.engine.run_s = 0.05
        response = await service.segment(disc(), subject_type=image_pb2.SUBJECT_TYPE_CAR)
        stages = {stage.stage: stage.duration.ToNanoseconds() / 1e9 for stage in response.stages}
        assert stages["infer"] >= 0.1
        assert stages["queue"] < 0.05


async def test_a_small_subject_gets_a_second_look_at_best_quality(tmp_path: Path) -> None:
    async with service_of(tmp_path) as service:
        await service.segment(
            disc(radius=0.1), quality=image_pb2.QUALITY_BEST, subject_type=image_pb2.SUBJECT_TYPE_PRODUCT
        )
        assert sorted(run.key.model for run in service.engine.runs) == ["any", "any", "quick", "quick"]
        first, again = (run.items[0] for run in service.engine.runs if run.key.model == "any")
        assert (again[:, :, 0] > 127).mean() > 2 * (first[:, :, 0] > 127).mean()


async def test_a_large_subject_needs_no_second_look(tmp_path: Path) -> None:
    async with service_of(tmp_path) as service:
        await service.segment(
            disc(), quality=image_pb2.QUALITY_BEST, subject_type=image_pb2.SUBJECT_TYPE_PRODUCT
        )
        assert sorted(run.key.model for run in service.engine.runs) == ["any", "quick"]
