"""What a batch passes through on its way to a device and back.

A lane is page-locked memory on the host, and input and output on the device, all allocated once and bound to
the session. While the device computes one lane's batch, the preparing thread fills another and copies it
over.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import onnxruntime

from matteworks_inference.engines.contract import NetworkKey, Tensors
from matteworks_inference.engines.gpu.memory import AnswerMemory, HostMemory
from matteworks_inference.engines.onnx_engine import Slot
from matteworks_inference.networks.graph import MATTE, PIXELS

# One batch runs, one is with the device's thread, one is being prepared.
LANES: Final = 3
_NO_GRAPH: Final = -1


class Lane:
    """Memory for one batch at a time, here and on the device, and its bindings by shape."""

    def __init__(self, buffer_device: str, memory: HostMemory, area_px: int) -> None:
        self.buffer_device = buffer_device
        self.pixels = device_bytes(buffer_device, 3 * area_px)
        self.mattes = device_bytes(buffer_device, area_px)
        self.staging = memory.allocate(3 * area_px)
        self.bindings: dict[tuple[NetworkKey, int], tuple[Any, Any]] = {}


class Lanes:
    """The lanes of a network. `area_px` is that of its largest batch, in pixels."""

    def __init__(self, buffer_device: str, memory: HostMemory, area_px: int) -> None:
        self.memory = memory
        self.answers = AnswerMemory(memory.allocate, area_px)
        self._buffer_device = buffer_device
        self._area_px = area_px
        # Lanes go back from the device's thread and are taken by the preparing one.
        self._lock = threading.Lock()
        self._free = [Lane(buffer_device, memory, area_px) for _ in range(LANES)]

    def take(self) -> Lane:
        with self._lock:
            if self._free:
                return self._free.pop()
        return Lane(self._buffer_device, self.memory, self._area_px)

    def give_back(self, lane: Lane) -> None:
        with self._lock:
            self._free.append(lane)


class DeviceNetwork:
    """See `PlacedNetwork`. `sessions` are by what they compute: an input size and a room."""

    def __init__(
        self,
        label: str,
        was_stored: bool,
        sessions: Mapping[tuple[NetworkKey, int], Any],
        lanes: Lanes,
        *,
        captures: bool,
    ) -> None:
        self.label = label
        self.was_stored = was_stored
        self.lanes = lanes
        self.sessions = sessions
        self._captures = captures
        self._is_warming = True
        self._graph_count = 0

    def slot(self, key: NetworkKey, room: int) -> Slot:
        lane = self.lanes.take()
        if (key, room) not in lane.bindings:
            lane.bindings[key, room] = self._bind(lane, key, room), self._run_options()
        return DeviceSlot(self, lane, key, room)

    def end_of_warming(self) -> None:
        """From now on nothing is captured: other threads use the device."""
        self._is_warming = False

    def run(self, lane: Lane, key: NetworkKey, room: int) -> None:
        binding, run_options = lane.bindings[key, room]
        self.sessions[key, room].run_with_iobinding(binding, run_options)

    def _bind(self, lane: Lane, key: NetworkKey, room: int) -> Any:
        binding = self.sessions[key, room].io_binding()
        shape = (room, key.height_px, key.width_px)
        for bind, name, buffer, full_shape in (
            (binding.bind_input, PIXELS, lane.pixels, (*shape, 3)),
            (binding.bind_output, MATTE, lane.mattes, shape),
        ):
            bind(name, lane.buffer_device, 0, np.uint8, full_shape, buffer.data_ptr())
        return binding

    def _run_options(self) -> Any:
        if not self._captures:
            return None
        graph = _NO_GRAPH
        if self._is_warming:
            self._graph_count += 1
            graph = self._graph_count
        options = onnxruntime.RunOptions()
        options.add_run_config_entry("gpu_graph_id", str(graph))
        return options


class DeviceSlot:
    """A lane while it serves one batch."""

    def __init__(self, network: DeviceNetwork, lane: Lane, key: NetworkKey, room: int) -> None:
        self.key = key
        self.room = room
        self._network = network
        self.lane = lane
        self._item_count = 0

    def fill(self, items: Sequence[Tensors]) -> None:
        item_shape = (self.key.height_px, self.key.width_px, 3)
        size_bytes = len(items) * 3 * self.key.height_px * self.key.width_px
        staging = self.lane.staging[:size_bytes]
        pixels = staging.reshape(len(items), *item_shape)
        for index, item in enumerate(items):
            pixels[index] = item[PIXELS]
        self._item_count = len(items)
        # What pads the batch stays what it was: nobody sees its mattes, and items do not see each other.
        self._network.lanes.memory.copy_in(self.lane.pixels.data_ptr(), staging)

    def run(self) -> list[Tensors]:
        self._network.run(self.lane, self.key, self.room)
        lanes = self._network.lanes
        mattes = lanes.answers.take((self._item_count, self.key.height_px, self.key.width_px))
        lanes.memory.copy_out(mattes, self.lane.mattes.data_ptr())
        return [{MATTE: matte} for matte in mattes]

    def release(self) -> None:
        self._network.lanes.give_back(self.lane)


def device_bytes(buffer_device: str, size_bytes: int) -> Any:
    return onnxruntime.OrtValue.ortvalue_from_shape_and_type([size_bytes], np.uint8, buffer_device, 0)
