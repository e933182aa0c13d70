"""Settings: read from the environment once, never changed. One message names every problem."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

MEBIBYTE = 1024 * 1024


class SettingsError(Exception):
    """The environment does not make valid settings; the message names each variable and its remedy."""


class ServiceSettings(BaseSettings):
    """What every gRPC service reads. A service adds its own fields and its prefix."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    listen_address: str = Field(
        "127.0.0.1:0", description="Host and port to serve gRPC on; port 0 takes a free one."
    )
    metrics_port: int = Field(
        0, ge=0, le=65535, description="Port of the Prometheus page on the listen host; 0 serves none."
    )
    max_message_bytes: int = Field(
        96 * MEBIBYTE,
        ge=8 * MEBIBYTE,
        description="Largest gRPC message; equal on both ends of every channel.",
    )
    drain_delay_s: float = Field(
        1.0,
        ge=0,
        description="Seconds between turning unhealthy and refusing calls, so that the proxy notices.",
    )
    grace_s: float = Field(30.0, ge=0, description="Seconds that running calls get to finish on shutdown.")
    health_interval_s: float = Field(
        2.0, gt=0, description="Seconds between two health checks of the dependencies."
    )
    log_level: str = Field(
        "INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="Lowest level that is logged."
    )
    tls_directory: Path | None = Field(
        None,
        description="Directory with `tls.crt`, `tls.key` and `ca.crt` for mutual TLS with everything that "
        "this process serves and calls; empty: plaintext.",
    )
    tls_renewal_spread_s: float = Field(
        60.0,
        ge=0,
        description="When the files in `TLS_DIRECTORY` change, the process drains and ends within so many "
        "seconds, for its supervisor to start it with the new ones.",
    )
    otlp_endpoint: str = Field(
        "", description="OTLP gRPC collector for traces, as host:port; empty exports none."
    )
    trace_sample_ratio: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Share of the traces that begin here which are recorded; for a call that brings a "
        "traceparent, its sender has decided.",
    )


S = TypeVar("S", bound=BaseSettings)


def load_settings(kind: type[S]) -> S:
    """Read `kind` from the environment.

    Raises SettingsError with one line for each variable that is wrong.
    """
    try:
        return kind()
    except ValidationError as error:
        prefix = kind.model_config.get("env_prefix", "")
        lines = [
            f"{prefix}{'_'.join(str(part) for part in problem['loc'])}".upper() + f": {problem['msg']}"
            for problem in error.errors()
        ]
        raise SettingsError("The settings are not valid:\n" + "\n".join(lines)) from error
