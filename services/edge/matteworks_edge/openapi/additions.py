"""Our own options of a removal, as the OpenAPI document tells them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from matteworks_edge.dialects.base import Schema
from matteworks_edge.fields.additions import QUALITIES
from matteworks_edge.openapi.schemas import BOOLEAN, TEXT

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
    "keep_metadata": {
        **BOOLEAN,
        "default": False,
        "description": "Ours: whether EXIF data, resolution and colour profile stay with the result.",
    },
    "crop_aspect_ratio": {
        **TEXT,
        "description": "Ours: crops, and adds room on two sides until the result has this ratio: W:H.",
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
}
