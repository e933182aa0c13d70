"""A published TensorFlow.js layers model as an ONNX file, built with numpy alone.

Only what upscaling networks are made of: convolutions, activations, sums, concatenations, a constant factor
and pixel shuffles, in one line from input to output. Equal archives give equal bytes, so that what is built
has a sha256 of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

__all__ = ["LayersError", "onnx_from_layers"]

INPUT: Final = "image"
OUTPUT: Final = "enlarged"
_OPSET: Final = 13
_IR_VERSION: Final = 8
# The factor that ESRGAN's residual blocks scale by; its layer has no setting for it.
_RESIDUAL_SCALE: Final = 0.2
_SHUFFLE: Final = "PixelShuffle"


class LayersError(Exception):
    """The model is not one that can be rebuilt; half a sentence that says why."""


def onnx_from_layers(model: Mapping[str, Any], read: Callable[[str], bytes]) -> onnx.ModelProto:
    """The network in `model`, a parsed `model.json`, from `image` to `enlarged`: float32 N x H x W x 3,
    any size. `read` gives the bytes of a file of weights.

    Raises LayersError.
    """
    try:
        weights = _weights(model, read)
        graph = _Graph(weights)
        config = model["modelTopology"]["model_config"]["config"]
        for layer in config["layers"]:
            graph.add(layer)
        ((output, *_),) = config["output_layers"]
        return graph.finished(str(output))
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise LayersError(f"it is not laid out as expected ({error!r})") from error


def _weights(model: Mapping[str, Any], read: Callable[[str], bytes]) -> dict[str, NDArray[np.float32]]:
    arrays: dict[str, NDArray[np.float32]] = {}
    for group in model["weightsManifest"]:
        content = b"".join(read(str(path)) for path in group["paths"])
        offset = 0
        for weight in group["weights"]:
            if weight["dtype"] != "float32" or "quantization" in weight:
                raise LayersError(f"{weight['name']} is not float32")
            shape = [int(side) for side in weight["shape"]]
            count = math.prod(shape)
            arrays[weight["name"]] = np.frombuffer(content, "<f4", count, offset).reshape(shape)
            offset += 4 * count
        if offset != len(content):
            raise LayersError("its weights have another length than it says")
    return arrays


class _Graph:
    """Nodes and weights so far. A layer's value has the layer's name; channels come first inside."""

    def __init__(self, weights: Mapping[str, NDArray[np.float32]]) -> None:
        self._weights = weights
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []
        self._has_residuals = False

    def add(self, layer: Mapping[str, Any]) -> None:
        """The nodes of one layer. Raises LayersError for one that is not known."""
        kind, name, config = str(layer["class_name"]), str(layer["name"]), layer["config"]
        sources = [str(source[0]) for node in layer["inbound_nodes"] for source in node]
        if kind == "InputLayer":
            self._node("Transpose", [INPUT], name, perm=[0, 3, 1, 2])
        elif kind == "Conv2D":
            self._convolve(name, config, sources)
        elif kind == "Activation" and config["activation"] == "relu":
            self._node("Relu", sources, name)
        elif kind == "Concatenate":
            self._node("Concat", sources, name, axis=1)
        elif kind == "Add" and len(sources) == 2:
            self._node("Add", sources, name)
        elif kind == "MultiplyBeta":
            self._scale(sources, name)
        elif kind.startswith(_SHUFFLE):
            # TensorFlow's order of channels: first the place in the block, then the colour.
            self._node("DepthToSpace", sources, name, blocksize=int(config["scale"]), mode="DCR")
        else:
            raise LayersError(f"layer {name} is of an unknown kind, {kind}")

    def _convolve(self, name: str, config: Mapping[str, Any], sources: list[str]) -> None:
        is_plain = (
            config["strides"] == [1, 1]
            and config["dilation_rate"] == [1, 1]
            and config["groups"] == 1
            and config["activation"] == "linear"
            and config["padding"] == "same"
            and config["use_bias"]
        )
        kernel = self._weights[f"{name}/kernel"]
        height, width = kernel.shape[:2]
        if not is_plain or height % 2 == 0 or width % 2 == 0:
            raise LayersError(f"layer {name} is a convolution of an unknown kind")
        across, down = width // 2, height // 2
        self._weight(f"{name}/kernel", np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)))
        self._weight(f"{name}/bias", self._weights[f"{name}/bias"])
        inputs = [*sources, f"{name}/kernel", f"{name}/bias"]
        self._node("Conv", inputs, name, kernel_shape=[height, width], pads=[down, across, down, across])

    def _scale(self, sources: list[str], name: str) -> None:
        if not self._has_residuals:
            self._weight("residual_scale", np.asarray(_RESIDUAL_SCALE, np.float32))
            self._has_residuals = True
        self._node("Mul", [*sources, "residual_scale"], name)

    def _node(self, kind: str, inputs: list[str], name: str, **attributes: Any) -> None:
        self._nodes.append(helper.make_node(kind, inputs, [name], **attributes))

    def _weight(self, name: str, values: NDArray[np.float32]) -> None:
        self._initializers.append(numpy_helper.from_array(np.asarray(values, np.float32), name))

    def finished(self, output: str) -> onnx.ModelProto:
        """The network whose last layer is `output`."""
        self._node("Transpose", [output], OUTPUT, perm=[0, 2, 3, 1])
        described = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["items", down, across, 3])
            for name, down, across in ((INPUT, "rows", "columns"), (OUTPUT, "rows_out", "columns_out"))
        ]
        graph = helper.make_graph(
            self._nodes, "layers", described[:1], described[1:], initializer=self._initializers
        )
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION, producer_name=""
        )
