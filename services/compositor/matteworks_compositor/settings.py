"""Every variable that the compositor reads."""

from __future__ import annotations

import os
from typing import Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from matteworks_common.settings import ServiceSettings


class CompositorSettings(ServiceSettings):
    """Read once at start, from variables with the prefix `MATTEWORKS_COMPOSITOR_`."""

    model_config = SettingsConfigDict(env_prefix="MATTEWORKS_COMPOSITOR_", frozen=True, extra="ignore")

    inference_target: str = Field(
        "127.0.0.1:8081",
        min_length=3,
        description="Where the inference service is reached, as host:port; usually the internal listener.",
    )
    inference_timeout_s: float = Field(
        60.0, gt=0, description="Seconds that one call of the inference service may take at most."
    )
    eraser: Literal["patches", "painter"] = Field(
        "patches",
        description="What fills an erased part: patches of the picture around it, or the inference service's "
        "painter.",
    )
    painting_timeout_s: float = Field(
        100.0, gt=0, description="Seconds that painting a hole from a prompt may take at most."
    )
    shared_memory_directory: str = Field(
        "",
        description="A directory in memory (tmpfs) in which pixels are left for inference services on this "
        "machine, which must have the same setting; empty: messages carry them.",
    )
    threads: int = Field(
        0, ge=0, le=256, description="Pictures worked on at once, and threads a picture; 0: one a core."
    )
    max_megapixels_in_flight: int = Field(
        100,
        ge=1,
        description="Megapixels of the inputs of all running requests; bounds memory at about 12 MB each. "
        "A larger request runs alone.",
    )
    max_megapixels_waiting: int = Field(
        400, ge=0, description="Megapixels that may wait for their turn before requests are refused."
    )
    upscale_network_megapixels: float = Field(
        0.3,
        ge=0,
        description="Megapixels with detail of one picture that a network draws when it is made larger; a "
        "picture with more is enlarged by a filter alone. 0.3 take about a minute on two cores.",
    )
    quiet_s: float = Field(
        0.5,
        ge=0,
        le=60,
        description="Seconds after the last picture that somebody waited for until pictures of batches begin "
        "freely; before, they get 3 % of the time. 0: only while somebody waits.",
    )

    @property
    def thread_count(self) -> int:
        """`threads`, or the number of cores that this process may use."""
        return self.threads or len(os.sched_getaffinity(0))
