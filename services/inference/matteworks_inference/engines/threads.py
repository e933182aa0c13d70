"""How many cores this process may really use."""

from __future__ import annotations

import os
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
