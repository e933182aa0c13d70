"""Networks of a few nodes with the interfaces of the published ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from matteworks_inference.networks.registry import Registry, parse_registry

SIDE_PX = 32


def red_channel_network(
    *,
    final: str = "",
    element_type: int = TensorProto.FLOAT,
    opset: int = 15,
    gain: float = 1.0,
    output_first: bool = True,
    is_shuffled: bool = False,
) -> onnx.ModelProto:
    """Takes the red channel through a resize to half and back, as saliency networks do.

    Batch 1 is declared, sizes come from a Shape node as exporters write them, and a side output shares
    the graph. `final` is an operator put behind it, for example Sigmoid.
    """
    kind = np.float16 if element_type == TensorProto.FLOAT16 else np.float32
    weight = np.zeros((1, 3, 1, 1), kind)
    weight[0, 0] = gain
    pick_nothing = np.zeros((4, 3, 1, 1), kind)
    half = helper.make_tensor("half_size", TensorProto.INT64, [2], [SIDE_PX, SIDE_PX])
    nodes = [
        helper.make_node("Conv", ["input", "weight"], ["red"], kernel_shape=[1, 1]),
        helper.make_node("Shape", ["red"], ["shape"]),
        helper.make_node("Slice", ["shape", "begin", "end", "axis"], ["items_and_channels"]),
        helper.make_node("Concat", ["items_and_channels", "half_size"], ["sizes"], axis=0),
    ]
    source = "red"
    if element_type == TensorProto.FLOAT16:
        nodes.append(helper.make_node("Cast", ["red"], ["red_single"], to=TensorProto.FLOAT))
        source = "red_single"
    nodes.append(
        helper.make_node(
            "Resize", [source, "", "", "sizes"], ["resized"], mode="linear",
            coordinate_transformation_mode="half_pixel",
        )
    )  # fmt: skip
    last = "resized"
    if element_type == TensorProto.FLOAT16:
        nodes.append(helper.make_node("Cast", ["resized"], ["resized_half"], to=TensorProto.FLOAT16))
        last = "resized_half"
    nodes.append(helper.make_node(final or "Identity", [last], ["output"]))
    nodes.append(helper.make_node("Conv", ["input", "unused_weight"], ["side"], kernel_shape=[1, 1]))
    if is_shuffled:
        nodes.reverse()
    outputs = [
        helper.make_tensor_value_info("output", element_type, [1, 1, SIDE_PX, SIDE_PX]),
        helper.make_tensor_value_info("side", element_type, [1, 4, SIDE_PX, SIDE_PX]),
    ]
    if not output_first:
        outputs.reverse()
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("input", element_type, [1, 3, SIDE_PX, SIDE_PX])],
        outputs,
        [
            numpy_helper.from_array(weight, "weight"),
            numpy_helper.from_array(pick_nothing, "unused_weight"),
            half,
            numpy_helper.from_array(np.array([0], np.int64), "begin"),
            numpy_helper.from_array(np.array([2], np.int64), "end"),
            numpy_helper.from_array(np.array([0], np.int64), "axis"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def tiny_registry(directory: Path, **roles: str) -> Registry:
    """A registry of networks, role by name, that lie in `directory`; each gives the red channel."""
    directory.mkdir(parents=True, exist_ok=True)
    tables = []
    for name, role in roles.items():
        onnx.save(red_channel_network(), directory / f"{name}.onnx")
        tables.append(registry_table(name, role=role))
    return parse_registry("\n".join(tables))


def registry_table(name: str, extra: str = "", *, network: str = "", role: str = "general") -> str:
    """One [[models]] table; the network sees pixels of 0..1."""
    return f"""
[[models]]
name = "{name}"
summary = "For tests."
license = "Apache-2.0"
file = "{name}.onnx"
role = "{role}"
subject_types = []
input_sizes = [[{SIDE_PX}, {SIDE_PX}]]
is_batch_free = true
is_pulled_by_default = true
{extra}
[models.network]
{
        network
        or '''input = "input"
output = "output"
layout = "nchw"
mean = [0.0, 0.0, 0.0]
deviation = [255.0, 255.0, 255.0]
scaling = "none"'''
    }
"""
