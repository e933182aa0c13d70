"""The Open Inference Protocol over gRPC: its messages in, a domain call, its messages out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from matteworks.inference.v2 import open_inference_pb2 as pb
from matteworks.inference.v2 import open_inference_pb2_grpc
from matteworks_common.context import current_call
from matteworks_common.errors import InvalidField
from matteworks_inference.open_inference.models import (
    EXTENSIONS,
    VERSION,
    InferRequest,
    OpenModels,
    Parameter,
    TensorFacts,
)
from matteworks_inference.open_inference.tensors import (
    BYTES,
    UINT8,
    Tensor,
    checked_shape,
    invalid,
    raw_of,
    tensor_of_raw,
)

__all__ = ["SERVICE_NAME", "OpenInferenceServicer"]

SERVICE_NAME = "inference.GRPCInferenceService"


class OpenInferenceServicer(open_inference_pb2_grpc.GRPCInferenceServiceServicer):
    """See `open_inference.proto`. Outputs always stand in `raw_output_contents`."""

    def __init__(self, models: OpenModels) -> None:
        self._models = models

    async def ServerLive(self, request: pb.ServerLiveRequest, context: Any) -> pb.ServerLiveResponse:
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(self, request: pb.ServerReadyRequest, context: Any) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=self._models.is_ready)

    async def ModelReady(self, request: pb.ModelReadyRequest, context: Any) -> pb.ModelReadyResponse:
        return pb.ModelReadyResponse(ready=self._models.is_model_ready(request.name, request.version))

    async def ServerMetadata(
        self, request: pb.ServerMetadataRequest, context: Any
    ) -> pb.ServerMetadataResponse:
        return pb.ServerMetadataResponse(
            name="matteworks", version=self._models.server_version, extensions=EXTENSIONS
        )

    async def ModelMetadata(self, request: pb.ModelMetadataRequest, context: Any) -> pb.ModelMetadataResponse:
        facts = self._models.facts_of(request.name, request.version)
        return pb.ModelMetadataResponse(
            name=facts.name,
            versions=facts.versions,
            platform=facts.platform,
            inputs=[_metadata(tensor) for tensor in facts.inputs],
            outputs=[_metadata(tensor) for tensor in facts.outputs],
        )

    async def ModelInfer(self, request: pb.ModelInferRequest, context: Any) -> pb.ModelInferResponse:
        call = current_call.get()
        tensors = await self._models.infer(
            InferRequest(
                model=request.model_name,
                version=request.model_version,
                inputs=_inputs(request),
                outputs=[output.name for output in request.outputs],
                parameters=_parameters(request.parameters),
            ),
            call.deadline_s if call else None,
        )
        return pb.ModelInferResponse(
            model_name=request.model_name,
            model_version=VERSION,
            id=request.id,
            outputs=[
                pb.ModelInferResponse.InferOutputTensor(
                    name=tensor.name, datatype=tensor.datatype, shape=tensor.shape
                )
                for tensor in tensors
            ],
            raw_output_contents=[raw_of(tensor) for tensor in tensors],
        )


def _inputs(request: pb.ModelInferRequest) -> list[Tensor]:
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise InvalidField(
            "raw_input_contents", "Send the contents of every input here, or of none.",
            metadata={"received": str(len(raw)), "inputs": str(len(request.inputs))},
        )  # fmt: skip
    tensors = []
    for index, described in enumerate(request.inputs):
        shape = checked_shape(described.name, described.shape)
        if raw:
            tensors.append(tensor_of_raw(described.name, described.datatype, shape, raw[index]))
        else:
            tensors.append(_of_contents(described, shape))
    return tensors


def _of_contents(described: pb.ModelInferRequest.InferInputTensor, shape: tuple[int, ...]) -> Tensor:
    contents = described.contents
    name = described.name
    if described.datatype == BYTES:
        elements: Sequence[bytes] = contents.bytes_contents
        _check_count(name, len(elements), shape)
        return Tensor(name, BYTES, shape, elements)
    if described.datatype != UINT8:
        raise invalid(name, f"Send {UINT8} or {BYTES}.", received=described.datatype)
    _check_count(name, len(contents.uint_contents), shape)
    levels = np.array(contents.uint_contents, np.uint32)
    if levels.size and levels.max() > 255:
        raise invalid(name, "Values go from 0 to 255.")
    return Tensor(name, UINT8, shape, levels.astype(np.uint8).reshape(shape))


def _check_count(name: str, count: int, shape: tuple[int, ...]) -> None:
    expected = math.prod(shape)
    if count != expected:
        raise invalid(name, f"Its shape needs {expected} values.", received=str(count))


def _parameters(sent: Mapping[str, pb.InferParameter]) -> dict[str, Parameter]:
    return {
        name: getattr(parameter, choice)
        for name, parameter in sent.items()
        if (choice := parameter.WhichOneof("parameter_choice"))
    }


def _metadata(tensor: TensorFacts) -> pb.ModelMetadataResponse.TensorMetadata:
    return pb.ModelMetadataResponse.TensorMetadata(
        name=tensor.name, datatype=tensor.datatype, shape=tensor.shape
    )
