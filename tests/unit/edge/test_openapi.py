"""The document says what the gateway does."""

from __future__ import annotations

import json
from typing import Any

import pytest

from matteworks_edge.dialects.base import Dialect, Endpoint
from matteworks_edge.dialects.remove_bg import REMOVE_BG
from matteworks_edge.errors import PUBLIC_ERRORS
from matteworks_edge.intake.body import BASE64_FIELDS, LEGACY_FIELD
from matteworks_edge.openapi.document import build_document
from matteworks_edge.openapi.operations import removal_parameters
from matteworks_edge.providers import PROVIDERS

DOCUMENT = build_document("1.2.3", PROVIDERS)


def described(operation_id: str) -> dict[str, Any]:
    """An operation, wherever it is."""
    operations = [
        operation
        for path in DOCUMENT["paths"].values()
        for operation in path.values()
        if operation["operationId"] == operation_id
    ]
    assert len(operations) == 1
    return dict(operations[0])


def with_key(dialect: Dialect) -> list[Endpoint]:
    """Health is told to everybody, and has no errors."""
    return [endpoint for endpoint in dialect.endpoints if described(endpoint.operation_id)["security"]]


def test_every_reference_resolves() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    names = [part.split('"')[0] for part in json.dumps(DOCUMENT).split("#/components/schemas/")[1:]]
    assert names
    assert set(names) == set(schemas)


def test_every_parameter_of_the_contract_is_there() -> None:
    known = {*removal_parameters(REMOVE_BG), "image_file", "bg_image_file"} | (
        BASE64_FIELDS - {"image_base64", "bg_image_file_b64", LEGACY_FIELD}
    )
    schema = DOCUMENT["paths"]["/v1.0/removebg"]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert set(schema["schema"]["properties"]) == known
    assert len(known) == 32


@pytest.mark.parametrize("dialect", PROVIDERS, ids=lambda dialect: dialect.name)
def test_every_status_that_an_error_can_have_is_documented(dialect: Dialect) -> None:
    statuses = {
        str((dialect.errors.get(reason) or public).status) for reason, public in PUBLIC_ERRORS.items()
    }
    for endpoint in with_key(dialect):
        documented = set(described(endpoint.operation_id)["responses"])
        assert statuses - {"404", "405", "499"} <= documented


@pytest.mark.parametrize("dialect", PROVIDERS, ids=lambda dialect: dialect.name)
def test_errors_are_described_in_the_dialects_own_document(dialect: Dialect) -> None:
    for endpoint in with_key(dialect):
        name, schema = endpoint.error_schema or dialect.error_schema
        responses = described(endpoint.operation_id)["responses"]
        told = {
            answer["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
            for status, answer in responses.items()
            if int(status) >= 400
        }
        assert told == {name}
        assert DOCUMENT["components"]["schemas"][name] == schema


def test_every_known_size_and_its_default_are_named() -> None:
    size = removal_parameters(REMOVE_BG)["size"]
    assert size["default"] == "preview"
    assert size["examples"] == list(REMOVE_BG.sizes)


def test_what_only_some_have_is_described() -> None:
    queued = described("removeBackgroundBgeraser")
    assert queued["responses"]["202"]["content"]["application/json"]["schema"]["required"] == ["data"]
    fields = queued["requestBody"]["content"]["application/json"]["schema"]["properties"]
    assert "webhook_url" in fields

    raw = described("removeBackgroundBackgrounderase")
    assert {parameter["name"] for parameter in raw["parameters"]} == {
        "size", "format", "crop", "channels", "bg_color", "despill",
    }  # fmt: skip
    assert "api_key" in raw["requestBody"]["content"]["application/json"]["schema"]["properties"]
    assert {"backgrounderaseQuery": []} in raw["security"]

    told = described("removeBackgroundPicsart")["responses"]
    assert "X-Picsart-Ratelimit-Available" in told["200"]["headers"]
    assert "X-Picsart-Correlation-Id" in told["400"]["headers"]
    assert "X-RateLimit-Limit" in described("removeBackground")["responses"]["400"]["headers"]


def test_every_group_is_told_of_once() -> None:
    assert [tag["name"] for tag in DOCUMENT["tags"]] == [dialect.name for dialect in PROVIDERS]
