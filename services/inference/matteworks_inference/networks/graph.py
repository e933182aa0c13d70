"""A network's graph, finished: uint8 pixels go in, uint8 mattes come out, any number at once.

Published weights differ in layout, normalisation, output and in what else they compute. The steps here
take such a graph apart and put everything that differs into its nodes, so that above the engine all
networks look the same: `pixels` uint8 N x H x W x 3 (RGB) to `matte` uint8 N x H x W, or to `upscaled`,
which is larger `pixels`. Bytes travel to the device and back.

Invariant: an item's matte does not depend on its neighbours in the batch; scaling by minimum and maximum
is per item.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# Part of the key of every stored graph: raise it when what is built here changes.
GRAPH_VERSION: Final = 2

# A min-max scaled network answers 0.3 to 1 at its strongest point when there is a subject, and 0.002 when
# there is none.
FAINTEST_RANGE: Final = 0.25

PIXELS: Final = "pixels"
MATTE: Final = "matte"
UPSCALED: Final = "upscaled"
_BATCH: Final = "items"
# Sharing a prefix with no exporter keeps our names apart from the network's own.
_PREFIX: Final = "matteworks_"


class Layout(Enum):
    """Order of a network's input axes."""

    NCHW = "nchw"
    NHWC = "nhwc"


class OutputScaling(Enum):
    """How a network's output becomes a coverage of 0 to 1."""

    NONE = "none"
    SIGMOID = "sigmoid"
    MIN_MAX = "min_max"


@dataclass(frozen=True)
class NetworkInterface:
    """What a network's author fixed: names, axes, value ranges.

    `mean` and `deviation` are per channel R, G, B in units of 0..255 pixels: the network sees
    (pixel - mean) / deviation. An empty `input_name` or `output_name` takes the first one;
    `output_name` "-1" the last, as networks with side outputs often put the final one there.
    """

    input_name: str
    output_name: str
    layout: Layout
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    output_scaling: OutputScaling
    is_batch_free: bool


class GraphError(Exception):
    """The weights are not the network that the registry describes; the message says what differs."""


def finish_matte_graph(
    network: onnx.ModelProto,
    interface: NetworkInterface,
    size_px: tuple[int, int] | None,
    *,
    is_half: bool = False,
) -> onnx.ModelProto:
    """`network` from `pixels` to `matte`, with one output and nothing that only other outputs need.

    `size_px` is (width, height) of the input, None leaves it free. Half-precision weights are
    folded to single precision unless `is_half`. Changes and returns `network`. Raises GraphError.
    """
    output_name = _chosen_output(network, interface.output_name)
    _keep_outputs(network, [output_name])
    finish_input(network, interface, size_px, is_half=is_half)
    _append_matte(network, output_name, interface.output_scaling)
    if interface.is_batch_free:
        width_px, height_px = size_px or (None, None)
        shape = [_BATCH, height_px or "height", width_px or "width"]
    else:
        shape = [1, *(("height", "width") if size_px is None else (size_px[1], size_px[0]))]
    del network.graph.output[:]
    network.graph.output.append(helper.make_tensor_value_info(MATTE, TensorProto.UINT8, shape))
    return network


def finish_upscaling_graph(
    network: onnx.ModelProto, interface: NetworkInterface, size_px: tuple[int, int], factor: int
) -> onnx.ModelProto:
    """`network` from `pixels` to `upscaled`, uint8 N x H x W x 3, `factor` times as wide and high.

    `size_px` is (width, height) of the input. The network answers on the scale that it sees. Changes and
    returns `network`. Raises GraphError.
    """
    output_name = _chosen_output(network, interface.output_name)
    _keep_outputs(network, [output_name])
    finish_input(network, interface, size_px)
    _append_pixels(network.graph, output_name, interface)
    width_px, height_px = size_px
    shape = [_BATCH if interface.is_batch_free else 1, factor * height_px, factor * width_px, 3]
    del network.graph.output[:]
    network.graph.output.append(helper.make_tensor_value_info(UPSCALED, TensorProto.UINT8, shape))
    return network


def finish_input(
    network: onnx.ModelProto,
    interface: NetworkInterface,
    size_px: tuple[int, int] | None,
    *,
    is_half: bool = False,
) -> onnx.ModelProto:
    """`network` with `pixels` uint8 N x H x W x 3 as its input; outputs stay as they are.

    Changes and returns `network`. Raises GraphError.
    """
    graph = network.graph
    input_name = _chosen_input(network, interface.input_name)
    element_type = next(i.type.tensor_type.elem_type for i in graph.input if i.name == input_name)
    if not is_half and _fold_half(graph):
        element_type = TensorProto.FLOAT
    if element_type not in (TensorProto.FLOAT, TensorProto.FLOAT16):
        raise GraphError(f"input {input_name} is not floating point")
    _forget_sizes(graph)
    _prepend_pixels(graph, input_name, element_type, interface)
    width_px, height_px = size_px or (None, None)
    batch = _BATCH if interface.is_batch_free else 1
    shape = [batch, height_px or "height", width_px or "width", 3]
    del graph.input[:]
    graph.input.append(helper.make_tensor_value_info(PIXELS, TensorProto.UINT8, shape))
    # Files written by old exporters list weights as inputs too, which keeps them from being folded.
    network.ir_version = max(network.ir_version, 4)
    return network


def _chosen_input(network: onnx.ModelProto, name: str) -> str:
    weights = {weight.name for weight in network.graph.initializer}
    names = [value.name for value in network.graph.input if value.name not in weights]
    if not name and len(names) == 1:
        return names[0]
    if name not in names:
        raise GraphError(f"the file has inputs {names}, expected {name or 'exactly one'}")
    return name


def _chosen_output(network: onnx.ModelProto, name: str) -> str:
    names = [value.name for value in network.graph.output]
    if not names:
        raise GraphError("the file has no outputs")
    if name == "":
        return names[0]
    if name == "-1":
        return names[-1]
    if name not in names:
        raise GraphError(f"the file has outputs {names}, expected {name}")
    return name


def _keep_outputs(network: onnx.ModelProto, names: list[str]) -> None:
    """Drop outputs not in `names`, and the nodes and weights that only they needed."""
    graph = network.graph
    producers = {name: node for node in graph.node for name in node.output if name}
    needed: set[str] = set()
    kept: list[onnx.NodeProto] = []
    # Published files are not always in order of computation, which the standard demands, so the
    # order is made here: a value is visited once before and once after everything it needs.
    pending = [(name, False) for name in reversed(names)]
    placed: set[int] = set()
    while pending:
        name, is_ready = pending.pop()
        node = producers.get(name)
        if is_ready and node is not None:
            if id(node) not in placed:
                placed.add(id(node))
                kept.append(node)
        elif name not in needed:
            needed.add(name)
            if node is not None:
                pending.append((name, True))
                pending.extend((source, False) for source in reversed(_sources(node)))
    weights = [weight for weight in graph.initializer if weight.name in needed]
    outputs = [output for output in graph.output if output.name in names]
    # Copies, because the values still belong to the fields that are being emptied.
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in kept]
    weights = [onnx.TensorProto.FromString(weight.SerializeToString()) for weight in weights]
    outputs = [onnx.ValueInfoProto.FromString(output.SerializeToString()) for output in outputs]
    del graph.node[:]
    del graph.initializer[:]
    del graph.output[:]
    graph.node.extend(kept)
    graph.initializer.extend(weights)
    graph.output.extend(outputs)


def _sources(node: onnx.NodeProto) -> list[str]:
    """Every value that `node` reads, inside its branches too."""
    names = [name for name in node.input if name]
    for attribute in node.attribute:
        for inner in (attribute.g, *attribute.graphs):
            names.extend(name for child in inner.node for name in _sources(child))
    return names


def _fold_half(graph: onnx.GraphProto) -> bool:
    """Turn every half-precision weight, constant and cast into single precision; False: there was none.

    A CPU has no half-precision convolutions: it would cast back and forth around every node.
    """
    found = False
    for weight in graph.initializer:
        if weight.data_type == TensorProto.FLOAT16:
            weight.CopyFrom(_to_single(weight))
            found = True
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type == TensorProto.FLOAT16:
                attribute.t.CopyFrom(_to_single(attribute.t))
                found = True
            elif node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.FLOAT
                found = True
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT16:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
            found = True
    return found


def _to_single(tensor: onnx.TensorProto) -> onnx.TensorProto:
    return numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name)


def _forget_sizes(graph: onnx.GraphProto) -> None:
    """Remove recorded shapes: they name the batch size of the export, 1, as if it were a law."""
    del graph.value_info[:]
    for output in graph.output:
        output.type.tensor_type.ClearField("shape")


def _prepend_pixels(
    graph: onnx.GraphProto, input_name: str, element_type: int, interface: NetworkInterface
) -> None:
    axes = (1, 3, 1, 1) if interface.layout is Layout.NCHW else (1, 1, 1, 3)
    kind = np.float16 if element_type == TensorProto.FLOAT16 else np.float32
    deviation = np.asarray(interface.deviation, np.float64)
    scale = (1 / deviation).astype(kind).reshape(axes)
    shift = (-np.asarray(interface.mean, np.float64) / deviation).astype(kind).reshape(axes)
    graph.initializer.extend(
        [
            numpy_helper.from_array(scale, _PREFIX + "scale"),
            numpy_helper.from_array(shift, _PREFIX + "shift"),
        ]
    )
    source = PIXELS
    nodes = []
    if interface.layout is Layout.NCHW:
        # Moving bytes before they become floats moves a quarter of the memory.
        source = _PREFIX + "planes"
        nodes.append(helper.make_node("Transpose", [PIXELS], [source], perm=[0, 3, 1, 2]))
    nodes += [
        helper.make_node("Cast", [source], [_PREFIX + "real"], to=element_type),
        helper.make_node("Mul", [_PREFIX + "real", _PREFIX + "scale"], [_PREFIX + "scaled"]),
        helper.make_node("Add", [_PREFIX + "scaled", _PREFIX + "shift"], [input_name]),
    ]
    for index, node in enumerate(nodes):
        graph.node.insert(index, node)


def _append_pixels(graph: onnx.GraphProto, output_name: str, interface: NetworkInterface) -> None:
    is_planar = interface.layout is Layout.NCHW
    axes = (1, 3, 1, 1) if is_planar else (1, 1, 1, 3)
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(values, np.float32).reshape(shape), _PREFIX + name)
        for name, values, shape in (
            ("deviation", interface.deviation, axes),
            ("mean", interface.mean, axes),
            ("zero", 0.0, ()),
            ("full", 255.0, ()),
        )
    )
    make = helper.make_node
    bytes_name = _PREFIX + "bytes" if is_planar else UPSCALED
    graph.node.extend(
        [
            make("Cast", [output_name], [_PREFIX + "raw"], to=TensorProto.FLOAT),
            make("Mul", [_PREFIX + "raw", _PREFIX + "deviation"], [_PREFIX + "stretched"]),
            make("Add", [_PREFIX + "stretched", _PREFIX + "mean"], [_PREFIX + "levels"]),
            make("Clip", [_PREFIX + "levels", _PREFIX + "zero", _PREFIX + "full"], [_PREFIX + "clipped"]),
            make("Round", [_PREFIX + "clipped"], [_PREFIX + "rounded"]),
            make("Cast", [_PREFIX + "rounded"], [bytes_name], to=TensorProto.UINT8),
        ]
    )
    if is_planar:
        graph.node.append(make("Transpose", [bytes_name], [UPSCALED], perm=[0, 2, 3, 1]))


def _append_matte(network: onnx.ModelProto, output_name: str, scaling: OutputScaling) -> None:
    graph = network.graph
    opset = next(entry.version for entry in network.opset_import if entry.domain in ("", "ai.onnx"))
    if opset < 11:
        raise GraphError(f"the file uses operator set {opset}; 11 or newer is needed")
    make = helper.make_node
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value, kind), _PREFIX + name)
        for name, value, kind in (
            ("zero", 0.0, np.float32),
            ("one", 1.0, np.float32),
            ("full", 255.0, np.float32),
            ("smallest", FAINTEST_RANGE, np.float32),
            ("channel", [1], np.int64),
            ("item_axes", [1, 2, 3], np.int64),
        )
    )
    raw = _PREFIX + "raw"
    nodes = [make("Cast", [output_name], [raw], to=TensorProto.FLOAT)]
    coverage = _PREFIX + "coverage"
    if scaling is OutputScaling.SIGMOID:
        nodes.append(make("Sigmoid", [raw], [coverage]))
    elif scaling is OutputScaling.MIN_MAX:
        low, high, span, above = (_PREFIX + name for name in ("low", "high", "span", "above"))
        for kind, target in (("ReduceMin", low), ("ReduceMax", high)):
            if opset >= 18:
                nodes.append(make(kind, [raw, _PREFIX + "item_axes"], [target], keepdims=1))
            else:
                nodes.append(make(kind, [raw], [target], axes=[1, 2, 3], keepdims=1))
        nodes += [
            make("Sub", [high, low], [_PREFIX + "range"]),
            # A picture without a subject must not have its faint noise stretched into one.
            make("Max", [_PREFIX + "range", _PREFIX + "smallest"], [span]),
            make("Sub", [raw, low], [above]),
            make("Div", [above, span], [coverage]),
        ]
    else:
        coverage = raw
    nodes += [
        make("Clip", [coverage, _PREFIX + "zero", _PREFIX + "one"], [_PREFIX + "clipped"]),
        make("Mul", [_PREFIX + "clipped", _PREFIX + "full"], [_PREFIX + "levels"]),
        make("Round", [_PREFIX + "levels"], [_PREFIX + "rounded"]),
        make("Cast", [_PREFIX + "rounded"], [_PREFIX + "bytes"], to=TensorProto.UINT8),
    ]
    if opset >= 13:
        nodes.append(make("Squeeze", [_PREFIX + "bytes", _PREFIX + "channel"], [MATTE]))
    else:
        nodes.append(make("Squeeze", [_PREFIX + "bytes"], [MATTE], axes=[1]))
    graph.node.extend(nodes)
