"""Networks in 8 bits: what is marked, what stays exact, and how far the mattes move."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import openvino
import pytest
from onnx import TensorProto, helper, numpy_helper

from matteworks_inference.networks.eight_bit import ValueRanges, load_ranges, quantise
from matteworks_inference.networks.registry import load_registry

SIDE_PX = 16
WITH_RANGES = [entry for entry in load_registry().entries if entry.ranges_file]


def two_layers() -> onnx.ModelProto:
    """Convolution, ReLU, convolution, with weights whose channels differ a thousandfold in size."""
    rng = np.random.default_rng(3)
    first = rng.normal(size=(8, 3, 3, 3)).astype(np.float32)
    second = rng.normal(size=(4, 8, 3, 3)).astype(np.float32)
    second *= np.asarray([1e-3, 1e-1, 1, 10], np.float32).reshape(4, 1, 1, 1)
    nodes = [
        helper.make_node("Conv", ["input", "w1"], ["sums"], name="first", kernel_shape=[3, 3]),
        helper.make_node("Relu", ["sums"], ["hidden"], name="relu"),
        helper.make_node("Conv", ["hidden", "w2"], ["output"], name="second", kernel_shape=[3, 3]),
    ]
    graph = helper.make_graph(
        nodes,
        "two",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, SIDE_PX, SIDE_PX])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 4, SIDE_PX - 4, SIDE_PX - 4])],
        [numpy_helper.from_array(first, "w1"), numpy_helper.from_array(second, "w2")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=9)


@pytest.fixture
def network(tmp_path: Path) -> Any:
    path = tmp_path / "two.onnx"
    onnx.save(two_layers(), path)
    return openvino.Core().read_model(path)


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(4).uniform(-1, 1, (1, 3, SIDE_PX, SIDE_PX)).astype(np.float32)


def answer(model: Any, pixels: np.ndarray) -> np.ndarray:
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
    return np.asarray(request.infer([pixels])[0]).copy()


def marks(model: Any) -> list[str]:
    """What reads an 8-bit mark, by kind."""
    return sorted(
        reader.get_node().get_type_name()
        for node in model.get_ordered_ops()
        if node.get_type_name() == "FakeQuantize"
        for reader in node.output(0).get_target_inputs()
    )


RANGES = ValueRanges("", {"hidden": (0.0, 12.0)}, frozenset())


def test_every_channel_keeps_its_own_precision(network: Any, pixels: np.ndarray) -> None:
    """One scale for all channels would round the small ones to nothing."""
    exact = answer(network, pixels)
    quantise(network, RANGES)
    close = answer(network, pixels)
    for channel in range(exact.shape[1]):
        error = np.abs(close[0, channel] - exact[0, channel]).mean()
        assert 0 < error < 0.02 * np.abs(exact[0, channel]).mean()


def test_only_what_has_a_range_is_marked(network: Any) -> None:
    quantise(network, replace(RANGES, by_value={}, exact_convolutions={"first"}))
    assert marks(network) == ["Convolution"]


def test_a_convolution_that_does_not_bear_it_stays_exact(network: Any, pixels: np.ndarray) -> None:
    exact = answer(network, pixels)
    # OpenVINO calls the one that makes the network's output after that output.
    quantise(network, replace(RANGES, by_value={}, exact_convolutions={"first", "output"}))
    assert marks(network) == []
    np.testing.assert_array_equal(answer(network, pixels), exact)


def test_what_exceeds_its_range_saturates(network: Any, pixels: np.ndarray) -> None:
    exact = answer(network, pixels)
    quantise(network, replace(RANGES, by_value={"hidden": (0.0, 0.01)}))
    assert np.abs(answer(network, pixels)).max() < 0.1 * np.abs(exact).max()


def test_zero_stays_zero(network: Any) -> None:
    """A range above zero is widened to it, or padding would turn into a value."""
    quantise(network, replace(RANGES, by_value={"hidden": (5.0, 12.0)}))
    nothing = np.zeros((1, 3, SIDE_PX, SIDE_PX), np.float32)
    np.testing.assert_array_equal(answer(network, nothing), 0)


@pytest.mark.parametrize("entry", WITH_RANGES, ids=lambda entry: entry.name)
def test_ranges_belong_to_the_weights_of_the_registry(entry: Any) -> None:
    ranges = load_ranges(entry.ranges_file)
    assert ranges.weights_sha256 == entry.sha256
    assert all(low < high for low, high in ranges.by_value.values())
