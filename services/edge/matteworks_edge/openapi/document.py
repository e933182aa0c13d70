"""The OpenAPI 3.1 document, built from the tables that the gateway itself works with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from matteworks_common.errors import Reason
from matteworks_edge.dialects.base import BGERASER, CLIPDROP, PHOTOROOM, REMOVE_BG, Dialect, ErrorStyle
from matteworks_edge.errors import PUBLIC_ERRORS, PublicError
from matteworks_edge.fields.parameters import CHANNELS, FORMATS, SUBJECT_TYPES, TYPE_LEVELS
from matteworks_edge.fields.shadows import SHADOW_SUBJECTS, SHADOW_TYPES

Schema = dict[str, Any]

_BOOLEAN: Final[Schema] = {
    "oneOf": [{"type": "boolean"}, {"type": "string", "enum": ["true", "false", "1", "0", ""]}]
}
_TEXT: Final[Schema] = {"type": "string", "maxLength": 8192}


def build_document(version: str) -> dict[str, Any]:
    """The whole document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Matteworks",
            "version": version,
            "summary": "Background removal with the interface of remove.bg v1.0.",
            "description": (
                'Every error, whatever its status, has the body `{"errors": [...]}` with at least one '
                "entry. Errors are never charged. Empty fields count as absent; unknown fields are ignored; "
                "of a field that comes twice the last value counts."
            ),
        },
        "security": [{"apiKey": []}, {"bearer": []}],
        "paths": {
            "/v1.0/removebg": {"post": _removal(REMOVE_BG, "removeBackground")},
            "/v1/removebg": {"post": _removal(BGERASER, "removeBackgroundBgeraser")},
            "/v1/segment": {"post": _removal(PHOTOROOM, "removeBackgroundPhotoroom")},
            "/remove-background/v1": {"post": _removal(CLIPDROP, "removeBackgroundClipdrop")},
            "/v1.0/account": {"get": _account(REMOVE_BG, "getAccount")},
            "/v1/account": {"get": _account(BGERASER, "getAccountBgeraser")},
            "/v1.0/improve": {"post": _improve(REMOVE_BG)},
            "/healthz": {"get": _health("isAlive", "The process answers.", [])},
            "/readyz": {"get": _health("isReady", "Removals can be served.", [503])},
        },
        "components": {
            "securitySchemes": {
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
            "schemas": {
                "Errors": _ERRORS,
                "ErrorDetail": _closed_object(
                    {"detail": _TEXT, "status_code": {"type": "integer"}, "type": _TEXT}
                ),
                "ErrorSentence": _closed_object({"error": _TEXT}),
                "Removal": _REMOVAL_JSON,
                "Account": _ACCOUNT,
            },
        },
    }


_ERRORS: Final[Schema] = {
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
}
_REMOVAL_JSON: Final[Schema] = {
    "type": "object",
    "required": ["data"],
    "additionalProperties": False,
    "properties": {
        "data": {
            "type": "object",
            "required": [
                "result_b64",
                "foreground_top",
                "foreground_left",
                "foreground_width",
                "foreground_height",
            ],
            "additionalProperties": False,
            "properties": {
                "result_b64": {"type": "string", "contentEncoding": "base64"},
                "foreground_top": {"type": "integer", "minimum": 0},
                "foreground_left": {"type": "integer", "minimum": 0},
                "foreground_width": {"type": "integer", "minimum": 0},
                "foreground_height": {"type": "integer", "minimum": 0},
            },
        }
    },
}


def _closed_object(properties: Mapping[str, Schema]) -> Schema:
    return {
        "type": "object",
        "required": list(properties),
        "additionalProperties": False,
        "properties": dict(properties),
    }


_ACCOUNT: Final[Schema] = _closed_object(
    {
        "data": _closed_object(
            {
                "attributes": _closed_object(
                    {
                        "credits": _closed_object(
                            {
                                name: {"type": "number", "minimum": 0}
                                for name in ("subscription", "payg", "enterprise", "total")
                            }
                        ),
                        "api": _closed_object(
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
    return {
        "image_url": {**_TEXT, "description": "Picture to fetch: http or https, public addresses only."},
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
            **_TEXT,
            "default": "auto",
            "examples": list(SUBJECT_TYPES),
            "description": "What the picture shows. Unknown words count as auto.",
        },
        "type_level": {
            **_TEXT,
            "default": "1",
            "examples": list(TYPE_LEVELS),
            "description": "How finely X-Type tells the detected type. Unknown words count as 1.",
        },
        "format": {
            "type": "string",
            "default": _format_name(dialect),
            "examples": list(FORMATS),
            "description": "auto: PNG when the result has transparent pixels, else JPEG. A PNG has at most "
            "10 megapixels, the others 50.",
        },
        "roi": {
            **_TEXT,
            "default": "0% 0% 100% 100%",
            "description": "Where the subject is looked for: x1 y1 x2 y2, each in px (unit optional) or %.",
        },
        "crop": {**_BOOLEAN, "default": False, "description": "Whether empty borders are cut off."},
        "crop_margin": {
            **_TEXT,
            "default": "0",
            "description": "Room around the crop: 1, 2 or 4 values in px or %, at most 500px or 50% a side.",
        },
        "scale": {
            **_TEXT,
            "default": "original",
            "description": "Size of the subject relative to the canvas: original, or 10% to 100%.",
        },
        "position": {
            **_TEXT,
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
            **_BOOLEAN,
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
            **_BOOLEAN,
            "default": True,
            "description": "Whether car windows become partly transparent.",
        },
        "bg_color": {
            **_TEXT,
            "description": "Colour behind the subject: 3, 4, 6 or 8 hexadecimal digits or a CSS name.",
        },
        "bg_image_url": {**_TEXT, "description": "Picture behind the subject, to fetch."},
    }


_BINARY: Final[Schema] = {
    "type": "string",
    "contentMediaType": "application/octet-stream",
    "format": "binary",
}
_IMPROVE_PARAMETERS: Final[dict[str, Schema]] = {
    "image_url": {**_TEXT, "description": "Picture to fetch."},
    "image_file_b64": {"type": "string", "description": "Picture in base64."},
    "image_filename": {"type": "string", "maxLength": 255, "description": "Your name for the picture."},
    "tag": {"type": "string", "maxLength": 100, "description": "Your name for a group of pictures."},
}


def _body(parameters: Mapping[str, Schema], files: Sequence[str]) -> dict[str, Any]:
    plain = {"type": "object", "properties": dict(parameters)}
    with_files = {**dict.fromkeys(files, _BINARY), **parameters}
    return {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": {"type": "object", "properties": with_files}},
            "application/x-www-form-urlencoded": {"schema": plain},
            "application/json": {"schema": plain},
        },
    }


def _removal(dialect: Dialect, operation_id: str) -> dict[str, Any]:
    return {
        "operationId": operation_id,
        "tags": [dialect.name],
        "summary": "Remove the background of a picture",
        "description": "Answers with the picture, or with JSON when Accept prefers application/json to "
        "any picture. Charged on success only.",
        "requestBody": _body(removal_parameters(dialect), ("image_file", "bg_image_file")),
        "responses": {
            "200": {
                "description": "The cut-out.",
                "headers": _headers(_result_headers(dialect)),
                "content": {
                    "image/png": {},
                    "image/jpeg": {},
                    "image/webp": {},
                    "application/zip": {},
                    **_json_result(dialect),
                },
            },
            **_errors(dialect),
        },
    }


def _json_result(dialect: Dialect) -> dict[str, Any]:
    if not dialect.json_name:
        return {}
    flat = _closed_object({dialect.json_name: {"type": "string", "contentEncoding": "base64"}})
    schema = {"$ref": "#/components/schemas/Removal"} if dialect.json_name == "data" else flat
    return {"application/json": {"schema": schema}}


def _account(dialect: Dialect, operation_id: str) -> dict[str, Any]:
    return {
        "operationId": operation_id,
        "tags": [dialect.name],
        "summary": "Balances of the account",
        "responses": {
            "200": {
                "description": "Credits and free calls left.",
                "headers": _headers({"X-Request-Id": _TEXT}),
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Account"}}},
            },
            **_errors(dialect),
        },
    }


def _improve(dialect: Dialect) -> dict[str, Any]:
    return {
        "operationId": "improve",
        "tags": [dialect.name],
        "summary": "Hand in a picture whose cut-out went wrong",
        "description": "Refused unless the operator has switched the collection on. 100 pictures a day.",
        "requestBody": _body(_IMPROVE_PARAMETERS, ("image_file",)),
        "responses": {
            "200": {
                "description": "Stored.",
                "headers": _headers({"X-Request-Id": _TEXT}),
                "content": {
                    "application/json": {
                        "schema": _closed_object({"id": {"type": "string", "format": "uuid"}})
                    }
                },
            },
            **_errors(dialect),
        },
    }


def _health(operation_id: str, summary: str, error_statuses: Sequence[int]) -> dict[str, Any]:
    return {
        "operationId": operation_id,
        "tags": ["health"],
        "summary": summary,
        "security": [],
        "responses": {
            "200": {
                "description": summary,
                "content": {"application/json": {"schema": _closed_object({"status": {"type": "string"}})}},
            },
            **{str(status): _error(status, []) for status in error_statuses},
        },
    }


def _result_headers(dialect: Dialect) -> dict[str, Schema]:
    whole = {"type": "integer", "minimum": 0}
    headers: dict[str, Schema] = {
        dialect.width_header: whole,
        dialect.height_header: whole,
        "X-Type": {"type": "string"},
        "X-Credits-Charged": {"type": "number", "minimum": 0},
        "X-RateLimit-Limit": whole,
        "X-RateLimit-Remaining": whole,
        "X-RateLimit-Reset": whole,
        "X-Repeated-Request": {"type": "string", "const": "true"},
        "X-Request-Id": _TEXT,
        "Server-Timing": _TEXT,
    }
    if dialect.has_foreground_box:
        headers |= {f"X-Foreground-{side}": whole for side in ("Top", "Left", "Width", "Height")}
    if dialect.has_max_size:
        headers |= {"X-Max-Width": whole, "X-Max-Height": whole}
    if dialect.has_uncertainty:
        headers["X-Uncertainty-Score"] = {"type": "number", "minimum": -1, "maximum": 1}
    if dialect.has_credit_figures:
        headers |= {"X-Credits-Consumed": {"type": "number", "minimum": 0}, "X-Remaining-Credits": whole}
    return headers


def _headers(schemas: Mapping[str, Schema]) -> dict[str, Any]:
    return {name: {"schema": schema} for name, schema in schemas.items()}


def _errors(dialect: Dialect) -> dict[str, Any]:
    by_status: dict[int, list[PublicError]] = {}
    for reason in PUBLIC_ERRORS:
        public = public_error(dialect, reason)
        # 404 and 405 belong to paths and methods that have no operation; 499 is never read.
        if public.status not in (404, 405, 499):
            by_status.setdefault(public.status, []).append(public)
    return {
        str(status): _error(status, by_status[status], dialect.error_style) for status in sorted(by_status)
    }


_ERROR_SCHEMAS: Final = {
    ErrorStyle.LIST: "Errors",
    ErrorStyle.DETAIL: "ErrorDetail",
    ErrorStyle.SENTENCE: "ErrorSentence",
}


def _error(status: int, errors: Sequence[PublicError], style: ErrorStyle = ErrorStyle.LIST) -> dict[str, Any]:
    codes = ", ".join(dict.fromkeys(error.code for error in errors)) or "service_unavailable"
    headers: dict[str, Schema] = {
        "X-Credits-Charged": {"type": "number", "const": 0},
        "X-Request-Id": _TEXT,
    }
    if status in (429, 503):
        headers["Retry-After"] = {"type": "integer", "minimum": 1}
    return {
        "description": f"Codes: {codes}.",
        "headers": _headers(headers),
        "content": {
            "application/json": {"schema": {"$ref": f"#/components/schemas/{_ERROR_SCHEMAS[style]}"}}
        },
    }


def public_error(dialect: Dialect, reason: Reason) -> PublicError:
    """How `dialect` tells `reason`."""
    return dialect.errors.get(reason) or PUBLIC_ERRORS[reason]


def _format_name(dialect: Dialect) -> str:
    return next(name for name, value in FORMATS.items() if value == dialect.default_format)
