"""A finished graph in half precision, for devices that multiply it several times faster.

The nodes of our own at both ends stay in single precision: pixels are normalised and mattes scaled as
exactly as before, and only what the network's author trained is rounded.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from matteworks_inference.networks.graph import PIXELS

# Of all names that graph.py adds; published networks have none such.
_OURS: Final = "matteworks_"
_NORMALISED: Final = _OURS + "normalised"
# Operators whose scales the standard wants in single precision, whatever they scale.
_SCALES_INPUT: Final = {"Resize": 2, "Upsample": 1}
_LARGEST: Final = float(np.finfo(np.float16).max)


def to_half_precision(network: onnx.ModelProto) -> onnx.ModelProto:
    """`network`, finished and in single precision, with its own nodes in half precision.

    Changes and returns `network`. A network that computes the scales of a resize cannot be opened afterwards.
    """
    graph = network.graph
    scales = {
        node.input[_SCALES_INPUT[node.op_type]]
        for node in graph.node
        if len(node.input) > _SCALES_INPUT.get(node.op_type, len(node.input))
    }
    for weight in graph.initializer:
        if not weight.name.startswith(_OURS) and weight.name not in scales:
            _halve(weight)
    for node in graph.node:
        if any(name == PIXELS or name.startswith(_OURS) for name in (*node.input, *node.output)):
            continue
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR and not scales.intersection(node.output):
                _halve(attribute.t)
            elif node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.FLOAT16
    # The tail begins with a cast to single precision already; the head ends without one.
    for index, node in enumerate(graph.node):
        if node.input and node.input[0] == _OURS + "scaled":
            name = node.output[0]
            node.output[0] = _NORMALISED
            graph.node.insert(
                index + 1, helper.make_node("Cast", [_NORMALISED], [name], to=TensorProto.FLOAT16)
            )
            break
    return network


def _halve(tensor: onnx.TensorProto) -> None:
    if tensor.data_type == TensorProto.FLOAT:
        values = np.clip(numpy_helper.to_array(tensor), -_LARGEST, _LARGEST).astype(np.float16)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
