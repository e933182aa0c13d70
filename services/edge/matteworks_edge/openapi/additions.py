"""Our own options of a removal, as the OpenAPI document tells them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from matteworks_edge.dialects.base import Schema
from matteworks_edge.fields.additions import HOLES, QUALITIES
from matteworks_edge.fields.outputs import MAX_OUTPUTS, OUTPUT_FIELDS
from matteworks_edge.openapi.schemas import BOOLEAN, TEXT, WHOLE, closed_object

ADDED_FIELDS: Final[Mapping[str, Schema]] = {
    "despill": {
        **BOOLEAN,
        "default": False,
        "description": "Ours: whether light of the old background is taken out of the subject's edges. On "
        "when despill_color or despill_strength is given.",
    },
    "despill_color": {
        **TEXT,
        "description": "Ours: that light's colour, 3 or 6 hexadecimal digits or a CSS name, not grey. "
        "Default: the background's own.",
    },
    "despill_strength": {
        "type": ["string", "integer"],
        "default": 100,
        "description": "Ours: how much of it is taken out, 0 to 100.",
    },
    "holes": {
        "type": "string",
        "examples": list(HOLES),
        "description": "Ours: what becomes of regions that the subject encloses: keep fills them, clear "
        "opens them where the background shows through. Default: as the network says.",
    },
    "keep_metadata": {
        **BOOLEAN,
        "default": False,
        "description": "Ours: whether EXIF data, resolution and colour profile stay with the result.",
    },
    "crop_aspect_ratio": {
        **TEXT,
        "description": "Ours: crops, and adds room on two sides until the result has this ratio: W:H.",
    },
    "max_side": {
        "type": ["string", "integer"],
        "description": "Ours: pixels that the longer side of the result may have.",
    },
    "quality": {
        "type": "string",
        "default": "auto",
        "examples": list(QUALITIES),
        "description": "Ours: how much time the matte may cost: fast, balanced, best; auto: the "
        "server's setting.",
    },
    "model": {
        **TEXT,
        "default": "auto",
        "description": "Ours: name of the network that makes the matte. The same picture, fields and model "
        "give the same bytes. X-Model tells which one was used; a wrong name is refused with the list.",
    },
    "outputs": {
        "oneOf": [
            TEXT,
            {
                "type": "array",
                "minItems": 1,
                "maxItems": MAX_OUTPUTS,
                "items": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {"name": {"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,31}$"}},
                },
            },
        ],
        "description": "Ours: several results of one matte for the price of one. JSON: a list of 1 to "
        f"{MAX_OUTPUTS} objects, each with a name and any of {', '.join(sorted(OUTPUT_FIELDS))}. What one "
        "does not name is taken from the form.",
    },
    "outputs_as": {
        **TEXT,
        "examples": ["zip", "multipart", "json", "urls"],
        "description": "Ours: how they come: a ZIP of NAME.SUFFIX, multipart/mixed, JSON with base64, or "
        "JSON with signed URLs of stored results. By default as Accept says, else a ZIP.",
    },
    "dry_run": {
        **BOOLEAN,
        "default": False,
        "description": "Ours: only check everything and tell price, size and balance in JSON. Costs nothing.",
    },
}
_EXTENT: Final[Schema] = {"width": {"type": ["integer", "null"]}, "height": {"type": ["integer", "null"]}}
# What is told of a dry run.
PREVIEW_DOCUMENT: Final[Schema] = closed_object(
    {
        "data": closed_object(
            {
                "dry_run": {"const": True},
                "credits": {"type": "number", "minimum": 0},
                "free_call": {"type": "boolean"},
                "repeat": {"type": "boolean"},
                **_EXTENT,
                "outputs": {"type": "array", "items": closed_object({"name": TEXT, **_EXTENT})},
                "balance": closed_object({"credits": {"type": "number"}, "free_calls": WHOLE}),
            }
        )
    }
)
_OUTPUT: Final[Schema] = {"name": TEXT, "content_type": TEXT, "width": WHOLE, "height": WHOLE}
_BASE64: Final[Schema] = {"type": "string", "contentEncoding": "base64"}
# What is told in JSON when `outputs` is given.
OUTPUTS_DOCUMENT: Final[Schema] = closed_object(
    {
        "data": closed_object(
            {
                "outputs": {
                    "type": "array",
                    "items": {
                        "oneOf": [
                            closed_object({**_OUTPUT, "result_b64": _BASE64}),
                            closed_object({**_OUTPUT, "url": TEXT, "result_id": TEXT, "expires_at": TEXT}),
                        ]
                    },
                },
                "foreground_top": WHOLE,
                "foreground_left": WHOLE,
                "foreground_width": WHOLE,
                "foreground_height": WHOLE,
            }
        )
    }
)
