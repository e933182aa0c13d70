"""What is looked at, and what is found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried. `remedy` is empty when it is as it should be."""

    what: str
    told: str
    remedy: str = ""

    @property
    def is_well(self) -> bool:
        """Whether there is nothing to do."""
        return not self.remedy


@dataclass(frozen=True, slots=True)
class Deployment:
    """Where it is reached: the public URL without a slash at its end, the internal listener, and a key.
    `tls_directory` holds the certificates for an internal listener that wants mutual TLS.
    """

    base_url: str
    target: str
    key: str
    photo: bytes
    tls_directory: Path | None = None
