"""What onnxruntime is asked for on a GPU, and why: the options of its CUDA and TensorRT providers.

Names and values are those of onnxruntime 1.23 to 1.31; every value is a string there. `docs/gpu.md` lists
them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from matteworks_inference.networks.registry import ModelEntry

Device: TypeAlias = Literal["cpu", "cuda", "tensorrt"]

Precision: TypeAlias = Literal["auto", "half", "single"]
ConvolutionSearch: TypeAlias = Literal["DEFAULT", "HEURISTIC", "EXHAUSTIVE"]

_PROVIDERS: Final[dict[Device, str]] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
# Scraps of a few nodes are not worth an engine of their own, with copies around it.
_SMALLEST_ENGINE_NODES: Final = 5


# The arena that all sessions share. The default doubles it at every growth and never gives anything back.
ARENA: Final = {"max_mem": 0, "arena_extend_strategy": 1}


@dataclass(frozen=True)
class GpuOptions:
    """What may be chosen. `precision` auto: half for networks that were measured to bear it.

    `uses_cuda_graph` replays a recording of all launches of a shape instead of launching each; `prefers_nhwc`
    lays tensors out as tensor cores read them.
    """

    precision: Precision = "auto"
    uses_cuda_graph: bool = False
    prefers_nhwc: bool = False
    convolution_search: ConvolutionSearch = "HEURISTIC"

    def is_half(self, entry: ModelEntry) -> bool:
        """Whether `entry` runs in half precision; what bears bfloat16 bears float16, which is finer."""
        return self.precision == "half" or (self.precision == "auto" and entry.bears_bfloat16)


def provider_name(device: Device) -> str:
    """What onnxruntime calls the provider of `device`."""
    return _PROVIDERS[device]


def providers_for(
    device: Device, options: GpuOptions, is_half: bool, folder: Path, graph_name: str, room: int
) -> list[Any]:
    """The providers of a session, the first one first, with their options.

    What TensorRT compiles is kept in `folder`. Its own file names tell neither weights nor batch size apart,
    so each `graph_name`, which does name the weights, and each `room` has a folder of its own.
    """
    if device == "cpu":
        return [provider_name("cpu")]
    # What the first one does not take, the next one does; shapes are always computed on the processor.
    rest: list[Any] = [(provider_name("cuda"), cuda_options(options)), provider_name("cpu")]
    if device == "cuda":
        return rest
    tensorrt = folder / "tensorrt"
    engines = tensorrt / graph_name / str(room)
    engines.mkdir(parents=True, exist_ok=True)
    return [(provider_name("tensorrt"), tensorrt_options(options, is_half, engines, tensorrt)), *rest]


def cuda_options(options: GpuOptions) -> dict[str, str]:
    """Options of the CUDA provider."""
    return {
        "device_id": "0",
        # The default doubles the arena at every growth and never gives anything back.
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": options.convolution_search,
        # The fastest convolutions need room to work in.
        "cudnn_conv_use_max_workspace": "1",
        # Networks that stay in single precision multiply on tensor cores all the same: 10 bits of the
        # factors, as in half precision, but all the range and sums in full.
        "use_tf32": "1",
        "prefer_nhwc": bit(options.prefers_nhwc),
        "enable_cuda_graph": bit(options.uses_cuda_graph),
    }


def tensorrt_options(options: GpuOptions, is_half: bool, engines: Path, timings: Path) -> dict[str, str]:
    """Options of the TensorRT provider; compiled engines lie in `engines`, measured kernels in `timings`."""
    return {
        "device_id": "0",
        "trt_fp16_enable": str(is_half),
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": str(engines),
        # Engines of other batch sizes and networks are compiled faster with what was measured for this one.
        "trt_timing_cache_enable": "True",
        "trt_timing_cache_path": str(timings),
        "trt_min_subgraph_size": str(_SMALLEST_ENGINE_NODES),
        "trt_cuda_graph_enable": str(options.uses_cuda_graph),
    }


def bit(value: bool) -> str:
    """A boolean as onnxruntime reads it."""
    return "1" if value else "0"
