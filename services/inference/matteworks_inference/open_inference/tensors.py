"""Tensors as the Open Inference Protocol names, shapes and writes them.

Raw contents are row-major and little-endian; each element of a BYTES tensor stands after its length in 4
bytes.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.errors import InvalidField

__all__ = ["BYTES", "FP32", "UINT8", "Buffer", "Tensor", "checked_shape", "raw_of", "tensor_of_raw"]

UINT8: Final = "UINT8"
FP32: Final = "FP32"
BYTES: Final = "BYTES"
# What callers may send and what they get; our models have no others.
_DTYPES: Final[dict[str, Any]] = {UINT8: np.dtype(np.uint8), FP32: np.dtype("<f4")}
_LENGTH: Final = struct.Struct("<I")
_MOST_AXES: Final = 8

Buffer: TypeAlias = bytes | memoryview


@dataclass(frozen=True)
class Tensor:
    """A named tensor. `values` is an array of that shape, or for BYTES its elements in row-major order."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: npt.NDArray[Any] | Sequence[Buffer]


def checked_shape(name: str, shape: Sequence[object]) -> tuple[int, ...]:
    """Raises InvalidField: not a few whole numbers, 0 or more."""
    sides = [side for side in shape if isinstance(side, int) and not isinstance(side, bool) and side >= 0]
    if len(sides) != len(shape) or len(sides) > _MOST_AXES:
        raise invalid(name, f"Give its shape as at most {_MOST_AXES} whole numbers, 0 or more.")
    return tuple(sides)


def tensor_of_raw(name: str, datatype: str, shape: tuple[int, ...], content: Buffer) -> Tensor:
    """The tensor that `content` writes; nothing is copied. Raises InvalidField."""
    count = math.prod(shape)
    if datatype == BYTES:
        return Tensor(name, datatype, shape, _elements(name, count, memoryview(content)))
    if datatype not in _DTYPES:
        raise invalid(name, f"Send {UINT8} or {BYTES}.", received=datatype)
    dtype = _DTYPES[datatype]
    if len(content) != count * dtype.itemsize:
        raise invalid(
            name,
            f"Its shape needs {count * dtype.itemsize} bytes.",
            received_bytes=str(len(content)),
        )
    return Tensor(name, datatype, shape, np.frombuffer(content, dtype).reshape(shape))


def raw_of(tensor: Tensor) -> bytes:
    """The tensor's raw contents."""
    if isinstance(tensor.values, np.ndarray):
        return tensor.values.tobytes()
    return b"".join(part for value in tensor.values for part in (_LENGTH.pack(len(value)), value))


def invalid(name: str, remedy: str, **metadata: str) -> InvalidField:
    """The refusal of an input tensor."""
    return InvalidField(
        f"inputs[{name[:64]}]",
        remedy,
        reason=reasons.ERROR_REASON_INVALID_ARGUMENT,
        metadata={key: value[:64] for key, value in metadata.items()},
    )


def _elements(name: str, count: int, content: memoryview) -> list[Buffer]:
    # Each element takes 4 bytes at least, so a shape cannot make this long.
    if count * _LENGTH.size > len(content):
        raise invalid(name, "Its contents end before its shape does.")
    elements: list[Buffer] = []
    at = 0
    for _ in range(count):
        end = at + _LENGTH.size
        if end > len(content):
            raise invalid(name, "Its contents end before its shape does.")
        (length,) = _LENGTH.unpack(content[at:end])
        if end + length > len(content):
            raise invalid(name, "An element's length is more than there is.")
        elements.append(content[end : end + length])
        at = end + length
    if at != len(content):
        raise invalid(name, "Its contents go on after the last element of its shape.")
    return elements
