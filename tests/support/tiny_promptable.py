"""A promptable network of the SAM family's interface, small enough to be built here: real graphs that run.

The encoder averages colours over cells of 16 pixels. The decoder answers with the places whose colour is
nearer to a point inside than to any point outside, within the box when there is one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE_PX = 1024
CELLS = 64
MASK_SIDE = 256
_FAR = 1e6


def write_promptable(directory: Path, name: str = "mobile-sam") -> None:
    """`NAME.encoder.onnx` (height x width x 3 in) and `NAME.decoder.onnx`, asked as Segment Anything's."""
    directory.mkdir(parents=True, exist_ok=True)
    onnx.save(_encoder(), directory / f"{name}.encoder.onnx")
    onnx.save(_decoder(), directory / f"{name}.decoder.onnx")


def _encoder() -> onnx.ModelProto:
    graph = _Graph()
    planes = graph.op("Transpose", "input_image", perm=[2, 0, 1])
    planes = graph.op("Unsqueeze", planes, graph.ints(0))
    scaled = graph.op("Div", planes, graph.floats(255.0))
    # As MobileSAM's own preprocessing: zeros to the right and below.
    shape = graph.op("Shape", scaled)
    room = graph.op("Sub", graph.ints(1, 3, SIDE_PX, SIDE_PX), shape)
    square = graph.op("Pad", scaled, graph.op("Concat", graph.ints(0, 0, 0, 0), room, axis=0))
    cell = SIDE_PX // CELLS
    graph.op("AveragePool", square, into="image_embeddings", kernel_shape=[cell, cell], strides=[cell, cell])
    return graph.model(
        [helper.make_tensor_value_info("input_image", TensorProto.FLOAT, ["height", "width", 3])],
        [helper.make_tensor_value_info("image_embeddings", TensorProto.FLOAT, [1, 3, CELLS, CELLS])],
    )


def _decoder() -> onnx.ModelProto:
    graph = _Graph()
    labels = graph.op("Squeeze", "point_labels", graph.ints(0))
    places = graph.op("Squeeze", "point_coords", graph.ints(0))
    seen = graph.op(
        "Resize", "image_embeddings", "", "", graph.ints(1, 3, MASK_SIDE, MASK_SIDE), mode="nearest"
    )
    rows = graph.op("Transpose", graph.op("Squeeze", seen, graph.ints(0)), perm=[1, 2, 0])
    at = graph.op("Cast", graph.op("Floor", graph.op("Div", places, graph.floats(4.0))), to=TensorProto.INT64)
    x, y = (graph.op("Gather", at, graph.scalar(axis), axis=1) for axis in (0, 1))
    index = graph.op(
        "Concat", graph.op("Unsqueeze", y, graph.ints(1)), graph.op("Unsqueeze", x, graph.ints(1)), axis=1
    )
    index = graph.op("Clip", index, graph.scalar(0), graph.scalar(MASK_SIDE - 1))
    colours = graph.op("GatherND", rows, index)
    colours = graph.op("Unsqueeze", colours, graph.ints(1, 2))
    difference = graph.op("Sub", graph.op("Unsqueeze", rows, graph.ints(0)), colours)
    distance = graph.op("ReduceSum", graph.op("Mul", difference, difference), graph.ints(3), keepdims=0)
    to_inside = graph.op(
        "ReduceMin", graph.op("Add", distance, _unless(graph, labels, 1.0, 1, 2)), axes=[0], keepdims=0
    )
    to_outside = graph.op(
        "ReduceMin", graph.op("Add", distance, _unless(graph, labels, 0.0, 1, 2)), axes=[0], keepdims=0
    )
    # A box alone means all of it.
    is_pointed = graph.op("Less", to_inside, graph.floats(_FAR / 2))
    to_inside = graph.op("Where", is_pointed, to_inside, graph.floats(0.0))
    to_outside = graph.op("Min", to_outside, graph.floats(0.05))
    logits = graph.op("Mul", graph.op("Sub", to_outside, to_inside), graph.floats(400.0))
    # What is no nearer is not meant.
    logits = graph.op("Sub", logits, graph.floats(1.0))
    grid = np.arange(MASK_SIDE, dtype=np.float32) * 4 + 2
    for axis, line in ((0, grid[np.newaxis]), (1, grid[:, np.newaxis])):
        along = graph.op("Gather", places, graph.scalar(axis), axis=1)
        first = graph.op("Sub", along, _unless(graph, labels, 2.0))
        last = graph.op("Add", along, _unless(graph, labels, 3.0))
        low = graph.op("ReduceMax", first, axes=[0], keepdims=0)
        high = graph.op("ReduceMin", last, axes=[0], keepdims=0)
        ruler = graph.constant(line)
        is_in = graph.op("And", graph.op("Greater", ruler, low), graph.op("Less", ruler, high))
        logits = graph.op("Where", is_in, logits, graph.floats(-20.0))
    graph.op("Unsqueeze", logits, graph.ints(0, 1), into="low_res_masks")
    graph.op("Identity", "low_res_masks", into="masks")
    graph.op(
        "Add",
        graph.op("Mul", "has_mask_input", graph.floats(0.0)),
        graph.constant(np.array([[0.9]], np.float32)),
        into="iou_predictions",
    )
    # Asked for and not needed, as in the real one.
    graph.op("Identity", "mask_input", into="unused_mask")
    graph.op("Identity", "orig_im_size", into="unused_size")

    def value(name: str, shape: list[int | str]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    return graph.model(
        [
            value("image_embeddings", [1, 3, CELLS, CELLS]),
            value("point_coords", [1, "count", 2]),
            value("point_labels", [1, "count"]),
            value("mask_input", [1, 1, MASK_SIDE, MASK_SIDE]),
            value("has_mask_input", [1]),
            value("orig_im_size", [2]),
        ],
        [
            value("masks", [1, 1, MASK_SIDE, MASK_SIDE]),
            value("iou_predictions", [1, 1]),
            value("low_res_masks", [1, 1, MASK_SIDE, MASK_SIDE]),
        ],
    )


def _unless(graph: _Graph, labels: str, label: float, *more_axes: int) -> str:
    """0 for the points of that label, far away for the others; with further axes of length 1."""
    is_it = graph.op("Equal", labels, graph.floats(label))
    away = graph.op("Where", is_it, graph.floats(0.0), graph.floats(_FAR))
    return graph.op("Unsqueeze", away, graph.ints(*more_axes)) if more_axes else away


class _Graph:
    """Nodes and constants under names that it makes up."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def op(self, kind: str, *inputs: str, into: str = "", **attributes: object) -> str:
        name = into or f"value_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def constant(self, values: np.ndarray) -> str:  # type: ignore[type-arg]
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(values, name))
        return name

    def ints(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def scalar(self, value: int) -> str:
        return self.constant(np.array(value, np.int64))

    def floats(self, value: float) -> str:
        return self.constant(np.array(value, np.float32))

    def model(self, inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto]) -> onnx.ModelProto:
        graph = helper.make_graph(self._nodes, "tiny", inputs, outputs, self._constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 8
        onnx.checker.check_model(model)
        return model
