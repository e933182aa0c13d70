"""A network of a few nodes with the interface of those that fill holes: it really changes pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE_PX = 64
# What the words that it knows look like; without one of them the hole has the mean of what is around it.
COLOURS = {"red": (1.0, 0.0, 0.0), "blue": (0.0, 0.0, 1.0)}


def mean_filling_network(*, reads_words: bool = False, side_px: int = SIDE_PX) -> onnx.ModelProto:
    """LaMa's interface: `image` 1 x 3 x side x side of 0 to 1, `mask` 1 x 1 x side x side, 1 in the hole, to
    `output` of 0 to 255. The hole gets the mean of what is known, or the colour of a word in `prompt`.
    """
    make = helper.make_node
    nodes = [
        make("Sub", ["one", "mask"], ["known"]),
        make("Mul", ["image", "known"], ["seen"]),
        make("ReduceSum", ["seen", "axes"], ["sum"], keepdims=1),
        make("ReduceSum", ["known", "axes"], ["count"], keepdims=1),
        make("Div", ["sum", "count"], ["mean"]),
    ]
    paint = "mean"
    inputs = [
        helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, side_px, side_px]),
        helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1, 1, side_px, side_px]),
    ]
    if reads_words:
        inputs.append(helper.make_tensor_value_info("prompt", TensorProto.STRING, [1]))
        channels = []
        for channel in range(3):
            name = f"word_{channel}"
            nodes.append(
                make(
                    "LabelEncoder", ["prompt"], [name], domain="ai.onnx.ml", keys_strings=list(COLOURS),
                    values_floats=[colour[channel] for colour in COLOURS.values()], default_float=-1.0,
                )
            )  # fmt: skip
            channels.append(name)
        nodes += [
            make("Concat", channels, ["word"], axis=0),
            make("Reshape", ["word", "colour_shape"], ["colour"]),
            make("Less", ["colour", "zero"], ["is_unknown"]),
            make("Where", ["is_unknown", "mean", "colour"], ["paint"]),
        ]
        paint = "paint"
    nodes += [
        make("Mul", [paint, "mask"], ["painted"]),
        make("Add", ["seen", "painted"], ["all"]),
        make("Mul", ["all", "full"], ["output"]),
    ]
    constants = {
        "one": np.float32(1),
        "zero": np.float32(0),
        "full": np.float32(255),
        "axes": np.array([2, 3], np.int64),
        "colour_shape": np.array([1, 3, 1, 1], np.int64),
    }
    graph = helper.make_graph(
        nodes,
        "mean",
        inputs,
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 3, side_px, side_px])],
        initializer=[numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", 15), helper.make_opsetid("ai.onnx.ml", 2)],
        ir_version=8,
    )


def write_painter(directory: Path, file: str, *, reads_words: bool = False) -> Path:
    """The network in a file of that name."""
    directory.mkdir(parents=True, exist_ok=True)
    onnx.save(mean_filling_network(reads_words=reads_words), directory / file)
    return directory / file
