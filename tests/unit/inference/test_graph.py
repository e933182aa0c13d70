"""Finished graphs: pixels in, mattes out, whatever the network's own interface is."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto

from matteworks_inference.networks.graph import (
    MATTE,
    PIXELS,
    GraphError,
    Layout,
    NetworkInterface,
    OutputScaling,
    finish_matte_graph,
)
from tests.unit.inference.tiny_networks import SIDE_PX, red_channel_network

PLAIN = NetworkInterface("input", "output", Layout.NCHW, (0, 0, 0), (255, 255, 255), OutputScaling.NONE, True)


def interface(
    *,
    output_name: str = "output",
    scaling: OutputScaling = OutputScaling.NONE,
    mean: float = 0.0,
    deviation: float = 255.0,
    is_batch_free: bool = True,
) -> NetworkInterface:
    return NetworkInterface(
        "input", output_name, Layout.NCHW, (mean,) * 3, (deviation,) * 3, scaling, is_batch_free
    )


def run(network: onnx.ModelProto, pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    onnx.checker.check_model(network)
    session = onnxruntime.InferenceSession(network.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run([MATTE], {PIXELS: pixels})[0])


def pictures(count: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(1).integers(0, 256, (count, SIDE_PX, SIDE_PX, 3), dtype=np.uint8)


def finished(network: onnx.ModelProto, chosen: NetworkInterface = PLAIN) -> onnx.ModelProto:
    return finish_matte_graph(network, chosen, (SIDE_PX, SIDE_PX))


def test_bytes_go_in_and_bytes_come_out() -> None:
    pixels = pictures(1)
    matte = run(finished(red_channel_network()), pixels)
    assert matte.dtype == np.uint8
    assert matte.shape == (1, SIDE_PX, SIDE_PX)
    np.testing.assert_array_equal(matte, pixels[..., 0])


def test_a_batch_equals_single_runs_although_the_file_declares_batch_one() -> None:
    network = finished(red_channel_network())
    pixels = pictures(5)
    together = run(network, pixels)
    for index in range(5):
        np.testing.assert_array_equal(together[index], run(network, pixels[index : index + 1])[0])


def test_an_items_scaling_does_not_depend_on_its_neighbours() -> None:
    """Scaling by the extremes of a whole batch would let a bright neighbour dim a matte."""
    network = finished(red_channel_network(), interface(scaling=OutputScaling.MIN_MAX))
    faint = np.full((1, SIDE_PX, SIDE_PX, 3), 10, np.uint8)
    faint[0, 4, 4] = 90
    bright = np.full((1, SIDE_PX, SIDE_PX, 3), 200, np.uint8)
    bright[0, 5, 5] = 250
    together = run(network, np.concatenate([faint, bright]))
    np.testing.assert_array_equal(together[0], run(network, faint)[0])
    assert together[0].max() == 255
    assert together[0].min() == 0


def test_the_noise_of_a_picture_without_a_subject_is_not_stretched_into_one() -> None:
    network = finished(red_channel_network(), interface(scaling=OutputScaling.MIN_MAX))
    noise = np.random.default_rng(2).integers(100, 104, (1, SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
    assert run(network, noise).max() < 20


def test_a_flat_output_becomes_an_empty_matte() -> None:
    network = finished(red_channel_network(), interface(scaling=OutputScaling.MIN_MAX))
    assert run(network, np.full((1, SIDE_PX, SIDE_PX, 3), 99, np.uint8)).max() == 0


@pytest.mark.parametrize("opset", [13, 15, 18])
def test_operator_sets_that_name_axes_differently_give_the_same(opset: int) -> None:
    pixels = pictures(2)
    network = finished(red_channel_network(opset=opset), interface(scaling=OutputScaling.MIN_MAX))
    reference = finished(red_channel_network(), interface(scaling=OutputScaling.MIN_MAX))
    np.testing.assert_array_equal(run(network, pixels), run(reference, pixels))


def test_half_precision_weights_are_folded_to_single_precision() -> None:
    network = finished(red_channel_network(element_type=TensorProto.FLOAT16))
    kinds = {weight.data_type for weight in network.graph.initializer}
    assert TensorProto.FLOAT16 not in kinds
    pixels = pictures(2)
    np.testing.assert_array_equal(run(network, pixels), pixels[..., 0])


def test_half_precision_can_be_kept_for_a_device_that_has_it() -> None:
    network = finish_matte_graph(
        red_channel_network(element_type=TensorProto.FLOAT16), PLAIN, (SIDE_PX, SIDE_PX), is_half=True
    )
    assert TensorProto.FLOAT16 in {weight.data_type for weight in network.graph.initializer}
    pixels = pictures(1)
    assert np.abs(run(network, pixels).astype(int) - pixels[..., 0]).max() <= 1


def test_what_only_other_outputs_need_is_dropped() -> None:
    network = finished(red_channel_network())
    assert [output.name for output in network.graph.output] == [MATTE]
    assert "unused_weight" not in {weight.name for weight in network.graph.initializer}


def test_nodes_out_of_order_are_put_in_order() -> None:
    pixels = pictures(1)
    np.testing.assert_array_equal(
        run(finished(red_channel_network(is_shuffled=True)), pixels), pixels[..., 0]
    )


def test_the_network_sees_pixels_as_its_author_normalised_them() -> None:
    """(x - 128) / 256 of 255 is 127 / 256, which the output tells as 127 of 255 when scaled by 256."""
    network = finished(red_channel_network(gain=256 / 255), interface(mean=128, deviation=256))
    white = np.full((1, SIDE_PX, SIDE_PX, 3), 255, np.uint8)
    assert set(np.unique(run(network, white))) == {127}


def test_a_network_of_the_birefnet_interface_gives_its_last_output_through_a_sigmoid() -> None:
    network = finished(
        red_channel_network(output_first=False, gain=8.0),
        NetworkInterface("", "-1", Layout.NCHW, (127.5,) * 3, (127.5,) * 3, OutputScaling.SIGMOID, False),
    )
    pixels = np.zeros((1, SIDE_PX, SIDE_PX, 3), np.uint8)
    pixels[:, :, SIDE_PX // 2 :, 0] = 255
    matte = run(network, pixels)
    assert matte[0, 0, 0] == 0
    assert matte[0, 0, -1] == 255
    assert network.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1


def test_a_network_that_ends_in_coverage_is_taken_as_it_is() -> None:
    network = finished(red_channel_network(final="Sigmoid"))
    matte = run(network, np.zeros((1, SIDE_PX, SIDE_PX, 3), np.uint8))
    assert set(np.unique(matte)) == {128}


@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        (
            NetworkInterface("x", "output", Layout.NCHW, (0, 0, 0), (1, 1, 1), OutputScaling.NONE, True),
            "input",
        ),
        (
            NetworkInterface("input", "y", Layout.NCHW, (0, 0, 0), (1, 1, 1), OutputScaling.NONE, True),
            "output",
        ),
    ],
)
def test_a_file_that_is_another_network_is_refused_by_name(chosen: NetworkInterface, told: str) -> None:
    with pytest.raises(GraphError, match=told):
        finished(red_channel_network(), chosen)
