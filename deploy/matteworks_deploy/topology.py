"""The services of the platform, one row each: what they speak, what they need, what is in their image.

Envoy's configuration, the local launcher, compose, the charts and the Dockerfile are made from these rows;
nothing else lists services. The module imports nothing but the standard library, because an image's build
reads it before anything is installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

__all__ = [
    "ALLOCATOR",
    "METRICS_PORT",
    "SERVICES",
    "Protocol",
    "Retry",
    "Rpc",
    "Secret",
    "Service",
    "Store",
    "instance_address",
    "service",
]

METRICS_PORT = 9100
# glibc keeps one heap for every thread and returns little of it, so pictures would stay there for good; but
# fetching each buffer from the system anew is a third of the compositor's time. So: two heaps, buffers up to
# 32 MiB from them, and 64 MiB of free memory kept at their top.
ALLOCATOR = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": "33554432",
    "MALLOC_TRIM_THRESHOLD_": "67108864",
}


class Protocol(Enum):
    """What a service listens for. NONE: it listens for nobody but those who look at its health."""

    GRPC = "grpc"
    HTTP = "http"
    NONE = "none"


class Retry(Enum):
    """Which lost calls may be sent again."""

    # Safe to repeat: also when the service may have seen the call.
    ALWAYS = "always"
    # Makes something new each time: only when the call surely never reached the service.
    UNSEEN = "unseen"


class Secret(Enum):
    """A secret of the deployment, by the setting that carries it."""

    KEY_PEPPER = "KEY_PEPPER"
    ADMIN_TOKEN = "ADMIN_TOKEN"  # noqa: S105 - its name, not its value
    SIGNING_SECRET = "SIGNING_SECRET"  # noqa: S105


@dataclass(frozen=True, slots=True)
class Rpc:
    """A gRPC service and how its calls are repeated. `retry_count` is the number of further attempts."""

    name: str
    retry: Retry
    retry_count: int
    try_timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class Store:
    """The setting with the URL of Valkey, and the number of the database in it."""

    setting: str
    database: int


@dataclass(frozen=True, slots=True)
class Service:
    """One service. Its package is `matteworks_NAME`, its settings begin with `MATTEWORKS_NAME_`; a second
    process of a service names that service in `process_of` and the module that it runs in `module`.

    `port` is where it listens in containers. `libraries` are our other packages in its image; its
    third-party ones are the extra of its name. `targets` are settings that hold the address of the
    internal listener. `max_requests` bounds the requests under way at one process. `workers_by_cores`: many
    processes may stand side by side on one machine, the cores shared out between them by the setting
    THREADS. `reaches_outside`: it opens connections to the internet. `environment` is what its containers
    set. `keeps_results`: it shares a directory of results, whose URL is the setting OBJECT_STORE_URL.
    `stop_rank`: those who call others stop before those who are called. `http_port`: where a
    gRPC service also answers the paths under `http_prefix` over HTTP; 0: nowhere.
    """

    name: str
    protocol: Protocol
    port: int
    libraries: tuple[str, ...]
    rpcs: tuple[Rpc, ...] = ()
    targets: tuple[str, ...] = ()
    store: Store | None = None
    secrets: tuple[Secret, ...] = ()
    max_requests: int = 1024
    workers_by_cores: bool = False
    reaches_outside: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    keeps_results: bool = False
    stop_rank: int = 0
    process_of: str = ""
    module: str = ""
    http_port: int = 0
    http_prefix: str = ""

    @property
    def http_name(self) -> str:
        """The name of its processes as those who speak HTTP reach them, where it has an `http_port`."""
        return f"{self.name}-http"

    @property
    def package(self) -> str:
        """The service's import package."""
        return f"matteworks_{self.process_of or self.name}"

    @property
    def program(self) -> str:
        """What `python -m` runs."""
        return self.module or self.package

    def variable(self, setting: str) -> str:
        """The environment variable of a setting."""
        return f"MATTEWORKS_{(self.process_of or self.name).upper()}_{setting}"


SERVICES = (
    Service(
        "edge",
        Protocol.HTTP,
        8000,
        ("common", "imaging", "outbound", "removal"),
        targets=("AUTH_TARGET", "COMPOSITOR_TARGET", "JOBS_TARGET"),
        reaches_outside=True,
    ),
    Service(
        "console",
        Protocol.HTTP,
        8070,
        ("common",),
        targets=("AUTH_TARGET", "COMPOSITOR_TARGET", "INFERENCE_TARGET", "JOBS_TARGET"),
        store=Store("STORE_URL", 1),
        secrets=(Secret.ADMIN_TOKEN,),
    ),
    Service(
        "jobs",
        Protocol.GRPC,
        50054,
        ("common", "imaging", "outbound", "removal"),
        rpcs=(
            Rpc("matteworks.jobs.v1.JobService", Retry.UNSEEN, 1),
            Rpc("matteworks.jobs.v1.ResultService", Retry.UNSEEN, 1),
            Rpc("matteworks.jobs.v1.WebhookService", Retry.UNSEEN, 1),
        ),
        store=Store("STORE_URL", 2),
        secrets=(Secret.SIGNING_SECRET,),
        # Webhooks.
        reaches_outside=True,
        keeps_results=True,
        stop_rank=2,
    ),
    Service(
        "worker",
        Protocol.NONE,
        50055,
        ("common", "imaging", "outbound", "removal"),
        targets=("AUTH_TARGET", "COMPOSITOR_TARGET"),
        store=Store("STORE_URL", 2),
        secrets=(Secret.SIGNING_SECRET,),
        # Pictures by URL.
        reaches_outside=True,
        keeps_results=True,
        process_of="jobs",
        module="matteworks_jobs.worker",
    ),
    Service(
        "auth",
        Protocol.GRPC,
        50051,
        ("common",),
        rpcs=(
            Rpc("matteworks.auth.v1.KeyAdminService", Retry.UNSEEN, 1),
            Rpc("matteworks.auth.v1.AuthService", Retry.ALWAYS, 2, try_timeout_s=5.0),
            Rpc("matteworks.auth.v1.IdempotencyService", Retry.ALWAYS, 2, try_timeout_s=5.0),
            Rpc("matteworks.auth.v1.RequestLogService", Retry.ALWAYS, 1, try_timeout_s=5.0),
        ),
        store=Store("STORE_URL", 0),
        secrets=(Secret.KEY_PEPPER, Secret.ADMIN_TOKEN),
        stop_rank=2,
    ),
    Service(
        "inference",
        Protocol.GRPC,
        50052,
        ("common", "imaging", "outbound"),
        rpcs=(
            Rpc("matteworks.inference.v1.InferenceService", Retry.ALWAYS, 2, try_timeout_s=45.0),
            # A server may have painted, and cost, already.
            Rpc("matteworks.inference.v1.InpaintingService", Retry.UNSEEN, 1),
            Rpc("inference.GRPCInferenceService", Retry.ALWAYS, 2, try_timeout_s=45.0),
        ),
        max_requests=64,
        workers_by_cores=True,
        environment={"MODEL_DIRECTORY": "/models"},
        stop_rank=2,
        http_port=8052,
        http_prefix="/v2",
    ),
    Service(
        "compositor",
        Protocol.GRPC,
        50053,
        ("common", "imaging"),
        # One repeat only: each of its attempts may itself repeat the inference call.
        rpcs=(
            Rpc("matteworks.compositor.v1.CompositorService", Retry.ALWAYS, 1),
            Rpc("matteworks.compositor.v1.EditService", Retry.ALWAYS, 1),
        ),
        targets=("INFERENCE_TARGET",),
        max_requests=64,
        workers_by_cores=True,
        stop_rank=1,
    ),
)


def instance_address(row: Service, address: str) -> str:
    """How the console's setting INSTANCES writes the address of a process, or of a name with several."""
    return f"{row.name}=" + (f"http://{address}" if row.protocol is Protocol.HTTP else address)


_BY_NAME = {row.name: row for row in SERVICES}


def service(name: str) -> Service:
    """The row of that name. Raises KeyError."""
    return _BY_NAME[name]
