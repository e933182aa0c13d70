"""Fields of OpenAI's images/edits beside the pictures and the prompt."""

from __future__ import annotations

import re
from typing import Final

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.compositor.v1 import compositor_pb2, edit_pb2
from matteworks_common.errors import InvalidField
from matteworks_edge.fields.edits import read_prompt
from matteworks_edge.fields.parameters import parse_whole_number
from matteworks_edge.fields.reader import Fields

__all__ = ["ERASE_MODEL", "FILL_MODEL", "read_output", "read_words"]

# Fills from the surroundings, whatever the prompt, which OpenAI's clients must send.
ERASE_MODEL: Final = "matteworks-erase"
FILL_MODEL: Final = "matteworks-fill"
# The one word that is no picture to paint.
_ERASE: Final = "erase"
_SIZE: Final = re.compile(r"([0-9]{1,5})x([0-9]{1,5})")
_LOSSY: Final = (compositor_pb2.OUTPUT_FORMAT_JPEG, compositor_pb2.OUTPUT_FORMAT_WEBP)
_BACKGROUNDS: Final = ("auto", "opaque", "transparent")
_ANSWERS: Final = ("b64_json", "url")


def read_words(fields: Fields) -> str:
    """What to paint; empty: fill from the surroundings. What is wrong is kept in `fields`."""
    prompt = read_prompt(fields)
    is_erase = (fields.text("model") or "").strip() == ERASE_MODEL
    return "" if is_erase or prompt.rstrip(".").lower() == _ERASE else prompt


def read_output(fields: Fields, format_: compositor_pb2.OutputFormat.ValueType) -> edit_pb2.EditOutput:
    """How the result is to be written. What is wrong is kept in `fields`."""
    output = edit_pb2.EditOutput(format=format_)
    size = fields.read("size", _parse_size, None)
    if size is not None:
        output.size.width_px, output.size.height_px = size
    quality = fields.read(
        "output_compression", lambda text: parse_whole_number("output_compression", text, 0, 100), None
    )
    if quality is not None and format_ in _LOSSY:
        output.encoding_quality = max(1, quality)
    background = fields.read("background", lambda text: _one_of("background", text, _BACKGROUNDS), "auto")
    output.is_opaque = background == "opaque"
    if background == "transparent" and format_ == compositor_pb2.OUTPUT_FORMAT_JPEG:
        fields.errors.append(InvalidField("background", "JPEG has no transparency: ask for png or webp."))
    fields.read("n", lambda text: _only("n", text, "1"), "1")
    fields.read("stream", lambda text: _only("stream", text, "false"), "false")
    fields.read("response_format", lambda text: _one_of("response_format", text, _ANSWERS), "b64_json")
    return output


def _parse_size(text: str) -> tuple[int, int] | None:
    if text.strip() == "auto":
        return None
    match = _SIZE.fullmatch(text.strip())
    if match is None or not (int(match[1]) and int(match[2])):
        raise InvalidField(
            "size",
            "Give auto, the picture's own size, or WIDTHxHEIGHT of the same ratio.",
            reason=reasons.ERROR_REASON_INVALID_SIZE,
        )
    return int(match[1]), int(match[2])


def _one_of(field: str, text: str, words: tuple[str, ...]) -> str:
    if text.strip() not in words:
        raise InvalidField(field, f"Give {', '.join(words[:-1])} or {words[-1]}.")
    return text.strip()


def _only(field: str, text: str, word: str) -> str:
    if text.strip().lower() != word:
        raise InvalidField(field, f"The only value served is {word}.")
    return word
