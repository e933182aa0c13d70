"""The threads of an engine, and how many cores this process may really use."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

_CGROUP_LIMIT: Final = Path("/sys/fs/cgroup/cpu.max")


def usable_processor_count(cgroup_limit: Path = _CGROUP_LIMIT) -> int:
    """Cores by affinity and by the container's quota, 1 or more.

    The machine's own count is wrong in a container: as many threads as the host has cores would be
    throttled together, each for most of every period.
    """
    by_affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota_us, period_us = cgroup_limit.read_text("ascii").split()
        by_quota = max(1, round(int(quota_us) / int(period_us)))
    except (OSError, ValueError):
        # No such file, or the word "max": no quota.
        return by_affinity
    return min(by_affinity, by_quota)


class DeviceThreads:
    """The two threads of one engine: one that only runs the device, one that prepares the next batch."""

    def __init__(self) -> None:
        self.device = ThreadPoolExecutor(1, thread_name_prefix="device")
        self.preparing = ThreadPoolExecutor(1, thread_name_prefix="preparing")

    def close(self, *, waits: bool = True) -> None:
        """End the threads; `waits` for what they run, which a stuck device never ends."""
        self.preparing.shutdown(wait=waits, cancel_futures=True)
        self.device.shutdown(wait=waits, cancel_futures=True)
