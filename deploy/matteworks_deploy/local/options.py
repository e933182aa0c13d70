"""What a caller may choose about a local stack."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DEFAULT_PORT = 8080
DEFAULT_STATE_DIRECTORY = Path(".matteworks")
DEFAULT_MODELS_DIRECTORY = Path("models")


@dataclass(frozen=True, slots=True)
class StackOptions:
    """Port 0 takes a free one; `internal_port` is that of the listener between the services. `models` are
    names of the registry, the default first; empty: all whose weights are there. `quality` empty: the
    service's own default.
    """

    port: int = DEFAULT_PORT
    internal_port: int = 0
    host: str = "127.0.0.1"
    state_directory: Path = DEFAULT_STATE_DIRECTORY
    models_directory: Path = DEFAULT_MODELS_DIRECTORY
    models: tuple[str, ...] = ()
    quality: str = ""
    inference_workers: int = 1
    compositor_workers: int = 1
    log_level: str = "INFO"
