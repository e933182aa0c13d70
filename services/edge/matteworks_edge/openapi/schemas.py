"""Pieces of JSON Schema that the descriptions of several operations are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from matteworks_edge.dialects.base import Schema

BOOLEAN: Final[Schema] = {
    "oneOf": [{"type": "boolean"}, {"type": "string", "enum": ["true", "false", "1", "0", ""]}]
}
TEXT: Final[Schema] = {"type": "string", "maxLength": 8192}
WHOLE: Final[Schema] = {"type": "integer", "minimum": 0}
BINARY: Final[Schema] = {
    "type": "string",
    "contentMediaType": "application/octet-stream",
    "format": "binary",
}


def closed_object(properties: Mapping[str, Schema]) -> Schema:
    """An object with exactly these members."""
    return {
        "type": "object",
        "required": list(properties),
        "additionalProperties": False,
        "properties": dict(properties),
    }


def headers(schemas: Mapping[str, Schema]) -> dict[str, Any]:
    """Header objects of a response."""
    return {name: {"schema": schema} for name, schema in schemas.items()}


def request_body(
    parameters: Mapping[str, Schema], files: Sequence[str], *, takes_raw: bool = False, key_field: str = ""
) -> dict[str, Any]:
    """A body of fields, in the three encodings that are read; files come by multipart only.

    `takes_raw`: it may also be the picture itself. `key_field`: JSON may bring the key under this name.
    """
    key = {key_field: {**TEXT, "description": "The key, when no header and no query brings it."}}
    raw = {"application/octet-stream": {"schema": BINARY}} if takes_raw else {}
    plain = {"type": "object", "properties": dict(parameters)}
    with_files = {**dict.fromkeys(files, BINARY), **parameters}
    return {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": {"type": "object", "properties": with_files}},
            "application/x-www-form-urlencoded": {"schema": plain},
            "application/json": {
                "schema": {"type": "object", "properties": {**parameters, **(key if key_field else {})}}
            },
            **raw,
        },
    }


RATE_HEADERS: Final[dict[str, Schema]] = {
    f"X-RateLimit-{part}": WHOLE for part in ("Limit", "Remaining", "Reset")
}
FOREGROUND_HEADERS: Final[dict[str, Schema]] = {
    f"X-Foreground-{side}": WHOLE for side in ("Top", "Left", "Width", "Height")
}
ERROR_LIST: Final = (
    "Errors",
    {
        "type": "object",
        "required": ["errors"],
        "additionalProperties": False,
        "properties": {
            "errors": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "required": ["title", "code"],
                    "additionalProperties": False,
                    "properties": {
                        "title": {"type": "string"},
                        "code": {"type": "string"},
                        "detail": {"type": "string"},
                    },
                },
            }
        },
    },
)
CUTOUT_WITH_BOX: Final[Schema] = closed_object(
    {
        "data": closed_object(
            {
                "result_b64": {"type": "string", "contentEncoding": "base64"},
                "foreground_top": WHOLE,
                "foreground_left": WHOLE,
                "foreground_width": WHOLE,
                "foreground_height": WHOLE,
            }
        )
    }
)
