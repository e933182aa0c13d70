#!/usr/bin/env python3
"""Measure the ranges that a network needs to run in 8 bits, and write them where the service reads them.

    python -m tools.measure_ranges --model u2netp --models-dir models --pictures DIR [DIR …] [--count 20]

Of each folder every second picture is taken, evenly spread, `--count` at most: the other half is left to
judge the result. A value's range is the median over the pictures of its lowest and of its highest value:
the mean or the extremes follow the one picture in which a channel explodes, and everything else gets coarser.
Convolutions whose 8-bit weights alone move the matte by more than `--tolerance` levels of 255 stay exact, and
so does all that comes before convolution number `--exact-beginning`: what is lost at the first look at the
picture, no later layer gets back.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import openvino
from numpy.typing import NDArray

from matteworks_inference.engines.openvino import keep_graph
from matteworks_inference.networks import registry
from matteworks_inference.networks.eight_bit import ValueRanges, convolution_name, quantise, quantise_weights
from matteworks_inference.networks.graph_store import GraphStore

RANGES: Final = Path(registry.__file__).parent / "ranges"
# What is computed between convolutions; what these read is multiplied in 8 bits or handed on.
_SOURCES: Final = {"Relu", "PRelu", "Clamp", "Sigmoid", "Add", "Multiply", "Concat", "Interpolate"}
_READERS: Final = {"Convolution", "GroupConvolution", "Concat", "Add", "MaxPool", "Interpolate"}
_CONVOLUTIONS: Final = {"Convolution", "GroupConvolution"}
_JUDGING_PICTURES: Final = 8


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True)
    parser.add_argument("--models-dir", type=Path, default=Path("models"))
    parser.add_argument("--pictures", type=Path, nargs="+", required=True)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--tolerance", type=float, default=0.3)
    parser.add_argument("--exact-beginning", type=int, default=0)
    arguments = parser.parse_args()
    entry = registry.load_registry().find(arguments.model)
    weights = registry.weights_path(entry, arguments.models_dir)
    if weights is None:
        parser.error(f"no weights of {entry.name} in {arguments.models_dir}")
    graphs = GraphStore.beside_weights(arguments.models_dir)
    graph = graphs.finished(entry, weights, device="openvino", fixed_items=None, build=keep_graph).path
    pictures = [picture for folder in arguments.pictures for picture in spread(folder, arguments.count)]
    network = Network(graph, entry.input_sizes_px[0], pictures)
    beginning = network.beginning(arguments.exact_beginning)
    by_value = {name: bounds for name, bounds in network.measured_ranges().items() if name not in beginning}
    exact = sorted({*network.sensitive_convolutions(arguments.tolerance)} | network.convolutions & beginning)
    sha256 = registry.measured_sha256(weights)
    moved = network.moved_by(lambda model: quantise(model, ValueRanges(sha256, by_value, exact)))
    print(f"{entry.name}: {len(by_value)} values, exact: {exact}; mattes move by {moved:.2f} levels of 255")
    document = {
        "weights_sha256": sha256,
        "picture_count": len(pictures),
        "exact_convolutions": exact,
        "values": {name: [float(f"{bound:.4g}") for bound in bounds] for name, bounds in by_value.items()},
    }
    (RANGES / f"{entry.name}.json").write_text(json.dumps(document, indent=0) + "\n")


def spread(folder: Path, count: int) -> Iterator[Path]:
    """Every second picture of `folder`, evenly spread, `count` at most."""
    half = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png"))[1::2]
    yield from half[:: max(1, len(half) // count)][:count]


class Network:
    """One finished graph, at one input size (width, height), and the pictures that it is measured on."""

    def __init__(self, graph: Path, size_px: tuple[int, int], pictures: list[Path]) -> None:
        self._core = openvino.Core()
        self._graph, self._size_px = graph, size_px
        self._inputs = [self._read(path) for path in pictures]
        self._judging = self._inputs[:: max(1, len(self._inputs) // _JUDGING_PICTURES)]
        self._exact_mattes = self._mattes(self._model())

    def beginning(self, count: int) -> set[str]:
        """Names of the first `count` convolutions, and of all values before the next one."""
        names: set[str] = set()
        for node in self._model().get_ordered_ops():
            if node.get_type_name() in _CONVOLUTIONS:
                if count == 0:
                    break
                count -= 1
                names.add(convolution_name(node))
            names |= {name for output in node.outputs() for name in output.get_names()}
        return names

    @property
    def convolutions(self) -> set[str]:
        """Names of all convolutions."""
        operations = self._model().get_ordered_ops()
        return {convolution_name(node) for node in operations if node.get_type_name() in _CONVOLUTIONS}

    def measured_ranges(self) -> dict[str, tuple[float, float]]:
        """Lowest and highest by value name."""
        model = self._model()
        watched = [
            output for node in model.get_ordered_ops() for output in node.outputs() if _is_worth(output)
        ]
        names = [min(output.get_names()) for output in watched]
        model.add_outputs(watched)
        request = self._compiled(model).create_infer_request()
        extremes: list[list[tuple[float, float]]] = [[] for _ in names]
        for pixels in self._inputs:
            request.infer([pixels])
            for index, seen in enumerate(extremes):
                values = request.get_output_tensor(index + 1).data
                seen.append((float(values.min()), float(values.max())))
        medians = [np.median(np.asarray(seen), axis=0) for seen in extremes]
        return {name: (float(low), float(high)) for name, (low, high) in zip(names, medians, strict=True)}

    def sensitive_convolutions(self, tolerance: float) -> list[str]:
        """Those whose weights, rounded alone, move the matte by more than `tolerance` levels."""
        everyone = sorted(self.convolutions)

        def search(names: Collection[str]) -> list[str]:
            others = set(everyone) - set(names)
            if self.moved_by(lambda model: quantise_weights(model, others)) <= tolerance:
                return []
            if len(names) == 1:
                return list(names)
            ordered = list(names)
            middle = len(ordered) // 2
            return search(ordered[:middle]) + search(ordered[middle:])

        return search(everyone)

    def moved_by(self, change: Any) -> float:
        """Mean distance, in levels of 255, of the mattes after `change` from those before."""
        model = self._model()
        change(model)
        mattes = self._mattes(model)
        return float(
            np.mean(
                [np.abs(a.astype(int) - b).mean() for a, b in zip(mattes, self._exact_mattes, strict=True)]
            )
        )

    def _mattes(self, model: Any) -> list[NDArray[np.uint8]]:
        request = self._compiled(model).create_infer_request()
        return [request.infer([pixels])[0][0].copy() for pixels in self._judging]

    def _model(self) -> Any:
        width_px, height_px = self._size_px
        model = self._core.read_model(self._graph)
        model.reshape({model.input(0): (1, height_px, width_px, 3)})
        return model

    def _compiled(self, model: Any) -> Any:
        return self._core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def _read(self, path: Path) -> NDArray[np.uint8]:
        picture = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
        if picture is None:
            raise SystemExit(f"{path} cannot be read")
        return np.asarray(cv2.resize(picture, self._size_px, interpolation=cv2.INTER_AREA), np.uint8)[None]


def _is_worth(output: Any) -> bool:
    """Whether 8 bits at this place let something run faster."""
    if output.get_node().get_type_name() not in _SOURCES or output.get_element_type() != openvino.Type.f32:
        return False
    # The first steps scale pixels to what the network wants; rounding there costs most and saves nothing.
    names = output.get_names()
    if not names or any(name.startswith("matteworks_") for name in names) or _is_network_input(output):
        return False
    kinds = {reader.get_node().get_type_name() for reader in output.get_target_inputs()}
    return bool(kinds & _READERS) and not (output.get_node().get_type_name() == "Add" and kinds == {"Relu"})


def _is_network_input(output: Any) -> bool:
    return any(
        name.startswith("matteworks_")
        for source in output.get_node().input_values()
        for name in source.get_names()
    )


if __name__ == "__main__":
    main()
