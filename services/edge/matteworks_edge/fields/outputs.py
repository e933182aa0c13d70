"""`outputs`: several results of one matte, each with fields of its own; and how they are told."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from matteworks.compositor.v1 import compositor_pb2
from matteworks_common.errors import InvalidField
from matteworks_edge.fields.reader import Fields
from matteworks_edge.intake.body import RawForm, form_of

__all__ = ["MAX_OUTPUTS", "OUTPUT_FIELDS", "Packing", "WantedOutput", "read_outputs", "read_packing"]

MAX_OUTPUTS: Final = 8
# What may differ between results of one matte. The rest of the form belongs to all of them.
OUTPUT_FIELDS: Final = frozenset(
    {
        "format", "channels", "crop", "crop_margin", "crop_aspect_ratio", "scale", "position", "max_side",
        "add_shadow", "shadow_type", "shadow_opacity", "semitransparency", "bg_color", "despill",
        "despill_color", "despill_strength", "holes", "keep_metadata",
    }
)  # fmt: skip
Packing = Literal["zip", "multipart", "json", "urls"]
_PACKINGS: Final[dict[str, Packing]] = {
    "zip": "zip",
    "multipart": "multipart",
    "json": "json",
    "urls": "urls",
}
# Safe as a file's name everywhere: some systems keep the second kind for devices.
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_DEVICES: Final = re.compile(r"con|prn|aux|nul|com[0-9]|lpt[0-9]")
_REMEDY: Final = (
    'Give a list such as [{"name": "full"}, {"name": "thumb", "format": "jpg", "max_side": 256}].'
)


@dataclass(frozen=True, slots=True)
class WantedOutput:
    """One result. `takes_background`: the form's background picture lies behind it."""

    name: str
    options: compositor_pb2.RenderOptions
    takes_background: bool


def read_outputs(
    form: RawForm, fields: Fields, read_options: Callable[[Fields], compositor_pb2.RenderOptions]
) -> tuple[WantedOutput, ...]:
    """1 to 8 results; none when the field is absent. A field that one does not have is that of the form.

    What is wrong is kept in `fields`, as `outputs[1].format`.
    """
    text = fields.text("outputs")
    if text is None:
        return ()
    given = fields.collect(lambda: _parse(text)) or []
    wanted = []
    for index, document in enumerate(given):
        own = form_of(document, form.rules)
        named = {name.partition("[")[0] for name in document}
        inner = Fields(_inheriting(form, own, named))
        name = inner.collect(lambda own=own: _name(own.texts.get("name", "")))  # type: ignore[misc]
        if strange := sorted(named - OUTPUT_FIELDS - {"name"}):
            inner.errors.append(
                InvalidField(strange[0][:64], f"Give only {', '.join(sorted(OUTPUT_FIELDS))} and name.")
            )
        options = read_options(inner)
        has_own_background = "bg_color" in own.texts or options.channels == compositor_pb2.CHANNELS_ALPHA
        for error in inner.errors:
            error.field = f"outputs[{index}].{error.field}"
            error.message = f"outputs[{index}]: {error.message}"
        fields.errors += inner.errors
        wanted.append(WantedOutput(name or "", options, not has_own_background))
    names = [output.name for output in wanted]
    if len(set(names)) < len(names) and not fields.errors:
        fields.errors.append(InvalidField("outputs", "Give every output a name of its own."))
    return tuple(wanted)


def read_packing(fields: Fields) -> Packing | None:
    """How the results come; None: as the Accept header says."""
    return fields.read("outputs_as", _parse_packing, None)


def _parse_packing(text: str) -> Packing:
    packing = _PACKINGS.get(text.strip().lower())
    if packing is None:
        raise InvalidField("outputs_as", f"Give one of {', '.join(_PACKINGS)}.")
    return packing


def _parse(text: str) -> list[dict[str, object]]:
    try:
        # Numbers stay text, as in a JSON body: their grammar is the field's.
        given = json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError) as error:
        raise InvalidField("outputs", _REMEDY) from error
    if not isinstance(given, list) or not all(isinstance(entry, dict) for entry in given):
        raise InvalidField("outputs", _REMEDY)
    if not 1 <= len(given) <= MAX_OUTPUTS:
        raise InvalidField("outputs", f"Give 1 to {MAX_OUTPUTS} outputs. {_REMEDY}")
    return given


def _inheriting(form: RawForm, own: RawForm, named: set[str]) -> RawForm:
    """The output's own fields, and the form's where it names none."""
    inherited = {
        name: text
        for name, text in form.texts.items()
        if (base := name.partition("[")[0]) == "roi" or (base in OUTPUT_FIELDS and base not in named)
    }
    return RawForm(inherited | own.texts, rules=form.rules)


def _name(text: str) -> str:
    if not _NAME.fullmatch(text) or _DEVICES.fullmatch(text):
        raise InvalidField(
            "name", "Give a name of 1 to 32 small letters, digits, - and _, not that of a device."
        )
    return text
