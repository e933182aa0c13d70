"""Whether a caller wants JSON or the picture itself, from its Accept header.

JSON is given only to who asks for it more than for anything else: `application/json` is acceptable and
no `image/*`, `application/zip` or `*/*` range has a quality as high. So `application/json` alone means
JSON, and `application/json, text/plain, */*`, which one wide-spread client sends for everything, does not.
"""

from __future__ import annotations

import re

_QUALITY = re.compile(r"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")
_MAX_RANGES = 64


def prefers_json(accept: str | None) -> bool:
    """Whether the answer is JSON. A missing or unreadable header means bytes."""
    json_quality = 0.0
    bytes_quality = 0.0
    for part in (accept or "").lower().split(",")[:_MAX_RANGES]:
        media_range, *parameters = (piece.strip() for piece in part.split(";"))
        quality = _quality_of(parameters)
        if media_range == "application/json":
            json_quality = max(json_quality, quality)
        elif media_range.startswith("image/") or media_range in ("application/zip", "*/*"):
            bytes_quality = max(bytes_quality, quality)
    return json_quality > 0 and json_quality > bytes_quality


def accepts(accept: str | None, media_type: str) -> bool:
    """Whether `media_type` is named in so many words, and not refused."""
    for part in (accept or "").lower().split(",")[:_MAX_RANGES]:
        media_range, *parameters = (piece.strip() for piece in part.split(";"))
        if media_range == media_type and _quality_of(parameters) > 0:
            return True
    return False


def preferred_picture(accept: str | None) -> str:
    """`png`, `webp` or `jpeg`, whichever is liked best; png when it is a draw or nothing is said."""
    qualities = dict.fromkeys(("png", "webp", "jpeg"), 0.0)
    for part in (accept or "").lower().split(",")[:_MAX_RANGES]:
        media_range, *parameters = (piece.strip() for piece in part.split(";"))
        name = media_range.removeprefix("image/")
        if media_range.startswith("image/") and name in qualities:
            qualities[name] = max(qualities[name], _quality_of(parameters))
    return max(qualities, key=lambda name: qualities[name])


def _quality_of(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            value = value.strip()
            return float(value) if _QUALITY.fullmatch(value) else 0.0
    return 1.0
