"""A TensorFlow.js layers model with every kind of layer that upscaling networks have; it doubles sides."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

SCALE = 2
CHANNELS = 3 * SCALE * SCALE


def _layer(kind: str, name: str, sources: list[str], **config: Any) -> dict[str, Any]:
    inbound = [[[source, 0, 0, {}] for source in sources]] if sources else []
    return {"class_name": kind, "name": name, "config": {"name": name, **config}, "inbound_nodes": inbound}


def _convolution(name: str, source: str, filters: int, side: int) -> dict[str, Any]:
    return _layer(
        "Conv2D",
        name,
        [source],
        filters=filters,
        kernel_size=[side, side],
        strides=[1, 1],
        padding="same",
        dilation_rate=[1, 1],
        groups=1,
        activation="linear",
        use_bias=True,
    )


def weights(seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Small random numbers by the names of TensorFlow.js."""
    random = np.random.default_rng(seed)
    shapes = {"first/kernel": (3, 3, 3, 4), "first/bias": (4,)}
    shapes |= {"last/kernel": (1, 1, 7, CHANNELS), "last/bias": (CHANNELS,)}
    return {name: random.uniform(-0.2, 0.2, shape).astype("<f4") for name, shape in shapes.items()}


def layers_model(arrays: dict[str, NDArray[np.float32]]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The parsed model.json, and its files of weights, in two parts."""
    layers = [
        _layer("InputLayer", "picture", []),
        _convolution("first", "picture", 4, 3),
        _layer("Activation", "positive", ["first"], activation="relu"),
        _layer("MultiplyBeta", "scaled", ["positive"]),
        _layer("Add", "sum", ["first", "scaled"]),
        _layer("Concatenate", "both", ["sum", "picture"], axis=-1),
        _convolution("last", "both", CHANNELS, 1),
        _layer(f"PixelShuffle{SCALE}x", "shuffled", ["last"], scale=SCALE),
    ]
    content = b"".join(array.tobytes() for array in arrays.values())
    names = ["part1of2.bin", "part2of2.bin"]
    listed = [{"name": name, "shape": list(a.shape), "dtype": "float32"} for name, a in arrays.items()]
    config = {"layers": layers, "output_layers": [["shuffled", 0, 0]]}
    model = {
        "modelTopology": {"model_config": {"config": config}},
        "weightsManifest": [{"paths": names, "weights": listed}],
    }
    parts = {names[0]: content[:101], names[1]: content[101:]}
    return json.loads(json.dumps(model)), parts


def expected(arrays: dict[str, NDArray[np.float32]], picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the model answers to `picture` (H×W×3), by numpy alone."""
    height, width = picture.shape[:2]
    framed = np.pad(picture, ((1, 1), (1, 1), (0, 0)))
    first = np.tile(arrays["first/bias"], (height, width, 1))
    for down in range(3):
        for across in range(3):
            seen = framed[down : down + height, across : across + width]
            first = first + seen @ arrays["first/kernel"][down, across]
    both = np.concatenate((first + 0.2 * np.maximum(first, 0), picture), axis=2)
    last = both @ arrays["last/kernel"][0, 0] + arrays["last/bias"]
    blocks = last.reshape(height, width, SCALE, SCALE, 3).transpose(0, 2, 1, 3, 4)
    return np.asarray(blocks.reshape(height * SCALE, width * SCALE, 3), np.float32)


def layers_registry_table(name: str, side_px: int) -> str:
    """One [[models]] table of an upscaler that is rebuilt from these layers."""
    return f"""
[[models]]
name = "{name}"
summary = "For tests."
license = "MIT"
file = "{name}.onnx"
role = "upscaler"
factor = {SCALE}
subject_types = []
input_sizes = [[{side_px}, {side_px}]]
is_batch_free = true
is_pulled_by_default = true
[models.network]
input = "image"
output = "enlarged"
layout = "nhwc"
mean = [0.0, 0.0, 0.0]
deviation = [255.0, 255.0, 255.0]
scaling = "none"
"""
