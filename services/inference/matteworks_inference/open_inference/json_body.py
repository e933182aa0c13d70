"""Requests and responses of the Open Inference Protocol over HTTP: JSON, and raw tensors behind it.

With the binary tensor extension the body begins with JSON, whose length a header tells, and goes on with the
raw contents of those tensors whose parameters have a `binary_data_size`.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from matteworks_common.errors import InvalidField
from matteworks_inference.open_inference.models import VERSION, InferRequest
from matteworks_inference.open_inference.tensors import (
    BYTES,
    UINT8,
    Tensor,
    checked_shape,
    invalid,
    raw_of,
    tensor_of_raw,
)

__all__ = ["JSON_LENGTH_HEADER", "HttpRequest", "read_request", "write_response"]

JSON_LENGTH_HEADER: Final = "inference-header-content-length"
# Numbers in JSON cost fifty times their bytes in memory; what is larger travels as binary.
_LONGEST_JSON_BYTES: Final = 4 * 1024 * 1024


@dataclass(frozen=True)
class HttpRequest:
    """A request, and which outputs its sender wants as binary."""

    infer: InferRequest
    id: str
    binary_outputs: frozenset[str]
    is_all_binary: bool

    def is_binary(self, output: str) -> bool:
        """Whether an output travels behind the JSON."""
        return self.is_all_binary or output in self.binary_outputs


def read_request(model: str, version: str, body: bytes, json_length: str | None) -> HttpRequest:
    """What a body asks of a model. Raises InvalidField."""
    length = _json_length(body, json_length)
    document = _object("body", _parsed(body[:length]))
    rest = _Rest(memoryview(body)[length:])
    inputs = [_input(_object("inputs", one), rest) for one in _list(document, "inputs")]
    rest.check_empty()
    outputs = [_object("outputs", one) for one in _list(document, "outputs")]
    parameters = _object("parameters", document.get("parameters", {}))
    names = [_text(output, "name", "outputs") for output in outputs]
    binary = [
        name
        for name, output in zip(names, outputs, strict=True)
        if _object("outputs.parameters", output.get("parameters", {})).get("binary_data") is True
    ]
    return HttpRequest(
        InferRequest(
            model=model,
            version=version,
            inputs=inputs,
            outputs=names,
            parameters={
                name: value
                for name, value in parameters.items()
                if isinstance(value, bool | int | float | str)
            },
        ),
        id=_text(document, "id", "body") if "id" in document else "",
        binary_outputs=frozenset(binary),
        is_all_binary=parameters.get("binary_data_output") is True,
    )


def write_response(request: HttpRequest, tensors: Sequence[Tensor]) -> tuple[bytes, int | None]:
    """The body, and the length of its JSON when raw tensors stand behind that."""
    described = []
    raws = []
    for tensor in tensors:
        one: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
        if request.is_binary(tensor.name):
            raws.append(raw_of(tensor))
            one["parameters"] = {"binary_data_size": len(raws[-1])}
        elif isinstance(tensor.values, np.ndarray):
            one["data"] = tensor.values.ravel().tolist()
        else:
            one["data"] = [bytes(value).decode() for value in tensor.values]
        described.append(one)
    document = {
        "model_name": request.infer.model,
        "model_version": VERSION,
        "id": request.id,
        "outputs": described,
    }
    text = json.dumps(document, separators=(",", ":")).encode()
    return (b"".join((text, *raws)), len(text)) if raws else (text, None)


class _Rest:
    """What stands behind the JSON, taken from the front."""

    def __init__(self, content: memoryview) -> None:
        self._content = content

    def take(self, name: str, size: int) -> memoryview:
        if not 0 <= size <= len(self._content):
            raise invalid(name, "Its binary_data_size is more than the body has.", received=str(size))
        taken, self._content = self._content[:size], self._content[size:]
        return taken

    def check_empty(self) -> None:
        if self._content:
            raise InvalidField(
                "body",
                "Behind the JSON stand more bytes than the inputs have.",
                metadata={"left_bytes": str(len(self._content))},
            )


def _json_length(body: bytes, header: str | None) -> int:
    length = len(body)
    if header is not None:
        if not (header.isascii() and header.isdigit() and len(header) <= 12 and int(header) <= len(body)):
            raise InvalidField(
                JSON_LENGTH_HEADER, "Give the length of the JSON in bytes, at most that of the body."
            )
        length = int(header)
    if length > _LONGEST_JSON_BYTES:
        raise InvalidField(
            "body",
            f"Send at most {_LONGEST_JSON_BYTES} bytes of JSON; larger tensors need the binary extension.",
            metadata={"received_bytes": str(length), "limit_bytes": str(_LONGEST_JSON_BYTES)},
        )
    return length


def _parsed(text: bytes) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidField("body", "Send a JSON object as the protocol has it.") from error


def _object(field: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InvalidField(field, "Send a JSON object here.")
    return value


def _list(document: Mapping[str, Any], field: str) -> Sequence[object]:
    value = document.get(field, [])
    if not isinstance(value, list):
        raise InvalidField(field, "Send a JSON array here.")
    return value


def _text(document: Mapping[str, Any], key: str, field: str) -> str:
    value = document.get(key)
    if not isinstance(value, str):
        raise InvalidField(f"{field}.{key}", "Send a text here.")
    return value


def _input(described: Mapping[str, Any], rest: _Rest) -> Tensor:
    name = _text(described, "name", "inputs")
    datatype = _text(described, "datatype", "inputs")
    sides = described.get("shape")
    shape = checked_shape(name, sides if isinstance(sides, list) else [None])
    size = _object("inputs.parameters", described.get("parameters", {})).get("binary_data_size")
    if size is not None:
        if not isinstance(size, int) or isinstance(size, bool):
            raise invalid(name, "Give its binary_data_size as a whole number.")
        return tensor_of_raw(name, datatype, shape, rest.take(name, size))
    if datatype == BYTES:
        return Tensor(name, BYTES, shape, _decoded(name, described.get("data"), math.prod(shape)))
    if datatype == UINT8:
        return Tensor(name, UINT8, shape, _levels(name, described.get("data"), shape))
    raise invalid(name, f"Send {UINT8} or {BYTES}.", received=datatype)


def _decoded(name: str, values: object, count: int) -> list[bytes]:
    remedy = f"Send {count} texts in base64, or the binary extension."
    if not isinstance(values, list) or len(values) != count:
        raise invalid(name, remedy)
    try:
        return [base64.b64decode(value, validate=True) for value in values]
    except (TypeError, ValueError, binascii.Error) as error:
        raise invalid(name, remedy) from error


def _levels(name: str, values: object, shape: tuple[int, ...]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    remedy = "Send as many whole numbers from 0 to 255 as its shape needs, or the binary extension."
    try:
        levels = np.asarray(values)
    except ValueError as error:
        raise invalid(name, remedy) from error
    if levels.dtype.kind not in "iu" or levels.size != math.prod(shape):
        raise invalid(name, remedy)
    if levels.size and not (levels.min() >= 0 and levels.max() <= 255):
        raise invalid(name, remedy)
    return levels.astype(np.uint8).reshape(shape)
