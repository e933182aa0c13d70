"""Copies through the CUDA runtime, against a runtime whose device is the host itself."""

from __future__ import annotations

import ctypes
import gc

import numpy as np
import pytest

from matteworks_inference.engines.gpu.memory import (
    AnswerMemory,
    CudaError,
    DeviceMemory,
    PinnedMemory,
    device_memory,
    open_cuda_runtime,
)

TO_DEVICE, TO_HOST, NON_BLOCKING, ILLEGAL_ADDRESS = 1, 2, 1, 700


class HostRuntime:
    """The functions of the CUDA runtime with their C signatures, so that ctypes checks each call.

    `awaited` are streams in the order in which they were waited for, `copies` (direction, bytes, stream).
    """

    def __init__(self, copy_result: int = 0) -> None:
        self.stream_flags: list[int] = []
        self.awaited: list[int] = []
        self.copies: list[tuple[int, int, int]] = []
        self._kept: list[object] = []
        result = ctypes.c_int
        pointer = ctypes.POINTER(ctypes.c_void_p)

        def create(target: ctypes._Pointer[ctypes.c_void_p], flags: int) -> int:
            self.stream_flags.append(flags)
            target[0] = len(self.stream_flags)
            return 0

        def allocate(target: ctypes._Pointer[ctypes.c_void_p], size_bytes: int, _flags: int) -> int:
            memory = ctypes.create_string_buffer(size_bytes)
            self._kept.append(memory)
            target[0] = ctypes.addressof(memory)
            return 0

        def copy(target: int, source: int, size_bytes: int, direction: int, stream: int) -> int:
            self.copies.append((direction, size_bytes, stream))
            if copy_result == 0:
                ctypes.memmove(target, source, size_bytes)
            return copy_result

        def wait(stream: int) -> int:
            self.awaited.append(stream)
            return 0

        def tell_memory(
            free: ctypes._Pointer[ctypes.c_size_t], total: ctypes._Pointer[ctypes.c_size_t]
        ) -> int:
            free[0], total[0] = 30, 100
            return copy_result

        sizes = ctypes.POINTER(ctypes.c_size_t)
        self.cudaMemGetInfo = ctypes.CFUNCTYPE(result, sizes, sizes)(tell_memory)
        address, size, flags = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint
        self.cudaStreamCreateWithFlags = ctypes.CFUNCTYPE(result, pointer, flags)(create)
        self.cudaHostAlloc = ctypes.CFUNCTYPE(result, pointer, size, flags)(allocate)
        self.cudaMemcpyAsync = ctypes.CFUNCTYPE(result, address, address, size, result, address)(copy)
        self.cudaStreamSynchronize = ctypes.CFUNCTYPE(result, address)(wait)

    def cudaGetErrorString(self, code: ctypes.c_int) -> bytes:
        return b"an illegal memory access was encountered"


def test_bytes_reach_the_device_and_come_back() -> None:
    memory = PinnedMemory(HostRuntime())
    sent, received = memory.allocate(1000), memory.allocate(1000)
    there = np.zeros(1000, np.uint8)
    sent[:] = np.arange(1000) % 251
    memory.copy_in(there.ctypes.data, sent)
    memory.copy_out(received, there.ctypes.data)
    np.testing.assert_array_equal(received, sent)


def test_a_copy_is_complete_when_it_returns_and_each_direction_has_a_stream_of_its_own() -> None:
    runtime = HostRuntime()
    memory = PinnedMemory(runtime)
    host, there = memory.allocate(64), np.zeros(64, np.uint8)
    memory.copy_in(there.ctypes.data, host[:48])
    memory.copy_out(host, there.ctypes.data)
    assert runtime.stream_flags == [NON_BLOCKING, NON_BLOCKING]
    assert runtime.copies == [(TO_DEVICE, 48, 1), (TO_HOST, 64, 2)]
    assert runtime.awaited == [1, 2]


def test_an_error_is_told_in_cudas_own_words() -> None:
    memory = PinnedMemory(HostRuntime(ILLEGAL_ADDRESS))
    host = memory.allocate(8)
    with pytest.raises(CudaError, match="700: an illegal memory access"):
        memory.copy_in(host.ctypes.data, host)


def test_the_memory_of_the_device_is_told() -> None:
    assert device_memory(HostRuntime()) == DeviceMemory(used_bytes=70, total_bytes=100)
    with pytest.raises(CudaError, match="700"):
        device_memory(HostRuntime(ILLEGAL_ADDRESS))


def test_a_runtime_that_is_not_installed_is_named() -> None:
    with pytest.raises(CudaError, match=r"libcudart\.so\.99"):
        open_cuda_runtime("99.1")


def test_answers_go_back_into_the_pool_when_the_last_view_is_gone() -> None:
    allocated: list[int] = []

    def allocate(size_bytes: int) -> np.ndarray:
        allocated.append(size_bytes)
        return np.zeros(size_bytes, np.uint8)

    answers = AnswerMemory(allocate, 12)
    view = answers.take((3, 2, 2))[1]
    view[:] = 7
    other = answers.take((2, 2, 2))
    other[:] = 9
    assert (view == 7).all()
    assert allocated == [12, 12]
    del view
    gc.collect()
    again = answers.take((1, 2, 2))
    again[:] = 1
    assert (other == 9).all()
    assert allocated == [12, 12]
