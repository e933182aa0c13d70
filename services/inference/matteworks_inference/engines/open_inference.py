"""Networks on a Triton or KServe server that a team runs already, over the Open Inference Protocol.

The server has each network under its name, with our tensors: `pixels` UINT8 N x height x width x 3 to `matte`
UINT8 N x height x width, which is how a finished graph looks. What is sent is laid out while the batch before
is under way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import numpy as np
import numpy.typing as npt
import structlog

from matteworks.inference.v2 import open_inference_pb2 as pb
from matteworks.inference.v2 import open_inference_pb2_grpc
from matteworks_common.channels import channel_options
from matteworks_inference.engines.contract import EngineFacts, EngineUnavailable, NetworkKey, Tensors
from matteworks_inference.networks.graph import MATTE, PIXELS
from matteworks_inference.networks.registry import ModelEntry

__all__ = ["OpenInferenceEngine"]

_DTYPES: Final[Mapping[str, Any]] = {
    "UINT8": np.dtype(np.uint8), "FP32": np.dtype("<f4"), "FP16": np.dtype("<f2"), "INT64": np.dtype("<i8"),
}  # fmt: skip
_DATATYPES: Final = {dtype: name for name, dtype in _DTYPES.items()}
_LOAD_TIMEOUT_S: Final = 10.0
log = structlog.get_logger()


@dataclass(frozen=True)
class _Batch:
    request: pb.ModelInferRequest
    item_count: int


class OpenInferenceEngine:
    """See `Engine`. `timeout_s` bounds one run, and the wait for the server at the start."""

    def __init__(
        self, target: str, *, max_batch_items: int, timeout_s: float, max_message_bytes: int
    ) -> None:
        self._target = target
        self._max_batch_items = max_batch_items
        self._timeout_s = timeout_s
        self._entries: dict[str, ModelEntry] = {}
        self._platforms: dict[str, str] = {}
        self._channel = grpc.insecure_channel(target, options=channel_options(max_message_bytes))
        self._stub = open_inference_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    def facts_of(self, model: str) -> EngineFacts:
        return EngineFacts(
            f"triton/{self._platforms[model]}",
            f"MATTEWORKS_INFERENCE_ENGINE=triton; the server at {self._target} runs it",
        )

    def load(self, entry: ModelEntry, weights: Path) -> None:
        """Ask the server whether it has `entry`, and run it once. The weights are the server's own.

        Raises EngineUnavailable: no server, no such model, or one with other tensors.
        """
        try:
            metadata = self._stub.ModelMetadata(
                pb.ModelMetadataRequest(name=entry.name),
                timeout=min(self._timeout_s, _LOAD_TIMEOUT_S),
                wait_for_ready=True,
            )
        except grpc.RpcError as error:
            raise EngineUnavailable(
                f"The server at {self._target} (MATTEWORKS_INFERENCE_TRITON_TARGET) does not serve "
                f"{entry.name}: {_words(error)}"
            ) from error
        inputs = {tensor.name: tensor.datatype for tensor in metadata.inputs}
        outputs = {tensor.name: tensor.datatype for tensor in metadata.outputs}
        if inputs.get(PIXELS) != "UINT8" or outputs.get(MATTE) != "UINT8":
            raise EngineUnavailable(
                f"The model {entry.name} at {self._target} must take {PIXELS} and give {MATTE}, both UINT8; "
                f"it takes {inputs} and gives {outputs}."
            )
        self._entries[entry.name] = entry
        self._platforms[entry.name] = metadata.platform or "unknown"
        width_px, height_px = entry.input_sizes_px[0]
        key = NetworkKey(entry.name, width_px, height_px)
        try:
            self.run(self.prepare(key, [{PIXELS: np.zeros((height_px, width_px, 3), np.uint8)}]))
        except (grpc.RpcError, ValueError) as error:
            raise EngineUnavailable(
                f"{entry.name} at {self._target} does not run: {_words(error)}"
            ) from error
        log.info("model_loaded", model=entry.name, engine="triton", target=self._target)

    def most_items_of(self, key: NetworkKey) -> int:
        return self._max_batch_items if self._entries[key.model].is_batch_free else 1

    def prepare(self, key: NetworkKey, items: Sequence[Tensors]) -> _Batch:
        batch = {name: np.stack([item[name] for item in items]) for name in items[0]}
        return _Batch(
            pb.ModelInferRequest(
                model_name=key.model,
                inputs=[
                    pb.ModelInferRequest.InferInputTensor(
                        name=name, datatype=_DATATYPES[array.dtype], shape=array.shape
                    )
                    for name, array in batch.items()
                ],
                outputs=[pb.ModelInferRequest.InferRequestedOutputTensor(name=MATTE)],
                raw_input_contents=[array.tobytes() for array in batch.values()],
            ),
            len(items),
        )

    def run(self, prepared: _Batch) -> list[Tensors]:
        """Raises grpc.RpcError when the server fails, ValueError when it answers something else."""
        response = self._stub.ModelInfer(prepared.request, timeout=self._timeout_s)
        arrays = _arrays(response)
        if MATTE not in arrays or any(len(array) != prepared.item_count for array in arrays.values()):
            raise ValueError(f"the server answered {[array.shape for array in arrays.values()]}")
        return [
            {name: array[index] for name, array in arrays.items()} for index in range(prepared.item_count)
        ]

    def discard(self, prepared: _Batch) -> None:
        """Nothing is kept between batches."""

    def unload(self, model: str) -> None:
        del self._entries[model]

    def close(self) -> None:
        self._channel.close()


def _arrays(response: pb.ModelInferResponse) -> dict[str, npt.NDArray[Any]]:
    """Raises ValueError: contents that do not fit their shapes, or a type that no network of ours has."""
    if len(response.raw_output_contents) != len(response.outputs):
        raise ValueError("the server must answer in raw_output_contents")
    arrays = {}
    for described, raw in zip(response.outputs, response.raw_output_contents, strict=True):
        if described.datatype not in _DTYPES:
            raise ValueError(f"{described.name} has the type {described.datatype}")
        flat = np.frombuffer(raw, _DTYPES[described.datatype])
        arrays[described.name] = flat.reshape(tuple(described.shape))
    return arrays


def _words(error: Exception) -> str:
    """What the other side said, for the operator."""
    if isinstance(error, grpc.Call):
        return f"{error.code().name}: {error.details()}"
    return str(error)
