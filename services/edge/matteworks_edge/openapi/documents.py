"""Descriptions of operations that answer with a JSON document of a dialect's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from matteworks_edge.dialects.base import Dialect, Schema
from matteworks_edge.openapi.operations import aliased, describe_errors, describe_removal, told
from matteworks_edge.openapi.schemas import (
    BINARY,
    RATE_HEADERS,
    TEXT,
    WHOLE,
    closed_object,
    headers,
    request_body,
)

# In the request's first line, where the proxy allows 32 KiB with all headers.
_MAX_PARAMETER_LENGTH: Final = 128


def describe_document(
    summary: str, schema: Schema, *, parameters: tuple[Schema, ...] = ()
) -> Callable[[Dialect], Schema]:
    """A request without a body."""
    finds_things = any(parameter["in"] == "path" for parameter in parameters)

    def describe(dialect: Dialect) -> Schema:
        described: Schema = {
            "tags": [dialect.name],
            "summary": summary,
            "responses": _responses(dialect, summary, schema, 200, finds_things=finds_things),
        }
        return described | ({"parameters": list(parameters)} if parameters else {})

    return describe


def describe_stored_removal(schema: Schema) -> Callable[[Dialect], Schema]:
    """A removal that answers with the URL of its result."""

    def describe(dialect: Dialect) -> Schema:
        return {
            **describe_removal(dialect),
            "description": "The result is kept, and its URL told. Charged on success only.",
            "responses": _responses(dialect, "The result's URL and facts.", schema, 200),
        }

    return describe


def describe_batch(schema: Schema) -> Callable[[Dialect], Schema]:
    """A batch: JSON with URLs, or multipart with files."""

    def describe(dialect: Dialect) -> Schema:
        item = {"type": "object", "properties": {"image_url": TEXT}}
        webhook = {"webhook_url": {**TEXT, "description": "Receives a POST when all pictures are done."}}
        content: dict[str, Any] = {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["images"],
                    "properties": {"images": {"type": "array", "minItems": 1, "items": item}, **webhook},
                }
            },
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"images": {"type": "array", "items": BINARY}, **webhook},
                }
            },
        }
        return {
            "tags": [dialect.name],
            "summary": "Remove the background of many pictures",
            "description": "Each picture takes every field of a single removal; what stands beside `images` "
            "holds for those that say nothing else.",
            "requestBody": {"required": True, "content": content},
            "responses": _responses(dialect, "Accepted.", schema, 202),
        }

    return describe


def describe_edit(
    summary: str, fields: Mapping[str, Schema], files: tuple[str, ...], schema: Schema | None
) -> Callable[[Dialect], Schema]:
    """An editing tool; `schema` None: it answers with the picture."""

    def describe(dialect: Dialect) -> Schema:
        sources = {
            "image_url": {**TEXT, "description": "Picture to fetch: http or https, public addresses only."},
            told(dialect, "format"): {"type": "string", "examples": list(dialect.formats)},
        }
        # A stored result that a field names may not be there.
        responses = _responses(dialect, "The result.", schema or {}, 200, finds_things="matte" in fields)
        if schema is None:
            responses["200"]["content"] = {"image/png": {}, "image/jpeg": {}, "image/webp": {}}
        return {
            "tags": [dialect.name],
            "summary": summary,
            "description": "Charged on success only.",
            "requestBody": request_body({**sources, **fields}, [told(dialect, "image_file"), *files]),
            "responses": responses,
        }

    return describe


def describe_health(dialect: Dialect) -> Schema:
    """Health without a key."""

    def answer(status: str, description: str) -> Schema:
        schema = closed_object({"status": {"const": status}})
        return {
            "description": description,
            "headers": headers({"X-Request-Id": TEXT}),
            "content": {"application/json": {"schema": schema}},
        }

    return {
        "tags": [dialect.name],
        "summary": "Whether removals are served",
        "security": [],
        "responses": {
            "200": answer("ok", "Removals are served."),
            "503": answer("unavailable", "A service that removals need does not answer."),
        },
    }


def query_parameter(name: str, schema: Schema, description: str) -> Schema:
    """A parameter of the query."""
    short = {"maxLength": _MAX_PARAMETER_LENGTH, **schema}
    return {"name": name, "in": "query", "schema": short, "description": description}


def path_parameter(name: str, description: str) -> Schema:
    """A part of the path."""
    schema = {"type": "string", "minLength": 1, "maxLength": _MAX_PARAMETER_LENGTH}
    return {"name": name, "in": "path", "required": True, "schema": schema, "description": description}


def _responses(
    dialect: Dialect, description: str, schema: Schema, status: int, *, finds_things: bool = False
) -> Schema:
    known: dict[str, Schema] = {
        "X-Request-Id": TEXT,
        "X-Credits-Charged": {"type": "number", "minimum": 0},
        "X-Repeated-Request": {"type": "string", "const": "true"},
        dialect.width_header: WHOLE,
        dialect.height_header: WHOLE,
        **RATE_HEADERS,
        "Server-Timing": TEXT,
    }
    return {
        str(status): {
            "description": description,
            "headers": headers(aliased(dialect, known)),
            "content": {"application/json": {"schema": schema}},
        },
        **describe_errors(dialect, finds_things=finds_things),
    }
