"""Masks of what is pointed at, by a promptable network that is built here and run for real."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.common.v1 import image_pb2
from matteworks.inference.v1 import inference_pb2 as pb
from matteworks_common.channels import call
from matteworks_common.errors import FailedPrecondition, InvalidField
from matteworks_common.settings import SettingsError
from tests.component.inference.test_segment import Service, real_service
from tests.support.tiny_promptable import write_promptable

WIDTH, HEIGHT = 200, 100
RED, BLUE = (50.0, 50.0), (150.0, 50.0)


def squares() -> NDArray[np.uint8]:
    """A red and a blue square on grey."""
    picture = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
    picture[30:70, 30:70] = (200, 30, 30)
    picture[30:70, 130:170] = (30, 30, 200)
    return picture


def request(
    inside: list[tuple[float, float]],
    outside: list[tuple[float, float]] | None = None,
    box: pb.PromptBox | None = None,
    picture: NDArray[np.uint8] | None = None,
) -> pb.PromptMaskRequest:
    shown = squares() if picture is None else picture
    return pb.PromptMaskRequest(
        pixels=image_pb2.Pixels(
            rgb=shown.tobytes(), size=image_pb2.Size(width_px=shown.shape[1], height_px=shown.shape[0])
        ),
        points=[
            pb.PromptPoint(x_px=x, y_px=y, is_inside=is_inside)
            for places, is_inside in ((inside, True), (outside or [], False))
            for x, y in places
        ],
        box=box,
    )


async def answer(service: Service, asked: pb.PromptMaskRequest) -> pb.PromptMaskResponse:
    return await call(service.stub.PromptMask, asked, timeout_s=20)


def shares(response: pb.PromptMaskResponse) -> tuple[float, float]:
    """How much of the red and of the blue square is in the mask."""
    size = response.mask.size
    mask = np.frombuffer(response.mask.alpha, np.uint8).reshape(size.height_px, size.width_px) >= 128
    scale_x, scale_y = size.width_px / WIDTH, size.height_px / HEIGHT

    def share(left: int) -> float:
        rows = slice(round(34 * scale_y), round(66 * scale_y))
        columns = slice(round((left + 4) * scale_x), round((left + 36) * scale_x))
        return float(mask[rows, columns].mean())

    return share(30), share(130)


def stages(response: pb.PromptMaskResponse) -> list[str]:
    return [stage.stage for stage in response.stages]


async def test_points_and_a_box_become_a_mask_and_the_picture_is_looked_at_once(tmp_path: Path) -> None:
    write_promptable(tmp_path)
    async with real_service(tmp_path) as service:
        first = await answer(service, request([RED]))
        assert shares(first) == (1, 0)
        assert first.model == "mobile-sam"
        assert first.score == pytest.approx(0.9)
        assert stages(first) == ["embed", "prompt"]
        both = await answer(service, request([RED, BLUE]))
        assert shares(both) == (1, 1)
        assert stages(both) == ["prompt"]
        boxed = await answer(
            service, request([], box=pb.PromptBox(left_px=120, top_px=20, right_px=180, bottom_px=80))
        )
        assert shares(boxed) == (0, 1)
        without = await answer(
            service,
            request([], [BLUE], box=pb.PromptBox(left_px=10, top_px=10, right_px=190, bottom_px=90)),
        )
        assert shares(without)[1] == 0
        other = squares()
        other[0, 0] = 7
        assert "embed" in stages(await answer(service, request([RED], picture=other)))


async def test_without_the_files_it_says_what_to_do(tmp_path: Path) -> None:
    async with real_service(tmp_path) as service:
        with pytest.raises(FailedPrecondition) as raised:
            await answer(service, request([RED]))
        assert raised.value.reason == reasons.ERROR_REASON_TOOL_UNAVAILABLE


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        (request([]), "points"),
        (request([], [BLUE]), "points"),
        (request([RED] * 101), "points"),
        (request([RED, (200.0, 5.0)]), "points[1]"),
        (request([(float("nan"), 5.0)]), "points[0]"),
        (request([], box=pb.PromptBox(left_px=50, top_px=0, right_px=50, bottom_px=10)), "box"),
        (request([], box=pb.PromptBox(left_px=0, top_px=0, right_px=201, bottom_px=10)), "box"),
        (pb.PromptMaskRequest(points=[pb.PromptPoint(is_inside=True)]), "pixels.size.width_px"),
    ],
    ids=[
        "nothing",
        "outside alone",
        "too many",
        "beside it",
        "nowhere",
        "empty box",
        "large box",
        "no pixels",
    ],
)
async def test_what_cannot_be_meant_is_refused(
    tmp_path: Path, asked: pb.PromptMaskRequest, field: str
) -> None:
    write_promptable(tmp_path)
    async with real_service(tmp_path) as service:
        with pytest.raises(InvalidField) as raised:
            await answer(service, asked)
        assert raised.value.field == field


async def test_half_a_network_and_another_file_stop_the_start(tmp_path: Path) -> None:
    write_promptable(tmp_path)
    decoder = tmp_path / "mobile-sam.decoder.onnx"
    encoder = tmp_path / "mobile-sam.encoder.onnx"
    content = decoder.read_bytes()
    decoder.unlink()
    with pytest.raises(SettingsError, match=r"mobile-sam\.decoder\.onnx"):
        async with real_service(tmp_path):
            pass
    decoder.write_bytes(encoder.read_bytes())
    with pytest.raises(SettingsError, match="point_coords"):
        async with real_service(tmp_path):
            pass
    decoder.write_bytes(content[: len(content) // 2])
    with pytest.raises(SettingsError, match="no network that runs here"):
        async with real_service(tmp_path):
            pass
