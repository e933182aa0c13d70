"""Every variable that the auth service reads."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from matteworks_common.settings import ServiceSettings


class AuthSettings(ServiceSettings):
    """Prefix `MATTEWORKS_AUTH_`."""

    model_config = SettingsConfigDict(env_prefix="MATTEWORKS_AUTH_", frozen=True, extra="ignore")

    store_url: str = Field(
        "redis://127.0.0.1:6379/0",
        pattern=r"^(rediss?://.+|memory:)$",
        description="Valkey as redis://HOST:PORT/DB, or `memory:` for one process that may forget.",
    )
    store_timeout_s: float = Field(1.0, gt=0, description="Seconds until a silent store counts as away.")
    key_pepper: SecretStr = Field(
        min_length=16, description="Secret under which keys are hashed; changing it ends every key."
    )
    admin_token: SecretStr = Field(min_length=16, description="Bearer token of KeyAdminService.")
    plans_file: Path = Field(
        Path(__file__).with_name("plans.toml"), description="TOML file of plans; the packaged one by default."
    )
    reservation_ttl_s: float = Field(
        60.0, ge=1, le=600, description="Seconds after which an unsettled reservation is given back."
    )
    repeat_window_s: float = Field(
        30.0, ge=0, le=600, description="Seconds within which equal uploads share one charge; 0: never."
    )
    record_ttl_s: float = Field(
        86_400.0, ge=3600, description="Seconds for which a settled request id is remembered."
    )
    max_records: int = Field(
        100_000,
        ge=1000,
        description="Settled request ids remembered of one account; beyond, the oldest are forgotten early.",
    )
    audit_retention_days: int = Field(
        400, ge=1, le=3660, description="Days for which the log of administrators' changes is kept."
    )
    audit_max_events: int = Field(
        100_000, ge=1000, description="Changes kept in that log; beyond, the oldest are forgotten early."
    )
    requests_max: int = Field(
        1000,
        ge=10,
        le=10_000,
        description="Latest requests of one account that are remembered for people to look at.",
    )
    requests_retention_days: int = Field(
        30, ge=1, le=400, description="Days for which such a request is remembered."
    )
    sweep_interval_s: float = Field(
        5.0, gt=0, description="Seconds between two sweeps for overdue reservations."
    )
    audit_interval_s: float = Field(
        60.0,
        ge=0,
        description="Seconds between two looks through all accounts, for the metrics of the books; 0: never.",
    )
    low_credits_milli: int = Field(
        10_000,
        ge=0,
        description="Thousandths of a credit below which an account is told that it runs low; 0: never.",
    )
    key_cache_s: float = Field(
        2.0,
        ge=0,
        le=5,
        description="Seconds for which a valid key is remembered; a revocation may take as long.",
    )
