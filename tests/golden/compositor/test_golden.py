"""Whole results against small committed pictures: alpha and size exact, colours within a stated tolerance.

Run with `MATTEWORKS_UPDATE_GOLDEN=1` to write the pictures anew, look at them, and say why in the commit.
A failure leaves actual, expected and difference pictures in the test's temporary folder.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray
from PIL import Image

from matteworks.compositor.v1 import compositor_pb2 as pb
from matteworks.compositor.v1 import compositor_pb2_grpc
from matteworks_compositor.app import build
from tests.component.compositor.conftest import Service, settings_for
from tests.component.compositor.pictures import decoded, encoded, quadrants
from tests.support.fake_inference import running_inference
from tests.support.harness import channel_to

FOLDER = Path(__file__).parent
MANIFEST = json.loads((FOLDER / "manifest.json").read_text())

CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "crop_with_margins": {
        "crop": pb.Crop(
            margin_top=pb.Length(px=4), margin_right=pb.Length(percent=25), margin_bottom=pb.Length(px=0)
        )
    },
    "scaled_to_a_corner": {
        "scale_percent": 90,
        "position": pb.Position(share=pb.Position.FreeRoomShare(horizontal_percent=100, vertical_percent=0)),
    },
    "roi_and_color": {
        "roi": pb.Region(
            left=pb.Length(px=0),
            top=pb.Length(px=0),
            right=pb.Length(percent=60),
            bottom=pb.Length(percent=100),
        ),
        "bg_color": pb.Color(red=250, green=240, blue=10, alpha=255),
    },
    "half_transparent_color": {"bg_color": pb.Color(red=20, green=40, blue=200, alpha=100)},
    "background_picture": {"bg_image": encoded(quadrants(300, 120))},
    "matte_only": {"channels": pb.CHANNELS_ALPHA},
    "preview": {"max_pixel_count": 3000},
}


def draw_matte(width_px: int, height_px: int) -> NDArray[np.uint8]:
    """A soft disc, and beside it a hard box."""
    scene = np.zeros((120, 160), np.uint8)
    cv2.circle(scene, (60, 60), 34, 255, -1, cv2.LINE_AA)
    scene = np.asarray(cv2.GaussianBlur(scene, (0, 0), 2), np.uint8)
    scene[40:80, 120:140] = 255
    return scene[:height_px, :width_px]


def draw_picture() -> bytes:
    """What the matte was made for: an orange disc and a white box on striped blue."""
    picture = np.empty((120, 160, 3), np.uint8)
    picture[:] = (40, 60, 160)
    picture[::8] = (60, 90, 190)
    alpha = draw_matte(160, 120).astype(np.float32)[..., None] / 255
    subject = np.empty_like(picture)
    subject[:, :110], subject[:, 110:] = (240, 140, 30), (245, 245, 240)
    return encoded((subject * alpha + picture * (1 - alpha)).astype(np.uint8))


@pytest_asyncio.fixture
async def service() -> AsyncIterator[Service]:
    async with running_inference() as inference:
        inference.draw = draw_matte
        settings = settings_for(inference)
        async with channel_to(await build(settings), settings) as channel:
            yield Service(compositor_pb2_grpc.CompositorServiceStub(channel), inference)


@pytest.mark.parametrize("name", CASES)
async def test_the_result_looks_as_it_did(service: Service, name: str, tmp_path: Path) -> None:
    rendering = (await service.remove(draw_picture(), format=pb.OUTPUT_FORMAT_PNG, **CASES[name])).rendering
    actual, path = decoded(rendering.image), FOLDER / f"{name}.png"
    if os.environ.get("MATTEWORKS_UPDATE_GOLDEN"):
        path.write_bytes(rendering.image)
    expected = decoded(path.read_bytes())
    assert actual.shape == expected.shape
    difference = np.abs(actual.astype(int) - expected)
    colour = difference if actual.ndim == 2 else difference[..., :3]
    tolerance = MANIFEST[name]
    is_close = colour.mean() <= tolerance["colour_mean"] and colour.max() <= tolerance["colour_max"]
    has_same_alpha = actual.ndim == 2 or actual.shape[2] == 3 or difference[..., 3].max() == 0
    if not (is_close and has_same_alpha):
        for part, pixels in (("actual", actual), ("expected", expected), ("difference", difference)):
            Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(tmp_path / f"{name}-{part}.png")
    assert is_close, f"colours differ by {colour.mean():.2f} mean, {colour.max()} at most; see {tmp_path}"
    assert has_same_alpha, f"alpha differs; see {tmp_path}"


def test_every_golden_picture_says_why_it_exists() -> None:
    assert set(MANIFEST) == set(CASES) == {path.stem for path in FOLDER.glob("*.png")}
