"""The published networks together keep what is soft in photographs of fur, hair and leaves."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from matteworks.common.v1 import image_pb2
from matteworks.inference.v1 import inference_pb2, inference_pb2_grpc
from matteworks_common.channels import call
from matteworks_inference.app import build
from matteworks_inference.networks.registry import load_registry, weights_path
from matteworks_inference.settings import InferenceSettings
from tests.support.harness import channel_to

ROOT = Path(__file__).resolve().parents[3]
PICTURES = ROOT.parent / "shared" / "data" / "edges13"
MODELS = ROOT / "models"
NETWORKS = ("isnet-general-use", "modnet-photographic-portrait", "u2netp")
CONTOUR_SHARE = 0.02

Bytes = NDArray[np.uint8]


def has_weights() -> bool:
    registry = load_registry()
    return all(weights_path(registry.find(name), MODELS) is not None for name in NETWORKS)


def read(path: Path, mode: int) -> Bytes:
    return np.asarray(cv2.imread(str(path), mode), np.uint8)


def edge_and_softness(alpha: Bytes, truth: Bytes) -> tuple[float, float]:
    """Mean error (0..1) near the true contour, and the share of soft pixels beyond the truth's."""
    side = max(3, int(CONTOUR_SHARE * float(np.hypot(*truth.shape)))) | 1
    around, mask = np.ones((side, side), np.uint8), (truth > 127).astype(np.uint8)
    near = cv2.dilate(mask, around) != cv2.erode(mask, around)
    shares = [float(((image > 25) & (image < 230)).mean()) for image in (alpha, truth)]
    error = np.abs(alpha.astype(np.float32) - truth)[near].mean() / 255
    return float(error), shares[0] - shares[1]


@pytest.mark.shared
@pytest.mark.skipif(not PICTURES.is_dir(), reason="the evaluation pictures are not beside the repository")
@pytest.mark.skipif(not has_weights(), reason="no weights; run: matteworks models pull")
async def test_photographs_of_fur_and_hair_keep_their_softness() -> None:
    settings = InferenceSettings(
        listen_address="127.0.0.1:0", drain_delay_s=0, grace_s=1, model_directory=MODELS, threads=2,
        models=",".join(NETWORKS),
    )  # fmt: skip
    figures = []
    async with channel_to(await build(settings), settings) as channel:
        stub = inference_pb2_grpc.InferenceServiceStub(channel)
        for path in sorted((PICTURES / "images").iterdir()):
            rgb = cv2.cvtColor(read(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
            height_px, width_px = rgb.shape[:2]
            size = image_pb2.Size(width_px=width_px, height_px=height_px)
            request = inference_pb2.SegmentRequest(
                pixels=image_pb2.Pixels(rgb=rgb.tobytes(), size=size), quality=image_pb2.QUALITY_BALANCED
            )
            response = await call(stub.Segment, request, timeout_s=60)
            alpha = np.frombuffer(response.matte.alpha, np.uint8).reshape(height_px, width_px)
            truth = read(PICTURES / "alpha" / f"{path.stem}.png", cv2.IMREAD_GRAYSCALE)
            figures.append(edge_and_softness(alpha, truth))
    edge, softness = np.mean(figures, axis=0)
    assert edge <= 0.107, "hardened, it was 0.133"
    assert abs(softness) <= 0.010, "hardened, it was -0.031"
