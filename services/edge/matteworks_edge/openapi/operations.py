"""The operations' parts of the OpenAPI document, for whichever dialect offers them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from matteworks.compositor.v1 import compositor_pb2
from matteworks_common.errors import Reason
from matteworks_edge.dialects.base import Dialect, Schema
from matteworks_edge.errors import PUBLIC_ERRORS, PublicError
from matteworks_edge.fields.parameters import CHANNELS, SUBJECT_WORDS, TYPE_LEVELS
from matteworks_edge.fields.shadows import SHADOW_SUBJECTS, SHADOW_TYPES
from matteworks_edge.intake.body import BASE64_FIELDS
from matteworks_edge.openapi.additions import OUTPUTS_DOCUMENT, PREVIEW_DOCUMENT
from matteworks_edge.openapi.schemas import (
    BOOLEAN,
    RATE_HEADERS,
    TEXT,
    WHOLE,
    closed_object,
    headers,
    request_body,
)
from matteworks_removal.content_types import CONTENT_TYPES

_ACCOUNT: Final[Schema] = closed_object(
    {
        "data": closed_object(
            {
                "attributes": closed_object(
                    {
                        "credits": closed_object(
                            {
                                name: {"type": "number", "minimum": 0}
                                for name in ("subscription", "payg", "enterprise", "total")
                            }
                        ),
                        "api": closed_object(
                            {
                                "free_calls": {"type": "integer", "minimum": 0},
                                "sizes": {"type": "string", "const": "all"},
                            }
                        ),
                    }
                )
            }
        )
    }
)


def removal_parameters(dialect: Dialect) -> dict[str, Schema]:
    """Every parameter of a removal except the binary ones, by name."""
    subjects = ", ".join(dict.fromkeys(SHADOW_SUBJECTS))
    shadow_types = [*SHADOW_TYPES, "3D", ""]
    described: dict[str, Schema] = {
        "image_url": {**TEXT, "description": "Picture to fetch: http or https, public addresses only."},
        "image_file_b64": {
            "type": "string",
            "description": "Picture in base64, with or without a data: prefix. `image_base64` is an alias.",
        },
        "size": {
            "type": "string",
            "default": dialect.default_size,
            "examples": list(dialect.sizes),
            "description": "How large the result may be; it is never larger than the picture. In any letter "
            "case one of: " + ", ".join(dialect.sizes) + ".",
        },
        "type": {
            **TEXT,
            "default": "auto",
            "examples": list(SUBJECT_WORDS),
            "description": "What the picture shows. Unknown words count as auto.",
        },
        "type_level": {
            **TEXT,
            "default": "1",
            "examples": list(TYPE_LEVELS),
            "description": "How finely X-Type tells the detected type. Unknown words count as 1.",
        },
        "format": {
            "type": "string",
            "default": _format_name(dialect),
            "examples": list(dialect.formats),
            "description": _describe_formats(dialect),
        },
        "roi": {
            **TEXT,
            "default": "0% 0% 100% 100%",
            "description": "Where the subject is looked for: x1 y1 x2 y2, each in px (unit optional) or %.",
        },
        "crop": {**BOOLEAN, "default": False, "description": "Whether empty borders are cut off."},
        "crop_margin": {
            **TEXT,
            "default": "0",
            "description": "Room around the crop: 1, 2 or 4 values in px or %, at most 500px or 50% a side.",
        },
        "scale": {
            **TEXT,
            "default": "original",
            "description": "Size of the subject relative to the canvas: original, or 10% to 100%.",
        },
        "position": {
            **TEXT,
            "description": "original, center, or one or two values 0% to 100%. Default: original, or center "
            "with scale.",
        },
        "channels": {
            "type": "string",
            "default": "rgba",
            "examples": list(CHANNELS),
            "description": "rgba: the cut-out. alpha: the matte as a grey picture.",
        },
        "add_shadow": {
            **BOOLEAN,
            "default": False,
            "deprecated": True,
            "description": "shadow_type[car]=car.",
        },
        "shadow_type": {
            "oneOf": [
                {"type": "string", "examples": shadow_types},
                {"type": "object", "additionalProperties": {"type": "string", "examples": shadow_types}},
            ],
            "description": f"For all subjects, or per type as in shadow_type[car]=drop: {subjects}.",
        },
        "shadow_opacity": {
            "oneOf": [
                {"type": ["string", "integer"]},
                {"type": "object", "additionalProperties": {"type": ["string", "integer"]}},
            ],
            "default": "auto",
            "description": "0 to 100 or auto, for all subjects or per type.",
        },
        "semitransparency": {
            **BOOLEAN,
            "default": True,
            "description": "Whether car windows become partly transparent.",
        },
        "bg_color": {
            **TEXT,
            "description": "Colour behind the subject: 3, 4, 6 or 8 hexadecimal digits or a CSS name.",
        },
        "bg_image_url": {**TEXT, "description": "Picture behind the subject, to fetch."},
    }
    if dialect.queued_document:
        described["webhook_url"] = {
            **TEXT,
            "description": "The call is answered at once, and the result's URL comes here by POST, signed.",
        }
    if dialect.known_fields is not None:
        names = dialect.known_fields | {"image_url", *(("image_file_b64",) if dialect.reads_base64 else ())}
        described = {name: schema for name, schema in described.items() if name in names}
    return {**described, **dialect.own_fields}


_IMPROVE_PARAMETERS: Final[dict[str, Schema]] = {
    "image_url": {**TEXT, "description": "Picture to fetch."},
    "image_file_b64": {"type": "string", "description": "Picture in base64."},
    "image_filename": {"type": "string", "maxLength": 255, "description": "Your name for the picture."},
    "tag": {"type": "string", "maxLength": 100, "description": "Your name for a group of pictures."},
}


def describe_removal(dialect: Dialect) -> Schema:
    """A removal that answers with the picture."""
    as_json = {"application/json": {"schema": dialect.result_schema}} if dialect.result_document else {}
    if dialect.has_additions:
        as_json = {
            "application/json": {
                "schema": {"oneOf": [dialect.result_schema, OUTPUTS_DOCUMENT, PREVIEW_DOCUMENT]}
            },
            "multipart/mixed": {},
        }
    return {
        "tags": [dialect.name],
        "summary": "Remove the background of a picture",
        "description": "Answers with the picture, or with JSON when Accept prefers application/json to "
        "any picture. Charged on success only.",
        "requestBody": request_body(
            {told(dialect, name): schema for name, schema in removal_parameters(dialect).items()},
            [
                told(dialect, name)
                for name in ("image_file", "bg_image_file")
                if name == "image_file" or dialect.known_fields is None or name in dialect.known_fields
            ],
            takes_raw=dialect.takes_raw_body,
            key_field=dialect.key_parameter,
        ),
        **_raw_parameters(dialect),
        "responses": {
            "200": {
                "description": "The cut-out.",
                "headers": headers(_result_headers(dialect)),
                "content": {
                    **{kind: {} for value in dialect.formats.values() if (kind := CONTENT_TYPES.get(value))},
                    **as_json,
                },
            },
            **_queued_response(dialect),
            **describe_errors(dialect),
        },
    }


def told(dialect: Dialect, name: str) -> str:
    """What `dialect` calls our field `name`."""
    return next((told for told, ours in dialect.field_names.items() if ours == name), name)


def describe_account(dialect: Dialect) -> Schema:
    """The balances."""
    return {
        "tags": [dialect.name],
        "summary": "Balances of the account",
        "responses": {
            "200": {
                "description": "Credits and free calls left.",
                "headers": headers({"X-Request-Id": TEXT}),
                "content": {"application/json": {"schema": _ACCOUNT}},
            },
            **describe_errors(dialect),
        },
    }


def describe_improve(dialect: Dialect) -> Schema:
    """A submission."""
    return {
        "tags": [dialect.name],
        "summary": "Hand in a picture whose cut-out went wrong",
        "description": "Refused unless the operator has switched the collection on. 100 pictures a day.",
        "requestBody": request_body(_IMPROVE_PARAMETERS, ("image_file",)),
        "responses": {
            "200": {
                "description": "Stored.",
                "headers": headers({"X-Request-Id": TEXT}),
                "content": {
                    "application/json": {
                        "schema": closed_object({"id": {"type": "string", "format": "uuid"}})
                    }
                },
            },
            **describe_errors(dialect),
        },
    }


def _raw_parameters(dialect: Dialect) -> dict[str, Any]:
    """With a body that is the picture itself the fields stand in the query."""
    if not dialect.takes_raw_body:
        return {}
    without = ("image_url", *BASE64_FIELDS)
    return {
        "parameters": [
            {
                "name": told(dialect, name),
                "in": "query",
                "schema": {"type": "string", "maxLength": 128},
                "description": "As the field of the form, when the body is the picture itself.",
            }
            for name in removal_parameters(dialect)
            if name not in without
        ]
    }


def _queued_response(dialect: Dialect) -> dict[str, Any]:
    """A removal that is done later, because its result goes to a webhook."""
    if dialect.queued_document is None:
        return {}
    return {
        "202": {
            "description": "Accepted: the result's URL comes to webhook_url.",
            "headers": headers({"X-Credits-Charged": {"type": "number", "const": 0}, "X-Request-Id": TEXT}),
            "content": {"application/json": {"schema": dialect.queued_schema}},
        }
    }


def aliased(dialect: Dialect, known: Mapping[str, Schema]) -> dict[str, Schema]:
    """Headers, with those that repeat them under the provider's own names."""
    aliases = {alias: known[name] for alias, name in dialect.header_aliases.items() if name in known}
    return {**known, **aliases}


def _result_headers(dialect: Dialect) -> dict[str, Schema]:
    known: dict[str, Schema] = {
        dialect.width_header: WHOLE,
        dialect.height_header: WHOLE,
        "X-Type": {"type": "string"},
        "X-Credits-Charged": {"type": "number", "minimum": 0},
        **RATE_HEADERS,
        "X-Repeated-Request": {"type": "string", "const": "true"},
        "X-Request-Id": TEXT,
        "Server-Timing": TEXT,
    }
    return aliased(dialect, {**known, **dialect.result_header_schemas})


def describe_errors(dialect: Dialect, *, finds_things: bool = False) -> dict[str, Any]:
    """Every status of a failure in `dialect`, with its codes; 404 where something is looked for by an id."""
    by_status: dict[int, list[PublicError]] = {}
    for reason in PUBLIC_ERRORS:
        public = public_error(dialect, reason)
        # Else 404 and 405 belong to paths and methods that have no operation; 499 is never read.
        if public.status not in (405, 499) and (finds_things or public.status != 404):
            by_status.setdefault(public.status, []).append(public)
    return {
        str(status): describe_error(status, by_status[status], dialect.error_schema[0], dialect)
        for status in sorted(by_status)
    }


def describe_error(
    status: int, errors: Sequence[PublicError], schema_name: str, dialect: Dialect | None = None
) -> dict[str, Any]:
    """One status of failures, with the codes under which they come."""
    codes = ", ".join(dict.fromkeys(error.code for error in errors)) or "service_unavailable"
    told: dict[str, Schema] = {
        "X-Credits-Charged": {"type": "number", "const": 0},
        "X-Request-Id": TEXT,
    }
    if dialect:
        # As soon as the key is known.
        told |= RATE_HEADERS
    if status in (429, 503):
        told["Retry-After"] = {"type": "integer", "minimum": 1}
    return {
        "description": f"Codes: {codes}.",
        "headers": headers(aliased(dialect, told) if dialect else told),
        "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema_name}"}}},
    }


def public_error(dialect: Dialect, reason: Reason) -> PublicError:
    """How `dialect` tells `reason`."""
    return dialect.errors.get(reason) or PUBLIC_ERRORS[reason]


def _describe_formats(dialect: Dialect) -> str:
    parts = [f"One of {', '.join(dialect.formats)}."]
    if compositor_pb2.OUTPUT_FORMAT_AUTO in dialect.formats.values():
        parts.append("auto: PNG when the result has transparent pixels, else JPEG.")
    if dialect.max_png_pixels:
        parts.append(f"A PNG has at most {dialect.max_png_pixels // 1_000_000} megapixels, the others 50.")
    return " ".join(parts)


def _format_name(dialect: Dialect) -> str:
    return next(name for name, value in dialect.formats.items() if value == dialect.default_format)
