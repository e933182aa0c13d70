"""Moving bytes between the host and a CUDA device, beside what the device computes.

onnxruntime's own copies (`OrtValue.update_inplace`, `OrtValue.numpy`) hold the interpreter's lock for as long
as they take, and go through pageable memory: a batch of 32 pictures would stop the whole service for some 10
ms. The CUDA runtime, which onnxruntime has loaded anyway, copies between page-locked memory and the device at
the full speed of the bus, on a stream of its own; calls through ctypes give the lock away meanwhile.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]

_TO_DEVICE: Final = 1
_TO_HOST: Final = 2
# cudaStreamNonBlocking: does not wait for the default stream, nor the default stream for it.
_NON_BLOCKING: Final = 1


class CudaError(Exception):
    """The CUDA runtime refused; the message has its own words."""


class HostMemory(Protocol):
    """The host's side of a device: memory that is good for copies, and the copies."""

    def allocate(self, size_bytes: int) -> Bytes:
        """Memory for copies; it is kept for as long as the process lives."""

    def copy_in(self, target_address: int, source: Bytes) -> None:
        """To the device; done when it returns. Called from the preparing thread."""

    def copy_out(self, target: Bytes, source_address: int) -> None:
        """From the device; done when it returns. Called from the device's thread."""


class PlainMemory:
    """See `HostMemory`, for a provider that computes in the host's own memory."""

    def allocate(self, size_bytes: int) -> Bytes:
        return np.zeros(size_bytes, np.uint8)

    def copy_in(self, target_address: int, source: Bytes) -> None:
        ctypes.memmove(target_address, source.ctypes.data, source.nbytes)

    def copy_out(self, target: Bytes, source_address: int) -> None:
        ctypes.memmove(target.ctypes.data, source_address, target.nbytes)


class PinnedMemory:
    """See `HostMemory`: page-locked memory of the CUDA runtime `runtime`, with one stream for each direction.

    Both streams are awaited before a copy returns, so the network, which runs on onnxruntime's stream, finds
    its input complete, and its output was complete when onnxruntime returned. Raises CudaError.
    """

    def __init__(self, runtime: Any) -> None:
        self._runtime = runtime
        self._incoming = self._stream()
        self._outgoing = self._stream()

    def allocate(self, size_bytes: int) -> Bytes:
        address = ctypes.c_void_p()
        self._check(
            self._runtime.cudaHostAlloc(ctypes.byref(address), ctypes.c_size_t(size_bytes), ctypes.c_uint(0))
        )
        if address.value is None:
            raise CudaError("cudaHostAlloc gave no address")
        memory = (ctypes.c_uint8 * size_bytes).from_address(address.value)
        return np.ctypeslib.as_array(memory)

    def copy_in(self, target_address: int, source: Bytes) -> None:
        self._copy(target_address, source.ctypes.data, source.nbytes, _TO_DEVICE, self._incoming)

    def copy_out(self, target: Bytes, source_address: int) -> None:
        self._copy(target.ctypes.data, source_address, target.nbytes, _TO_HOST, self._outgoing)

    def _copy(
        self, target: int, source: int, size_bytes: int, direction: int, stream: ctypes.c_void_p
    ) -> None:
        self._check(
            self._runtime.cudaMemcpyAsync(
                ctypes.c_void_p(target),
                ctypes.c_void_p(source),
                ctypes.c_size_t(size_bytes),
                ctypes.c_int(direction),
                stream,
            )
        )
        self._check(self._runtime.cudaStreamSynchronize(stream))

    def _stream(self) -> ctypes.c_void_p:
        stream = ctypes.c_void_p()
        self._check(
            self._runtime.cudaStreamCreateWithFlags(ctypes.byref(stream), ctypes.c_uint(_NON_BLOCKING))
        )
        return stream

    def _check(self, code: int) -> None:
        if code != 0:
            words = self._runtime.cudaGetErrorString(ctypes.c_int(code))
            raise CudaError(f"CUDA error {code}: {words.decode() if words else 'without a text'}")


def open_cuda_runtime(cuda_version: str) -> Any:
    """The CUDA runtime library of that version, "13.0" for example. Raises CudaError when it is not there."""
    name = f"libcudart.so.{cuda_version.partition('.')[0]}"
    try:
        runtime = ctypes.CDLL(name)
    except OSError as error:
        raise CudaError(f"{name} cannot be loaded: {error}") from error
    runtime.cudaGetErrorString.restype = ctypes.c_char_p
    return runtime


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """Memory of a device, in bytes; `used_bytes` by whomever."""

    used_bytes: int
    total_bytes: int


def device_memory(runtime: Any) -> DeviceMemory:
    """Of the device that this process uses. Raises CudaError."""
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    code = runtime.cudaMemGetInfo(ctypes.byref(free), ctypes.byref(total))
    if code != 0:
        raise CudaError(f"CUDA error {code}: the device does not tell its memory")
    return DeviceMemory(total.value - free.value, total.value)


class AnswerMemory:
    """Memory that mattes leave in. An array goes back into the pool when the last view of it is gone, so an
    answer is copied once, from the device, however long its caller keeps it.
    """

    def __init__(self, allocate: Callable[[int], Bytes], size_bytes: int) -> None:
        self._allocate = allocate
        self._size_bytes = size_bytes
        # Appending and popping are atomic; arrays come back from whichever thread drops the last view.
        self._free: list[Bytes] = []

    def take(self, shape: tuple[int, ...]) -> Bytes:
        """An array of `shape` that nothing else uses until it and all its views are gone."""
        try:
            memory = self._free.pop()
        except IndexError:
            memory = self._allocate(self._size_bytes)
        # A view names as its base the last array on the way to the memory. What lies below this one must not
        # be an array, or views would name that and let this one go.
        below: Any = (ctypes.c_uint8 * memory.nbytes).from_buffer(memory.data)
        array: Bytes = np.ndarray(shape, np.uint8, buffer=below)
        weakref.finalize(array, self._free.append, memory).atexit = False
        return array
