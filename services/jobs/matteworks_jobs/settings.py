"""Every variable that the two processes of jobs read."""

from __future__ import annotations

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from matteworks_common.settings import ServiceSettings
from matteworks_outbound.addresses import parse_internal_hosts


class JobsSettings(ServiceSettings):
    """Prefix `MATTEWORKS_JOBS_`; the same for both processes, so that they agree on stores and secrets."""

    model_config = SettingsConfigDict(env_prefix="MATTEWORKS_JOBS_", frozen=True, extra="ignore")

    store_url: str = Field(
        "redis://127.0.0.1:6379/0", pattern=r"^rediss?://.+$", description="Valkey as redis://HOST:PORT/DB."
    )
    store_timeout_s: float = Field(1.0, gt=0, description="Seconds until a silent Valkey counts as away.")
    object_store_url: str = Field(
        "file:///var/lib/matteworks/results",
        min_length=1,
        description="Where results lie: file:///DIRECTORY, or s3://BUCKET/PREFIX with AWS_… variables.",
    )
    min_free_mb: int = Field(
        512,
        ge=0,
        description="MB of a directory of results that stay free: nothing more is stored then.",
    )
    signing_secret: SecretStr = Field(
        min_length=16, description="Secret of result URLs and queue messages; changing it ends every URL."
    )
    public_url: str = Field(
        "http://127.0.0.1:8080",
        pattern=r"^https?://[^/]+.*[^/]$",
        description="Where callers reach the gateway, without a slash at the end: result URLs start so.",
    )
    native_urls: bool = Field(
        False, description="Whether result URLs lead to the S3 store itself; it must be reachable by callers."
    )
    max_waiting_items: int = Field(
        100_000, ge=1, description="Items of all accounts that may wait; beyond, batches are refused."
    )
    internal_receivers: str = Field(
        "",
        description="Hosts and networks (names, CIDR; by commas) that webhooks may be sent to although "
        "they are private. Loopback only as a network.",
    )
    webhook_timeout_s: float = Field(15.0, gt=0, le=60, description="Seconds that a webhook's receiver gets.")
    sweep_interval_s: float = Field(1.0, gt=0, description="Seconds between two looks at what is due.")

    @field_validator("internal_receivers")
    @classmethod
    def _hosts_parse(cls, value: str) -> str:
        parse_internal_hosts(value)
        return value


class WorkerSettings(JobsSettings):
    """What only the worker reads, beside the rest."""

    auth_target: str = Field("127.0.0.1:10000", description="host:port of the internal listener, for auth.")
    compositor_target: str = Field(
        "127.0.0.1:10000", description="host:port of the internal listener, for the compositor."
    )
    auth_timeout_s: float = Field(2.0, gt=0, description="Seconds that auth gets for one call.")
    worker_concurrency: int = Field(2, ge=1, le=64, description="Items that one worker works on at once.")
    item_timeout_s: float = Field(120.0, gt=0, le=600, description="Seconds that one try of an item gets.")
    reclaim_s: float = Field(
        10.0, ge=1, description="Seconds without a sign of life until another worker takes an item over."
    )
    max_item_age_s: float = Field(
        86_400.0,
        gt=0,
        le=518_400,
        description="Seconds for which an item is tried again while something that it needs is away.",
    )
    fetch_timeout_s: float = Field(10.0, gt=0, description="Seconds that fetching a picture may take.")
    internal_sources: str = Field(
        "",
        description="Hosts and networks (names, CIDR; by commas) whose pictures may be fetched by URL "
        "although they are private; no other private address is. Loopback only as a network.",
    )

    @field_validator("internal_sources")
    @classmethod
    def _sources_parse(cls, value: str) -> str:
        parse_internal_hosts(value)
        return value
