"""Everything that differs between two deployments of the same Envoy configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A host (address or DNS name) and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class EnvoyTls:
    """Directories with certificates as Envoy sees them, in the layout of cert-manager; empty: plaintext.

    `public` needs `tls.crt` and `tls.key`. `internal` needs `ca.crt` beside them, and then everything between
    the services is mutual TLS: each service's certificate must hold its name in the topology as a DNS name,
    Envoy's own the name by which it is called. `secrets` is where the documents lie that name these files.
    """

    public: str = ""
    internal: str = ""
    secrets: str = "/etc/envoy"


@dataclass(frozen=True, slots=True)
class EnvoySettings:
    """Where Envoy listens, where the services are, and how patient it is.

    A service with several endpoints is balanced by least request. An endpoint whose host is a name is
    looked up in DNS again and again, and every address behind it becomes one host.
    """

    public: Endpoint
    internal: Endpoint
    # Where the processes of each service listen, by the service's name in the topology. A service that is
    # not there is not deployed: its paths are the edge's, its calls nobody's.
    hosts: Mapping[str, tuple[Endpoint, ...]]
    # Host names of the public listener under which one provider alone is served, as the edge's
    # DIALECT_HOSTS has them: the provider by the name, in small letters.
    provider_hosts: Mapping[str, str] = field(default_factory=dict)
    # Admin page: a Unix socket, relative to Envoy's working directory, or an address of this machine.
    admin: str | Endpoint = "envoy-admin.sock"
    # Where readiness and metrics, and nothing else of the admin page, are shown to others; None: nowhere.
    observed: Endpoint | None = None
    tls: EnvoyTls = field(default_factory=EnvoyTls)

    # Senders.
    request_headers_timeout_s: float = 5.0
    request_timeout_s: float = 60.0
    connection_idle_timeout_s: float = 75.0
    max_request_headers_kib: int = 32
    max_headers_count: int = 100
    # Above every documented upload (50 MB, or 30 MB that are 40 in base64, and a form around it), so that
    # the edge answers in its own words; this limit only stops what nobody can mean.
    max_body_bytes: int = 72 * MEBIBYTE
    max_downstream_connections: int = 10_000
    max_heap_bytes: int = 2048 * MEBIBYTE

    # Calls between services.
    public_timeout_s: float = 150.0
    max_grpc_timeout_s: float = 120.0
    # After this long a caller is asked to connect anew, and looks the proxies' name up again; None: never.
    internal_connection_age_s: float | None = None
    # An attempt that is lost is sent again only if Envoy still has all of it: this must hold the largest
    # message (a picture and a background, 72 MB of body), or retries silently do not happen.
    message_buffer_bytes: int = 96 * MEBIBYTE
    retry_budget_percent: float = 20.0
    # A worker that dies takes a handful of requests with it, all of which should have a second chance.
    min_retry_concurrency: int = 8

    # Health.
    health_interval_s: float = 2.0
    outlier_consecutive_errors: int = 5
    outlier_consecutive_losses: int = 2
    outlier_ejection_s: float = 10.0


def parse_provider_hosts(text: str) -> dict[str, str]:
    """`provider_hosts` from `host=provider,…`. Raises ValueError for an entry of another form."""
    found = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        host, _, provider = entry.partition("=")
        if not host.strip() or not provider.strip():
            raise ValueError(f"{entry!r} is not HOST=PROVIDER")
        found[host.strip().lower()] = provider.strip()
    return found
