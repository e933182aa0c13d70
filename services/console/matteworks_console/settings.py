"""Every variable that the console reads."""

from __future__ import annotations

import re

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from matteworks_common.http_lifecycle import HttpSettings

_ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9a-fA-F:]+\](:[0-9]{1,5})?")

_INSTANCE = re.compile(r"[a-z]{1,32}=(http://)?([A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\]):[0-9]{1,5}")


class ConsoleSettings(HttpSettings):
    """Pages for people. `listen_address` serves HTTP here, not gRPC."""

    model_config = SettingsConfigDict(env_prefix="MATTEWORKS_CONSOLE_", frozen=True, extra="ignore")

    listen_address: str = Field(
        "127.0.0.1:8070", description="Host and port to serve HTTP on; port 0 takes a free one."
    )
    public_url: str = Field(
        "",
        description="Origin under which people reach the site, such as https://cutouts.example; with https, "
        "cookies are sent over https only. Empty: what the browser says, over http.",
    )
    try_it: bool = Field(True, description="Whether `/` is a page to try a picture.")
    browser_key_file: str = Field(
        "",
        description="File with the API key that the page to try gives to every visitor: use one with allowed "
        "origins and a small quota. Empty: the page asks for a key.",
    )
    auth_target: str = Field(
        "127.0.0.1:8081",
        description="Where auth is reached, as host:port: the internal listener or auth itself.",
    )
    call_timeout_s: float = Field(5.0, gt=0, description="Seconds that one call to another service may take.")
    admin_token: SecretStr = Field(
        SecretStr(""),
        description="Administration token of auth, with which people sign in as operators and the console "
        "manages keys. Empty: there is no console, only the page to try.",
    )

    compositor_target: str = Field(
        "127.0.0.1:8081",
        description="Where the compositor is reached, as host:port: the internal listener or itself.",
    )
    inference_target: str = Field(
        "127.0.0.1:8081",
        description="Where inference is reached, as host:port: the internal listener or itself.",
    )
    jobs_target: str = Field(
        "",
        description="Where jobs is reached, as host:port: usually the internal listener. Empty: no pages of "
        "batches, stored results and webhooks.",
    )
    instances: str = Field(
        "",
        description="Processes that operators see one by one, as NAME=HOST:PORT, separated by commas; edge "
        "and console as NAME=http://HOST:PORT. A host name stands for all of its addresses. Empty: none.",
    )
    store_url: SecretStr = Field(
        SecretStr("memory:"),
        description="Valkey that keeps sign-ins, as redis://HOST:PORT/DB, or `memory:` for one process that "
        "may forget.",
    )

    @field_validator("public_url")
    @classmethod
    def _url_is_an_origin(cls, text: str) -> str:
        text = text.rstrip("/")
        if text and not _ORIGIN.fullmatch(text):
            raise ValueError("give scheme and host, such as https://cutouts.example, without a path")
        return text

    @field_validator("instances")
    @classmethod
    def _instances_are_addresses(cls, text: str) -> str:
        for entry in filter(None, text.split(",")):
            if not _INSTANCE.fullmatch(entry):
                raise ValueError(f"write {entry} as NAME=HOST:PORT or NAME=http://HOST:PORT")
        return text

    @field_validator("admin_token")
    @classmethod
    def _token_is_long(cls, token: SecretStr) -> SecretStr:
        if 0 < len(token.get_secret_value()) < 16:
            raise ValueError("give auth's administration token, at least 16 characters")
        return token
