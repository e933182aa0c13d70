"""The proxy's configuration: accepted by the real binary, and right where a mistake would stay unseen."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from matteworks.auth.v1 import auth_pb2, idempotency_pb2, request_log_pb2
from matteworks.compositor.v1 import compositor_pb2, edit_pb2
from matteworks.inference.v1 import inference_pb2, inpainting_pb2
from matteworks.inference.v2 import open_inference_pb2
from matteworks.jobs.v1 import jobs_pb2, results_pb2, webhooks_pb2
from matteworks_common.settings import ServiceSettings
from matteworks_deploy.envoy.settings import MEBIBYTE, Endpoint, EnvoySettings, parse_provider_hosts
from matteworks_deploy.local.parts import envoy_binary
from matteworks_deploy.topology import SERVICES
from tests.support.envoy_builder import (
    FILE_TOO_LARGE,
    LOCAL_REPLIES,
    envoy_json,
    validation_problem,
)

ROOT = Path(__file__).resolve().parents[2]
LOCAL = EnvoySettings(
    public=Endpoint("127.0.0.1", 8080),
    internal=Endpoint("127.0.0.1", 8081),
    hosts={
        **{row.name: (Endpoint("127.0.0.1", 1000 + index),) for index, row in enumerate(SERVICES)},
        "inference": (Endpoint("127.0.0.1", 2003), Endpoint("127.0.0.1", 2004)),
        "inference-http": (Endpoint("127.0.0.1", 2005), Endpoint("127.0.0.1", 2006)),
    },
)
NAMED = EnvoySettings(
    public=Endpoint("::", 8080),
    internal=Endpoint("::", 8081),
    hosts={row.name: (Endpoint(row.name, row.port),) for row in SERVICES},
    admin=Endpoint("127.0.0.1", 9901),
    observed=Endpoint("::", 9102),
)


@cache
def local_text() -> str:
    """It takes seconds to write."""
    return envoy_json(LOCAL)


def document(settings: EnvoySettings = LOCAL) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(local_text() if settings is LOCAL else envoy_json(settings))
    return parsed["staticResources"]


def cluster(name: str, settings: EnvoySettings = LOCAL) -> dict[str, Any]:
    return next(c for c in document(settings)["clusters"] if c["name"] == name)


def listener(name: str) -> dict[str, Any]:
    return next(entry for entry in document()["listeners"] if entry["name"] == name)


def manager(name: str) -> dict[str, Any]:
    config: dict[str, Any] = listener(name)["filterChains"][0]["filters"][0]["typedConfig"]
    return config


@pytest.mark.parametrize("settings", [LOCAL, NAMED], ids=["addresses", "names"])
def test_envoy_accepts_the_configuration(settings: EnvoySettings) -> None:
    assert validation_problem(envoy_json(settings), envoy_binary()) is None


def test_envoy_refuses_a_broken_configuration() -> None:
    """Otherwise the test above would prove nothing."""
    broken = envoy_json(LOCAL).replace('"clusters"', '"klusters"')

    assert "klusters" in (validation_problem(broken, envoy_binary()) or "")


def test_the_configuration_of_compose_is_current() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "matteworks_cli", "envoy-config"], capture_output=True, text=True, check=True
    )

    assert (ROOT / "compose/envoy/envoy.json").read_text() == result.stdout


def test_every_service_of_the_protos_has_a_route_and_nothing_else() -> None:
    proto_services = {
        service.full_name
        for module in (
            auth_pb2,
            idempotency_pb2,
            request_log_pb2,
            inference_pb2,
            inpainting_pb2,
            open_inference_pb2,
            compositor_pb2,
            edit_pb2,
            jobs_pb2,
            results_pb2,
            webhooks_pb2,
        )
        for service in module.DESCRIPTOR.services_by_name.values()
    }
    routes = manager("internal")["routeConfig"]["virtualHosts"][0]["routes"]

    over_http = {row.http_name for row in SERVICES if LOCAL.hosts.get(row.http_name)}
    assert {route["name"] for route in routes} == proto_services | over_http


def test_calls_that_make_something_new_are_repeated_only_when_nobody_saw_them() -> None:
    routes = manager("internal")["routeConfig"]["virtualHosts"][0]["routes"]
    retries = {route["name"]: route["route"]["retryPolicy"]["retryOn"].split(",") for route in routes}

    assert "unavailable" in retries["matteworks.auth.v1.AuthService"]
    assert "unavailable" not in retries["matteworks.auth.v1.KeyAdminService"]
    assert "reset" not in retries["matteworks.auth.v1.KeyAdminService"]


@pytest.mark.parametrize("name", ["auth", "inference", "compositor"])
def test_a_retry_can_hold_the_largest_message(name: str) -> None:
    largest = ServiceSettings.model_fields["max_message_bytes"].default

    assert listener("internal")["perConnectionBufferLimitBytes"] >= largest
    assert int(manager("internal")["routeConfig"]["virtualHosts"][0]["requestBodyBufferLimit"]) >= largest
    assert cluster(name)["perConnectionBufferLimitBytes"] >= largest


@pytest.mark.parametrize("name", ["edge", "auth", "inference", "compositor"])
def test_a_cluster_without_traffic_is_looked_at_as_often_as_a_busy_one(name: str) -> None:
    """Envoy's default is once a minute: a worker that came back would stay unused for that long."""
    health = cluster(name)["healthChecks"][0]

    assert health["noTrafficInterval"] == health["interval"]


@pytest.mark.parametrize("name", ["auth", "inference", "compositor"])
def test_grpc_services_are_asked_by_their_own_health_protocol(name: str) -> None:
    assert "grpcHealthCheck" in cluster(name)["healthChecks"][0]


@pytest.mark.parametrize("name", ["edge", "auth", "inference", "compositor"])
def test_retries_have_a_budget(name: str) -> None:
    threshold = cluster(name)["circuitBreakers"]["thresholds"][0]

    assert threshold["retryBudget"]["budgetPercent"]["value"] == 20.0


def test_the_limit_of_a_cluster_grows_with_its_workers() -> None:
    one, two = cluster("compositor"), cluster("inference")

    assert one["circuitBreakers"]["thresholds"][0]["maxRequests"] == 64
    assert two["circuitBreakers"]["thresholds"][0]["maxRequests"] == 128


def test_every_route_has_a_deadline_of_its_own() -> None:
    """Envoy's default of 15 s would end a large picture on a CPU."""
    routes = [
        route["route"]
        for name in ("public", "internal")
        for host in manager(name)["routeConfig"]["virtualHosts"]
        for route in host["routes"]
        if "route" in route
    ]

    # The edge, two of the console, and on the internal listener one for each service and each HTTP prefix.
    over_http = [row for row in SERVICES if row.http_port]
    assert len(routes) == 3 + sum(len(row.rpcs) for row in SERVICES) + len(over_http)
    assert all(float(route["timeout"].rstrip("s")) >= 120 for route in routes)


def test_the_admin_page_is_reachable_from_this_machine_only() -> None:
    local, named = json.loads(envoy_json(LOCAL))["admin"], json.loads(envoy_json(NAMED))["admin"]

    assert local["address"] == {"pipe": {"path": "envoy-admin.sock", "mode": 0o600}}
    assert named["address"]["socketAddress"]["address"] == "127.0.0.1"


def test_hosts_given_by_name_are_looked_up_and_addresses_are_not() -> None:
    assert cluster("inference", NAMED)["type"] == "STRICT_DNS"
    assert cluster("inference", LOCAL).get("type", "STATIC") == "STATIC"


@pytest.mark.parametrize("reply", [*LOCAL_REPLIES, FILE_TOO_LARGE], ids=lambda reply: str(reply.status))
def test_every_reply_of_envoy_itself_is_an_error_document(reply: Any) -> None:
    error = json.loads(reply.body())["errors"][0]

    assert list(error) == ["title", "code"]
    assert all(error.values())


def test_replies_that_pass_with_time_say_when() -> None:
    assert {reply.status for reply in LOCAL_REPLIES if reply.retry_after_s} == {429, 502, 503, 504}


def test_the_access_log_names_no_header_that_may_hold_a_key() -> None:
    log = json.dumps([manager(name)["accessLog"] for name in ("public", "internal")]).lower()

    assert not [word for word in ("api-key", "authorization", "cookie", "query") if word in log]
    assert "%path(nq)%" in log, "the path without its query"


def test_a_body_beyond_what_anybody_can_mean_is_refused_by_its_declared_length() -> None:
    too_large = manager("public")["routeConfig"]["virtualHosts"][0]["routes"][0]

    header = too_large["match"]["headers"][0]
    assert (header["name"], int(header["rangeMatch"]["start"])) == ("content-length", 72 * MEBIBYTE + 1)
    assert too_large["directResponse"] == {"status": 413}


HOSTED = replace(
    LOCAL, provider_hosts=parse_provider_hosts("Erase.example=backgrounderase, a.example=bgeraser")
)


def test_host_names_of_providers_are_accepted_and_come_before_paths() -> None:
    text = envoy_json(HOSTED)
    assert validation_problem(text, envoy_binary()) is None
    listeners = json.loads(text)["staticResources"]["listeners"]
    public = next(entry for entry in listeners if entry["name"] == "public")
    config = public["filterChains"][0]["filters"][0]["typedConfig"]["localReplyConfig"]["mappers"]
    # What people see while the console is away comes before all; a provider's paths are none of its.
    own = [mapper for mapper in config if ":path" not in json.dumps(mapper["filter"])]
    first = json.dumps(own[0])
    assert "erase\\\\.example" in first
    assert "%REQ(X-REQUEST-ID)%" in first


@pytest.mark.parametrize("text", ["erase.example", "=bgremover", "a=", "a=b,c"])
def test_a_host_without_a_provider_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="HOST=PROVIDER"):
        parse_provider_hosts(text)
