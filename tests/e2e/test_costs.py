"""What crosses the network between the real processes, in figures that no machine changes."""

from __future__ import annotations

import io
from pathlib import Path

import grpc
import pytest
from PIL import Image

from matteworks.common.v1 import image_pb2
from matteworks.inference.v1 import inference_pb2, inference_pb2_grpc
from tests.support.stack import RunningStack

pytestmark = pytest.mark.stack

LARGEST_MATTE_BYTES = 2**20
# What a message holds besides pixels: type, model, stages.
ENVELOPE_BYTES = 4096


@pytest.mark.parametrize(("width", "height"), [(1024, 1024), (3000, 2000), (700, 2500)])
def test_a_matte_takes_one_mebibyte_at_most_whatever_the_pictures_size(
    running_stack: RunningStack, demo_photo: Path, width: int, height: int
) -> None:
    """Of bare pixels as the compositor sends them, and of a file as anyone may."""
    with Image.open(demo_photo) as photo:
        picture = photo.convert("RGB").resize((width, height))
    file = io.BytesIO()
    picture.save(file, "JPEG")
    squeezed = picture.resize((min(width, 1024), min(height, 1024)))
    pixels = image_pb2.Pixels(
        rgb=squeezed.tobytes(), size=image_pb2.Size(width_px=squeezed.width, height_px=squeezed.height)
    )
    with grpc.insecure_channel(running_stack.internal_target) as channel:
        inference = inference_pb2_grpc.InferenceServiceStub(channel)
        for request in (
            inference_pb2.SegmentRequest(pixels=pixels),
            inference_pb2.SegmentRequest(image=file.getvalue()),
        ):
            answer = inference.Segment(request, timeout=60)
            assert len(answer.matte.alpha) <= LARGEST_MATTE_BYTES
            assert answer.ByteSize() <= len(answer.matte.alpha) + ENVELOPE_BYTES
