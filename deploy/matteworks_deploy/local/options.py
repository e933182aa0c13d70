"""What a caller may choose about a local stack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

DEFAULT_PORT = 8080
DEFAULT_STATE_DIRECTORY = Path(".matteworks")
DEFAULT_MODELS_DIRECTORY = Path("models")


@dataclass(frozen=True, slots=True)
class StackOptions:
    """Port 0 takes a free one; `internal_port` is that of the listener between the services. `models` are
    names of the registry, the default first; empty: all whose weights are there. `quality` empty: the
    service's own default. `workers` is how many processes a service has, by its name; one if it is not there.
    `public_tls` is a directory with `tls.crt` and `tls.key` for the public listener. `internal_tls` is one
    with `ca.crt` beside them, whose certificate holds the names of all services and 127.0.0.1: everything
    between the processes is mutual TLS then.
    """

    port: int = DEFAULT_PORT
    internal_port: int = 0
    host: str = "127.0.0.1"
    state_directory: Path = DEFAULT_STATE_DIRECTORY
    models_directory: Path = DEFAULT_MODELS_DIRECTORY
    models: tuple[str, ...] = ()
    quality: str = ""
    workers: Mapping[str, int] = field(default_factory=dict)
    log_level: str = "INFO"
    public_tls: Path | None = None
    internal_tls: Path | None = None
    # Collector of traces as host:port; empty: each service's own setting.
    otlp_endpoint: str = ""
