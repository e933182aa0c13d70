"""Networks in 8 bits: a quarter of the memory traffic, and multiplications that any recent processor does in
bulk, for mattes that move by less than a level or two of 255.

Weights are scaled per output channel by their largest magnitude, which needs nothing but the weights. Values
between the layers need a range each, and that has to be seen on pictures: `tools/measure_ranges.py` writes
the files in `models/ranges/`. A value outside its range saturates.

Method: uniform affine quantisation after Jacob et al., "Quantization and Training of Neural Networks for
Efficient Integer-Arithmetic-Only Inference" (2018), without training.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

import numpy as np
import openvino
from openvino import opset13

VALUE_LEVELS: Final = 256
# Symmetric about 0, so -128 stays unused.
WEIGHT_LEVELS: Final = 255
_CONVOLUTIONS: Final = {"Convolution": 1, "GroupConvolution": 2}


@dataclass(frozen=True)
class ValueRanges:
    """Lowest and highest value, by the name of the value in the graph, and the convolutions whose weights
    do not bear rounding. `weights_sha256` says which file they were measured on.
    """

    weights_sha256: str
    by_value: Mapping[str, tuple[float, float]]
    exact_convolutions: Collection[str]


def load_ranges(file: str) -> ValueRanges:
    """What `models/ranges/<file>` says."""
    text = resources.files("matteworks_inference.networks").joinpath("ranges", file).read_text("utf-8")
    document = json.loads(text)
    return ValueRanges(
        document["weights_sha256"],
        {name: (float(low), float(high)) for name, (low, high) in document["values"].items()},
        frozenset(document["exact_convolutions"]),
    )


def quantise(model: Any, ranges: ValueRanges) -> None:
    """Mark values and weights of the OpenVINO `model` as 8-bit, in place; compiling it does the rest.

    Values that `ranges` does not name stay as they are.
    """
    quantise_weights(model, ranges.exact_convolutions)
    for node in model.get_ordered_ops():
        for output in node.outputs():
            measured = next(
                (ranges.by_value[name] for name in output.get_names() if name in ranges.by_value), None
            )
            if measured is None:
                continue
            readers = list(output.get_target_inputs())
            # Zero must stay exactly zero: padding and ReLU are made of it.
            low, high = min(measured[0], 0.0), max(measured[1], 0.0)
            marked = _marked(output, np.float32(low), np.float32(high), VALUE_LEVELS)
            for reader in readers:
                reader.replace_source_output(marked)
    model.validate_nodes_and_infer_types()


def quantise_weights(model: Any, exact_convolutions: Collection[str]) -> None:
    """Mark the weights of every convolution but those named as 8-bit, in place."""
    for node in model.get_ordered_ops():
        kept_axes = _CONVOLUTIONS.get(node.get_type_name())
        if kept_axes is None or convolution_name(node) in exact_convolutions:
            continue
        weights = node.input(1).get_source_output()
        if not isinstance(weights.get_node(), openvino.op.Constant):
            continue
        magnitudes = np.abs(weights.get_node().get_data().astype(np.float32))
        largest = magnitudes.max(axis=tuple(range(kept_axes, magnitudes.ndim)), keepdims=True)
        largest = np.maximum(largest, np.finfo(np.float32).tiny)
        node.input(1).replace_source_output(_marked(weights, -largest, largest, WEIGHT_LEVELS))


def convolution_name(node: Any) -> str:
    """The name that the network's file gives this convolution."""
    name: str = node.get_friendly_name()
    return name.removesuffix("/WithoutBiases")


def _marked(output: Any, low: Any, high: Any, level_count: int) -> Any:
    bounds = [opset13.constant(np.asarray(bound, np.float32)) for bound in (low, high, low, high)]
    return opset13.fake_quantize(output, *bounds, level_count).output(0)
