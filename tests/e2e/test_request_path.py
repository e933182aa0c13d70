"""One photo through every real process, over HTTP and over the stubs."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest
from PIL import Image

from matteworks.auth.v1 import auth_pb2, auth_pb2_grpc
from matteworks.compositor.v1 import compositor_pb2, compositor_pb2_grpc
from matteworks.inference.v1 import inference_pb2, inference_pb2_grpc
from matteworks_deploy.local.development import ACCOUNT_ID
from tests.support.stack import RunningStack

pytestmark = pytest.mark.stack


def remove(stack: RunningStack, photo: bytes, **fields: str) -> httpx.Response:
    return httpx.post(
        f"{stack.base_url}/v1.0/removebg",
        headers={"X-Api-Key": stack.key},
        data=fields,
        files={"image_file": ("photo.jpg", photo)},
        timeout=60,
    )


def test_a_photo_comes_back_as_a_cut_out_of_its_own_size(
    running_stack: RunningStack, demo_photo: Path
) -> None:
    response = remove(running_stack, demo_photo.read_bytes(), size="full", format="png")

    assert response.status_code == 200, response.text
    cutout = Image.open(io.BytesIO(response.content))
    assert (cutout.format, cutout.mode, cutout.size) == ("PNG", "RGBA", (512, 512))
    alpha = np.asarray(cutout.getchannel("A"))
    assert alpha[300, 200] > 250, "the suit, in the middle of the subject"
    assert alpha[40, 430] < 5, "the background beside the head"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has memory under a path")
def test_pixels_go_to_the_networks_through_memory(running_stack: RunningStack, demo_photo: Path) -> None:
    assert remove(running_stack, demo_photo.read_bytes()).status_code == 200

    # The compositor keeps the file for its next picture; after a fallback to messages there is none.
    held = [
        os.readlink(link)
        for name in running_stack.process_names
        if name.startswith("compositor")
        for link in Path(f"/proc/{running_stack.pid(name)}/fd").iterdir()
    ]
    assert any("/shm/matteworks-" in path for path in held)
    assert not any("memory_not_shared" in line for line in running_stack.log)


def test_a_success_is_charged_once_and_a_refusal_is_free(
    running_stack: RunningStack, demo_photo: Path
) -> None:
    with grpc.insecure_channel(running_stack.internal_target) as channel:
        auth = auth_pb2_grpc.AuthServiceStub(channel)

        def spent_milli() -> int:
            request = auth_pb2.GetAccountRequest(account_id=ACCOUNT_ID)
            return auth.GetAccount(request, timeout=10).account.spent_credits_milli

        before = spent_milli()
        refused = remove(running_stack, b"not a picture at all", size="full")
        after_refusal = spent_milli()
        # Flipped, so that it is not a repeat of another test's upload.
        flipped = io.BytesIO()
        with Image.open(demo_photo) as photo:
            photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(flipped, "JPEG")
        served = remove(running_stack, flipped.getvalue(), size="full")

        assert (refused.status_code, refused.headers["x-credits-charged"]) == (400, "0")
        assert (served.status_code, served.headers["x-credits-charged"]) == (200, "1")
        assert (after_refusal - before, spent_milli() - before) == (0, 1000)


def test_a_wrong_key_is_refused_in_the_documented_words(
    running_stack: RunningStack, demo_photo: Path
) -> None:
    response = httpx.post(
        f"{running_stack.base_url}/v1.0/removebg",
        headers={"X-Api-Key": "mw_live_wrong"},
        files={"image_file": ("photo.jpg", demo_photo.read_bytes())},
        timeout=60,
    )

    assert response.status_code == 403
    assert response.json()["errors"][0]["code"] == "auth_failed"


def test_the_compositor_answers_its_own_stub_through_the_internal_listener(
    running_stack: RunningStack, demo_photo: Path
) -> None:
    with grpc.insecure_channel(running_stack.internal_target) as channel:
        compositor = compositor_pb2_grpc.CompositorServiceStub(channel)
        answer = compositor.RemoveBackground(
            compositor_pb2.RemoveBackgroundRequest(image=demo_photo.read_bytes()), timeout=60
        )

    assert Image.open(io.BytesIO(answer.rendering.image)).size == (512, 512)
    assert answer.model == "u2netp"


def test_the_networks_answer_their_own_stub_through_the_internal_listener(
    running_stack: RunningStack, demo_photo: Path
) -> None:
    with grpc.insecure_channel(running_stack.internal_target) as channel:
        inference = inference_pb2_grpc.InferenceServiceStub(channel)
        answer = inference.Segment(inference_pb2.SegmentRequest(image=demo_photo.read_bytes()), timeout=60)

    matte = answer.matte
    assert len(matte.alpha) == matte.size.width_px * matte.size.height_px
    assert max(matte.alpha) > 250
    assert min(matte.alpha) < 5


def test_a_service_that_nobody_routes_is_unimplemented(running_stack: RunningStack) -> None:
    with grpc.insecure_channel(running_stack.internal_target) as channel:
        call = channel.unary_unary("/matteworks.unknown.v1.UnknownService/Call")
        with pytest.raises(grpc.RpcError) as caught:
            call(b"", timeout=10)

    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED  # type: ignore[attr-defined]


def test_no_key_appears_in_the_log(running_stack: RunningStack, demo_photo: Path) -> None:
    assert remove(running_stack, demo_photo.read_bytes(), size="preview").status_code == 200

    lines = [line for line in running_stack.log if not line.startswith("READY ")]
    assert not [line for line in lines if running_stack.key in line or running_stack.admin_token in line]
