"""The two bundled networks: present, loadable, and the ones that they are said to be."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from importlib import resources

import numpy as np
import pytest

from matteworks_inference.picture import Picture
from matteworks_inference.subject.networks import SubjectNetworks

CHECKSUMS = {
    "efficientnet_lite0_imagenet.onnx": "abb764826531c81ec521d2f625ecc2050cafdd559d5f4edee35ab67f88504e85",
    "ssd_mobilenetv2_oidv4.onnx": "b83298caf63b2ccc621b8ea7393d696bc03be495f917f0198e27b3a513183626",
    "ssd_mobilenetv2_oidv4.labels.txt": "c148336a65f673013609a923fdcbdeec0f49df935045029c3746a3828a0e80e0",
}


@pytest.fixture(scope="module")
def networks() -> Iterator[SubjectNetworks]:
    loaded = SubjectNetworks()
    yield loaded
    loaded.close()


def noise(width_px: int, height_px: int) -> Picture:
    pixels = np.random.default_rng(3).integers(0, 256, (height_px, width_px, 3), dtype=np.uint8)
    return Picture(pixels, width_px, height_px)


@pytest.mark.parametrize("name", sorted(CHECKSUMS))
def test_the_bundled_weights_are_the_ones_described(name: str) -> None:
    content = resources.files("matteworks_inference.subject").joinpath("weights", name).read_bytes()
    assert hashlib.sha256(content).hexdigest() == CHECKSUMS[name]


def test_their_origin_and_licence_travel_with_them() -> None:
    text = resources.files("matteworks_inference.subject").joinpath("weights", "ORIGIN.md").read_text("utf-8")
    assert "Apache License 2.0" in text
    assert all(name.split(".")[0] in text for name in CHECKSUMS)


@pytest.mark.parametrize("size", [(1024, 1024), (1, 1), (31, 900)])
def test_every_size_of_picture_gives_the_documented_shapes(
    networks: SubjectNetworks, size: tuple[int, int]
) -> None:
    evidence = networks.look(noise(*size))
    assert evidence.logits.shape == (1000,)
    assert evidence.features.shape == (1280,)
    assert evidence.box_encodings.shape == (1917, 4)
    assert evidence.class_logits.shape == (1917, 24)


def test_the_same_picture_gives_the_same_evidence(networks: SubjectNetworks) -> None:
    first, second = networks.look(noise(100, 80)), networks.look(noise(100, 80))
    np.testing.assert_array_equal(first.logits, second.logits)
    np.testing.assert_array_equal(first.class_logits, second.class_logits)
