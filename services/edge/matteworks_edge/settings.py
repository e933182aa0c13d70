"""Every variable that the edge reads."""

from __future__ import annotations

from typing import Final

from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict

from matteworks_common.http_lifecycle import HttpSettings
from matteworks_common.settings import MEBIBYTE
from matteworks_outbound.addresses import parse_internal_hosts

# As in `matteworks_edge.providers`, which needs these settings' own users.
DIALECT_NAMES: Final = (
    "remove.bg",
    "bgeraser",
    "bgeraser-tools",
    "openai",
    "bgremover",
    "backgrounderase",
    "photoroom",
    "clipdrop",
    "slazzer",
    "picsart",
)
_LISTED: Final = ", ".join(DIALECT_NAMES)


class EdgeSettings(HttpSettings):
    """The REST gateway. `listen_address` serves HTTP here, not gRPC."""

    model_config = SettingsConfigDict(env_prefix="MATTEWORKS_EDGE_", frozen=True, extra="ignore")

    listen_address: str = Field(
        "127.0.0.1:8000", description="Host and port to serve HTTP on; port 0 takes a free one."
    )
    auth_target: str = Field(
        "127.0.0.1:8081",
        description="Where auth is reached, as host:port: the internal listener or auth itself.",
    )
    compositor_target: str = Field(
        "127.0.0.1:8081",
        description="Where the compositor is reached, as host:port: the internal listener or itself.",
    )
    jobs_target: str = Field(
        "127.0.0.1:8081",
        description="Where jobs is reached, as host:port: the internal listener or jobs itself.",
    )
    request_timeout_s: float = Field(
        120.0,
        gt=0,
        description="Seconds from the complete request to the answer; everything inside shares them.",
    )
    receive_timeout_s: float = Field(
        60.0, gt=0, description="Seconds that a sender has for the whole request body."
    )
    auth_timeout_s: float = Field(2.0, gt=0, description="Seconds that one call to auth may take.")
    jobs_timeout_s: float = Field(
        30.0, gt=0, description="Seconds that one call to jobs may take; it may carry a large result."
    )
    max_requests_in_flight: int = Field(
        128, ge=1, description="Uploads handled at once; one more is refused with a retry time."
    )
    max_buffered_bytes: int = Field(
        512 * MEBIBYTE,
        ge=64 * MEBIBYTE,
        description="Bytes of bodies and fetched pictures held at once; beyond that uploads are refused.",
    )
    server_timing: bool = Field(
        True, description="Whether answers carry a Server-Timing header with the duration of each stage."
    )
    fetch_timeout_s: float = Field(10.0, gt=0, description="Seconds that fetching a picture by URL may take.")
    fetch_connect_timeout_s: float = Field(3.0, gt=0, description="Seconds to connect to a picture's server.")
    fetch_dns_timeout_s: float = Field(2.0, gt=0, description="Seconds to resolve a picture's host name.")
    fetch_ports: str = Field(
        "80,443,8080,8443",
        description="Ports that pictures are fetched from, by commas; * allows every port.",
    )
    internal_sources: str = Field(
        "",
        description="Hosts and networks (names, CIDR; by commas) whose pictures may be fetched by URL "
        "although they are private; no other private address is. Loopback only as a network.",
    )
    disabled_dialects: str = Field(
        "", description="Providers whose APIs are not served, by commas: photoroom,slazzer."
    )
    dialect_hosts: str = Field(
        "",
        description="Host names under which one provider alone is served: api.bgremover.example=bgremover,….",
    )
    collect_submissions: bool = Field(
        False, description="Whether `improve` stores the pictures that callers hand in. Off: it refuses them."
    )
    submissions_a_day: int = Field(100, ge=1, description="Pictures that an account may hand in per UTC day.")
    object_store_url: str = Field(
        "",
        description="Where submissions are stored: file:///directory, s3://bucket/prefix, gs://… or memory:///.",
    )

    @field_validator("fetch_ports")
    @classmethod
    def _ports_are_numbers(cls, text: str) -> str:
        if text.strip() != "*" and not all(
            part.strip().isdecimal() and 0 < int(part) < 65536 for part in text.split(",")
        ):
            raise ValueError("give port numbers separated by commas, or *")
        return text

    @field_validator("internal_sources")
    @classmethod
    def _sources_parse(cls, text: str) -> str:
        parse_internal_hosts(text)
        return text

    @field_validator("dialect_hosts")
    @classmethod
    def _hosts_parse(cls, text: str) -> str:
        for entry in filter(None, (part.strip() for part in text.split(","))):
            host, _, provider = entry.partition("=")
            if not host.strip() or provider.strip() not in DIALECT_NAMES:
                raise ValueError(
                    f"give entries host=provider, separated by commas; the providers are {_LISTED}"
                )
        return text

    @field_validator("disabled_dialects")
    @classmethod
    def _dialects_are_known(cls, text: str) -> str:
        unknown = {name.strip() for name in text.split(",") if name.strip()} - set(DIALECT_NAMES)
        if unknown:
            raise ValueError(f"{', '.join(sorted(unknown))} is not among {_LISTED}")
        return text

    @property
    def dialects_off(self) -> frozenset[str]:
        """The names in `disabled_dialects`."""
        return frozenset(name.strip() for name in self.disabled_dialects.split(",") if name.strip())

    @property
    def host_dialects(self) -> dict[str, str]:
        """The provider of each host in `dialect_hosts`, in small letters."""
        pairs = (entry.split("=", 1) for entry in self.dialect_hosts.split(",") if entry.strip())
        return {host.strip().lower(): name.strip() for host, name in pairs}

    @property
    def fetch_port_set(self) -> frozenset[int] | None:
        """The ports of `fetch_ports`; None: every port."""
        if self.fetch_ports.strip() == "*":
            return None
        return frozenset(int(part) for part in self.fetch_ports.split(","))
