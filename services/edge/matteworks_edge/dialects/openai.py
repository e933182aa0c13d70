"""OpenAI's images/edits at /v1/images/edits: erase and fill, for clients that take a base URL."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from typing import Any, Final

from matteworks.auth.v1 import plan_pb2
from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.compositor.v1 import compositor_pb2, edit_pb2
from matteworks_common.settings import MEBIBYTE
from matteworks_edge.dialects.base import Dialect, Endpoint
from matteworks_edge.errors import ErrorAnswer, PublicError
from matteworks_edge.fields.edits import read_mask
from matteworks_edge.fields.images_edits import ERASE_MODEL, FILL_MODEL, read_output, read_words
from matteworks_edge.fields.reader import Fields
from matteworks_edge.intake.body import RawForm
from matteworks_edge.openapi.schemas import TEXT, WHOLE, closed_object
from matteworks_edge.operations.catalogue import told_edit
from matteworks_edge.operations.editing.tools import Tool, Work, fill_work
from matteworks_edge.operations.stored.cutout import StoredCutout
from matteworks_removal.edits import EditedPicture
from matteworks_removal.offers import Size

# As long as OpenAI's URLs work.
_HOUR_S: Final = 3600.0
_FULL: Final = Size(1000, max_pixels=50_000_000)
_FORMATS: Final = {
    "png": compositor_pb2.OUTPUT_FORMAT_PNG,
    "jpeg": compositor_pb2.OUTPUT_FORMAT_JPEG,
    "jpg": compositor_pb2.OUTPUT_FORMAT_JPEG,
    "webp": compositor_pb2.OUTPUT_FORMAT_WEBP,
}
_FORMAT_NAMES: Final = {
    compositor_pb2.OUTPUT_FORMAT_PNG: "png",
    compositor_pb2.OUTPUT_FORMAT_JPEG: "jpeg",
    compositor_pb2.OUTPUT_FORMAT_WEBP: "webp",
}
# Names by which OpenAI's callers know what we call otherwise.
_PARAMETERS: Final[Mapping[str, str]] = {
    "image_file": "image",
    "mask_file": "mask",
    "mask_image": "mask",
    "format": "output_format",
    "output.size": "size",
}
_TYPES: Final = {429: "rate_limit_error"}
_KEY_INVALID: Final = PublicError(401, "invalid_api_key", "Incorrect API key provided")
_QUOTA: Final = PublicError(429, "insufficient_quota", "You exceeded your current quota")


def _read(fields: Fields, form: RawForm, output: edit_pb2.EditOutput) -> Work:
    written = read_output(fields, output.format)
    prompt = read_words(fields)
    # Without a mask the picture's own transparency says where.
    mask = read_mask(form) if "mask_file" in form.files else None
    return fill_work(prompt, mask, written, edit_pb2.MASK_RULE_TRANSPARENT)


def _facts(format_: compositor_pb2.OutputFormat.ValueType, width_px: int, height_px: int) -> dict[str, Any]:
    return {"output_format": _FORMAT_NAMES[format_], "size": f"{width_px}x{height_px}"}


def _by_url(cutout: StoredCutout) -> dict[str, Any]:
    facts = _facts(cutout.format, cutout.width_px, cutout.height_px)
    return {"created": int(time.time()), "data": [{"url": cutout.result.url}], **facts}


def _in_base64(picture: EditedPicture) -> bytes:
    facts = json.dumps(_facts(picture.format, picture.width_px, picture.height_px))
    # Joined by hand: the text may have many megabytes, and base64 needs no escaping.
    return b"".join(
        (
            f'{{"created":{int(time.time())},"data":[{{"b64_json":"'.encode(),
            base64.b64encode(picture.content),
            b'"}],',
            facts[1:].encode(),
        )
    )


def _is_inline(fields: Fields) -> bool:
    return (fields.text("response_format") or "b64_json").strip() == "b64_json"


def _error_document(answer: ErrorAnswer) -> object:
    first = answer.errors[0]
    usual = "server_error" if answer.status >= 500 else "invalid_request_error"
    return {
        "error": {
            "message": first.get("detail") or first["title"],
            "type": _TYPES.get(answer.status, usual),
            "param": _PARAMETERS.get(answer.field, answer.field) or None,
            "code": first["code"],
        }
    }


_NULLABLE: Final = {"type": ["string", "null"]}
_DATA: Final = {
    "type": "array",
    "minItems": 1,
    "maxItems": 1,
    "items": {"type": "object", "properties": {"b64_json": {"type": "string"}, "url": TEXT}},
}
_RESULT: Final = closed_object(
    {"created": WHOLE, "data": _DATA, "output_format": {"enum": ["png", "jpeg", "webp"]}, "size": TEXT}
)
_TOOL: Final = Tool(
    "images_edits",
    "Erase or paint a part of a picture",
    _read,
    {
        "prompt": {
            **TEXT,
            "description": "What to paint, at most 1,000 characters; needs a generative server. Empty, or "
            "the word erase: filled from the surroundings.",
        },
        "model": {
            **TEXT,
            "examples": [ERASE_MODEL, FILL_MODEL],
            "description": f"{ERASE_MODEL} fills from the surroundings, whatever the prompt; every other "
            "name follows the prompt.",
        },
        "size": {**TEXT, "default": "auto", "description": "auto, or WIDTHxHEIGHT of the picture's ratio."},
        "response_format": {**TEXT, "default": "b64_json", "description": "b64_json or url."},
        "output_compression": {**TEXT, "description": "0 to 100, of jpeg and webp; 100 is the best."},
        "background": {**TEXT, "default": "auto", "description": "auto, opaque (on white) or transparent."},
        "n": {**TEXT, "default": "1", "description": "1."},
    },
    ("mask",),
)
OPENAI: Final = Dialect(
    name="openai",
    prefix="/openai",
    endpoints=(
        Endpoint(
            "POST",
            "/v1/images/edits",
            told_edit(_TOOL, _by_url, _in_base64, _is_inline, _RESULT, _HOUR_S),
            "createImageEdit",
        ),
    ),
    default_size="full",
    default_format=compositor_pb2.OUTPUT_FORMAT_PNG,
    sizes={"full": _FULL},
    preview=_FULL,
    formats=_FORMATS,
    width_header="X-Width",
    height_header="X-Height",
    key_header="X-Api-Key",
    max_file_bytes=50 * MEBIBYTE,
    known_fields=frozenset(),
    field_names={
        "image": "image_file",
        "image[]": "image_file",
        "mask": "mask_file",
        "output_format": "format",
    },
    error_document=_error_document,
    error_schema=(
        "OpenAiError",
        closed_object(
            {"error": closed_object({"message": TEXT, "type": TEXT, "param": _NULLABLE, "code": TEXT})}
        ),
    ),
    errors={
        reasons.ERROR_REASON_KEY_MISSING: PublicError(
            401, "invalid_api_key", "You didn't provide an API key"
        ),
        reasons.ERROR_REASON_KEY_INVALID: _KEY_INVALID,
        reasons.ERROR_REASON_ACCOUNT_NOT_FOUND: _KEY_INVALID,
        reasons.ERROR_REASON_KEY_NOT_FOUND: _KEY_INVALID,
        reasons.ERROR_REASON_INSUFFICIENT_CREDITS: _QUOTA,
        reasons.ERROR_REASON_QUOTA_EXCEEDED: _QUOTA,
        reasons.ERROR_REASON_FILE_TOO_LARGE: PublicError(
            413, "file_too_large", "The file is too large", "The file has more than {limit_mb} MB"
        ),
    },
    rate_unit=plan_pb2.RATE_UNIT_REQUESTS,
)
