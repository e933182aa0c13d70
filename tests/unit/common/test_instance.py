"""What a process says of itself tells no secret, and says it to those who reach it alone."""

from __future__ import annotations

import os
import re
from importlib import import_module
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry, Gauge
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from matteworks.common.v1 import instance_pb2
from matteworks_common.instance import HIDDEN, SECRET_NAME, Instance, answering_for, settings_in_force, shown

SETTINGS = (
    ("matteworks_auth.settings", "AuthSettings"),
    ("matteworks_compositor.settings", "CompositorSettings"),
    ("matteworks_console.settings", "ConsoleSettings"),
    ("matteworks_edge.settings", "EdgeSettings"),
    ("matteworks_inference.settings", "InferenceSettings"),
    ("matteworks_jobs.settings", "JobsSettings"),
    ("matteworks_jobs.settings", "WorkerSettings"),
)


class Settings(BaseSettings):
    """A little of everything."""

    model_config = SettingsConfigDict(env_prefix="MATTEWORKS_TEST_", frozen=True)

    password: SecretStr = Field(SecretStr(""))
    pepper: SecretStr
    store_url: str = "memory:"
    count: int = 3
    is_on: bool = False


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (SecretStr("hush"), HIDDEN),
        (SecretStr(""), ""),
        ("redis://:hush@valkey:6379/0", "redis://***@valkey:6379/0"),
        ("rediss://user:hu%40sh@valkey/0", "rediss://***@valkey/0"),
        (
            "s3://b?region=x&secret_access_key=hush&token=hush",
            "s3://b?region=x&secret_access_key=***&token=***",
        ),
        ("https://cutouts.example", "https://cutouts.example"),
        ("a,redis://:hush@one/0,redis://:hush@two/0", "a,redis://***@one/0,redis://***@two/0"),
        (True, "true"),
        (0.5, "0.5"),
        (None, ""),
        (("a", "b"), "a, b"),
        ({"h": "x://u:hush@p"}, "h=x://***@p"),
    ],
)
def test_a_value_is_shown_without_what_is_secret_in_it(value: Any, text: str) -> None:
    assert shown(value) == text


def test_settings_are_told_by_their_variables_and_whether_somebody_chose_them() -> None:
    settings = Settings(pepper=SecretStr("hush"), store_url="redis://:hush@v/0", count=3)
    told = {one.variable: (one.value, one.is_default) for one in settings_in_force(settings)}

    assert told == {
        "MATTEWORKS_TEST_PASSWORD": ("", True),
        "MATTEWORKS_TEST_PEPPER": (HIDDEN, False),
        "MATTEWORKS_TEST_STORE_URL": ("redis://***@v/0", False),
        "MATTEWORKS_TEST_COUNT": ("3", True),
        "MATTEWORKS_TEST_IS_ON": ("false", True),
    }


@pytest.mark.parametrize(("module", "name"), SETTINGS)
def test_every_setting_whose_name_speaks_of_a_secret_is_one(module: str, name: str) -> None:
    """So that a new one cannot be shown by mistake."""
    kind: type[BaseSettings] = getattr(import_module(module), name)
    suspects = {
        field: info.annotation for field, info in kind.model_fields.items() if SECRET_NAME.search(field)
    }

    assert {field for field, annotation in suspects.items() if annotation is not SecretStr} == set()


def instance() -> Instance:
    registry = CollectorRegistry()
    Gauge("matteworks_test_rpc_in_flight", "x", registry=registry).set(3)
    return Instance("test", Settings(pepper=SecretStr("hush")), registry, lambda: True)


def test_a_process_tells_who_it_is_and_what_it_holds() -> None:
    told = instance().describe(own_requests=1)

    assert (told.service, told.process_id, told.is_serving) == ("test", os.getpid(), True)
    assert told.in_flight_count == 2
    assert told.memory_bytes > 10_000_000
    assert re.match(r"\d", told.version)
    assert not told.HasField("device_load")


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b"nothing"})


@pytest.mark.parametrize(
    ("method", "path", "headers", "is_told"),
    [
        ("GET", "/instance", {}, True),
        ("GET", "/instance?x=1", {}, True),
        ("GET", "/instance", {"X-Forwarded-For": "203.0.113.7"}, False),
        ("GET", "/instance", {"x-forwarded-for": ""}, False),
        ("GET", "/%69nstance", {}, False),
        ("GET", "/instance/", {}, False),
        ("POST", "/instance", {}, False),
    ],
)
async def test_over_http_only_those_who_reach_the_process_itself_are_told(
    method: str, path: str, headers: dict[str, str], is_told: bool
) -> None:
    """The proxy writes x-forwarded-for into all that strangers send."""
    transport = httpx.ASGITransport(answering_for(instance(), app))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.request(method, path, headers=headers)

    assert (answer.status_code == 200) == is_told
    assert b"hush" not in answer.content
    if is_told:
        assert instance_pb2.GetInstanceResponse.FromString(answer.content).service == "test"
