"""The OpenAPI 3.1 document, put together from what the providers say of themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matteworks_edge.dialects.base import Dialect
from matteworks_edge.openapi.operations import describe_error
from matteworks_edge.openapi.schemas import ERROR_LIST, closed_object


def build_document(version: str, dialects: Sequence[Dialect]) -> dict[str, Any]:
    """The whole document."""
    paths: dict[str, dict[str, Any]] = {}
    schemas = dict([ERROR_LIST])
    for dialect in dialects:
        for endpoint in dialect.endpoints:
            path = endpoint.path
            if endpoint.is_apart or endpoint.method.lower() in paths.get(path, {}):
                path = dialect.prefix + path
            operation = {
                "operationId": endpoint.operation_id,
                "security": _security(dialect),
                **endpoint.operation.describe(endpoint.spoken(dialect)),
            }
            schemas |= dict([endpoint.error_schema or dialect.error_schema])
            paths.setdefault(path, {})[endpoint.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Matteworks",
            "version": version,
            "summary": "Background removal with the interface of remove.bg v1.0, and of others.",
            "description": (
                "Every provider's paths answer errors in that provider's own document, with at least one "
                "error. Errors are never charged. Empty fields count as absent; unknown fields are ignored; "
                "of a field that comes twice the last value counts."
            ),
        },
        "security": [{"apiKey": []}, {"bearer": []}],
        "tags": [
            {"name": dialect.name, "description": f"The API of {dialect.name}, also below {dialect.prefix}."}
            for dialect in dialects
        ],
        "paths": {
            **paths,
            "/healthz": {"get": _health("isAlive", "The process answers.", [])},
            "/readyz": {"get": _health("isReady", "Removals can be served.", [503])},
        },
        "components": {
            "securitySchemes": {
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
                "bearer": {"type": "http", "scheme": "bearer"},
                **{name: place for dialect in dialects for name, place in _own_schemes(dialect).items()},
            },
            "schemas": schemas,
        },
    }


def _own_schemes(dialect: Dialect) -> dict[str, dict[str, str]]:
    """Places of the key that this provider alone has, its own first."""
    schemes = {}
    if dialect.key_header.lower() != "x-api-key":
        schemes[f"{dialect.name}Key"] = {"type": "apiKey", "in": "header", "name": dialect.key_header}
    if dialect.key_parameter:
        schemes[f"{dialect.name}Query"] = {"type": "apiKey", "in": "query", "name": dialect.key_parameter}
    return schemes


def _security(dialect: Dialect) -> list[dict[str, list[str]]]:
    """Where the key may stand."""
    return [{name: []} for name in (*_own_schemes(dialect), "apiKey", "bearer")]


def _health(operation_id: str, summary: str, error_statuses: Sequence[int]) -> dict[str, Any]:
    return {
        "operationId": operation_id,
        "tags": ["health"],
        "summary": summary,
        "security": [],
        "responses": {
            "200": {
                "description": summary,
                "content": {"application/json": {"schema": closed_object({"status": {"type": "string"}})}},
            },
            **{str(status): describe_error(status, [], ERROR_LIST[0]) for status in error_statuses},
        },
    }
