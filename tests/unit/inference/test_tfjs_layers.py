"""Networks published for TensorFlow.js, rebuilt as ONNX."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from matteworks_inference.networks.tfjs_layers import LayersError, onnx_from_layers
from tests.unit.inference.tiny_layers import expected, layers_model, weights


def test_a_rebuilt_network_answers_as_its_layers_say() -> None:
    arrays = weights()
    model, parts = layers_model(arrays)
    network = onnx_from_layers(model, parts.__getitem__)
    onnx.checker.check_model(network)
    picture = np.random.default_rng(1).random((5, 7, 3), np.float32)
    session = onnxruntime.InferenceSession(network.SerializeToString(), providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, {"image": picture[None]})
    assert answer.shape == (1, 10, 14, 3)
    assert np.abs(answer[0] - expected(arrays, picture)).max() < 1e-5


def test_the_same_layers_give_the_same_bytes() -> None:
    first, second = (
        onnx_from_layers(model, parts.__getitem__).SerializeToString(deterministic=True)
        for model, parts in (layers_model(weights()), layers_model(weights()))
    )
    assert first == second


def test_what_is_not_known_is_refused_by_name() -> None:
    model, parts = layers_model(weights())
    layers = model["modelTopology"]["model_config"]["config"]["layers"]
    layers[2]["class_name"] = "Softmax"
    with pytest.raises(LayersError, match="positive is of an unknown kind, Softmax"):
        onnx_from_layers(model, parts.__getitem__)
    layers[2]["class_name"] = "Activation"
    layers[1]["config"]["strides"] = [2, 2]
    with pytest.raises(LayersError, match="first is a convolution of an unknown kind"):
        onnx_from_layers(model, parts.__getitem__)


def test_weights_of_another_length_are_refused() -> None:
    model, parts = layers_model(weights())
    with pytest.raises(LayersError):
        onnx_from_layers(model, lambda name: parts[name][:-4])
    with pytest.raises(LayersError):
        onnx_from_layers(model, lambda name: parts[name] + bytes(4))
    del model["weightsManifest"]
    with pytest.raises(LayersError):
        onnx_from_layers(model, parts.__getitem__)
