"""Fields of the editing tools to the requests of the service that edits."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from matteworks.compositor.v1 import compositor_pb2, edit_pb2
from matteworks_common.errors import InvalidField
from matteworks_edge.fields.parameters import parse_length, parse_ratio, parse_whole_number
from matteworks_edge.fields.reader import Fields
from matteworks_edge.intake.body import UNUSABLE, RawForm
from matteworks_removal.sources import SentPicture

_SIDES: Final = ("left", "top", "right", "bottom")
_BOX: Final = ("x", "y", "width", "height")
_RESULT_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_RESULT_PATH: Final = re.compile(r"/results/([A-Za-z0-9_-]{1,64})")
MAX_PROMPT_CHARACTERS: Final = 1000
MAX_BORDER_PX: Final = 16_384
MAX_TARGET_PX: Final = 16_384
_TARGETS: Final = ("target_width", "target_height")
_SCALES: Final = {"2": 2, "4": 4}


def read_crop(fields: Fields) -> edit_pb2.CropRequest:
    """`x`, `y`, `width`, `height` in px or %; or `aspect_ratio`; or `mode=auto` with `margin`; one of the
    three. What is wrong is kept in `fields`.
    """
    request = edit_pb2.CropRequest()
    forms = [
        any(fields.text(name) is not None for name in _BOX),
        fields.text("aspect_ratio") is not None,
        fields.text("mode") is not None,
    ]
    if sum(forms) != 1:
        fields.errors.append(
            InvalidField("x", "Give x, y, width and height, or aspect_ratio, or mode=auto; one of the three.")
        )
    elif forms[0]:
        box = fields.collect(lambda: _parse_box(fields))
        if box is not None:
            request.box.CopyFrom(box)
    elif forms[1]:
        request.aspect_ratio.CopyFrom(fields.read("aspect_ratio", parse_ratio, request.aspect_ratio))
    else:
        if (fields.text("mode") or "").strip().lower() != "auto":
            fields.errors.append(InvalidField("mode", "The only mode is auto: the box of the subject."))
        margin = fields.read("margin", lambda text: parse_length("margin", text), compositor_pb2.Length(px=0))
        request.subject.CopyFrom(
            compositor_pb2.Crop(
                margin_top=margin, margin_right=margin, margin_bottom=margin, margin_left=margin
            )
        )
    return request


def read_expand(fields: Fields) -> edit_pb2.ExpandRequest:
    """`left`, `right`, `top`, `bottom` in px, one above 0; or `aspect_ratio`. What is wrong is kept in
    `fields`.
    """
    request = edit_pb2.ExpandRequest()
    pixels = {side: _read_pixels(fields, side) for side in _SIDES}
    has_sides = any(fields.text(side) is not None for side in _SIDES)
    if has_sides == (fields.text("aspect_ratio") is not None):
        fields.errors.append(
            InvalidField("left", "Give left, right, top and bottom in pixels, or aspect_ratio; one of both.")
        )
    elif has_sides:
        if not any(pixels.values()):
            fields.errors.append(InvalidField("left", "Give at least one side more than 0 pixels."))
        request.borders.CopyFrom(edit_pb2.Borders(**{f"{side}_px": count for side, count in pixels.items()}))
    else:
        request.aspect_ratio.CopyFrom(fields.read("aspect_ratio", parse_ratio, request.aspect_ratio))
    return request


def read_upscale(fields: Fields) -> edit_pb2.UpscaleRequest:
    """`scale`, 2 (also when nothing is given) or 4; or `target_width`, `target_height` or both, in px. What
    is wrong is kept in `fields`.
    """
    request = edit_pb2.UpscaleRequest()
    if any(fields.text(name) is not None for name in _TARGETS):
        if fields.text("scale") is not None:
            fields.errors.append(
                InvalidField("scale", "Give scale, or target_width and target_height; one of both.")
            )
        width_px, height_px = (_read_target(fields, name) for name in _TARGETS)
        request.bounds.CopyFrom(edit_pb2.Bounds(width_px=width_px, height_px=height_px))
    else:
        request.factor = fields.read("scale", _parse_scale, 2)
    return request


def read_put_back(fields: Fields) -> edit_pb2.PutBackRequest:
    """`left` and `top` in px, both or none of them, and `fill`. What is wrong is kept in `fields`."""
    request = edit_pb2.PutBackRequest(fill_old_subject=fields.boolean("fill", default=False))
    are_given = {side: fields.text(side) is not None for side in ("left", "top")}
    if any(are_given.values()):
        if not all(are_given.values()):
            fields.errors.append(InvalidField("left", "Give left and top, both or none of them."))
        request.place.CopyFrom(
            edit_pb2.Place(left_px=_read_pixels(fields, "left"), top_px=_read_pixels(fields, "top"))
        )
    return request


def read_prompt(fields: Fields) -> str:
    """What to paint; empty where nothing says it. What is wrong is kept in `fields`."""
    return fields.read("prompt", _parse_prompt, "")


def parse_result(field: str, text: str) -> str:
    """The id of a stored result, named by it or by the URL that was handed out.

    Whose result it is, and whether it is there, only the store knows; a URL's signature is not needed, since
    the account must own the result. Raises InvalidField.
    """
    value = text.strip()
    if _RESULT_ID.fullmatch(value):
        return value
    try:
        found = _RESULT_PATH.fullmatch(urlsplit(value).path)
    except ValueError:
        found = None
    if found is None:
        raise InvalidField(field, f"Give the id of a stored result in {field}, or its URL.")
    return found[1]


def _parse_prompt(text: str) -> str:
    prompt = text.strip()
    if len(prompt) > MAX_PROMPT_CHARACTERS or prompt == UNUSABLE:
        raise InvalidField("prompt", f"Give at most {MAX_PROMPT_CHARACTERS} characters.")
    return prompt


def read_mask(form: RawForm, field: str = "mask_file") -> SentPicture:
    """The picture that says where. Raises InvalidField when it is missing."""
    return _read_file(form, field, f"Send a picture of the same size in {field}.")


def read_edited(form: RawForm) -> SentPicture:
    """The subject that was edited elsewhere. Raises InvalidField when it is missing."""
    return _read_file(form, "edited_file", "Send the edited subject in edited_file, transparent around it.")


def _read_file(form: RawForm, field: str, remedy: str) -> SentPicture:
    content = form.files.get(field)
    if content is None:
        raise InvalidField(field, remedy)
    return SentPicture(field, content)


def _read_pixels(fields: Fields, side: str) -> int:
    return fields.read(side, lambda text: parse_whole_number(side, text, 0, MAX_BORDER_PX), 0)


def _read_target(fields: Fields, name: str) -> int:
    return fields.read(name, lambda text: parse_whole_number(name, text, 1, MAX_TARGET_PX), 0)


def _parse_scale(text: str) -> int:
    scale = _SCALES.get(text.strip())
    if scale is None:
        raise InvalidField("scale", "Give 2 or 4 for scale; for another size, target_width or target_height.")
    return scale


def _parse_box(fields: Fields) -> compositor_pb2.Region:
    lengths = []
    for name in _BOX:
        text = fields.text(name)
        if text is None:
            raise InvalidField(name, "Give all of x, y, width and height.")
        lengths.append(parse_length(name, text))
    left, top, width, height = lengths
    return compositor_pb2.Region(
        left=left, top=top, right=_sum("width", left, width), bottom=_sum("height", top, height)
    )


def _sum(field: str, start: compositor_pb2.Length, extent: compositor_pb2.Length) -> compositor_pb2.Length:
    kinds = {start.WhichOneof("value"), extent.WhichOneof("value")}
    if kinds == {"percent"}:
        return compositor_pb2.Length(percent=start.percent + extent.percent)
    if kinds == {"px"}:
        return compositor_pb2.Length(px=start.px + extent.px)
    other = "x" if field == "width" else "y"
    raise InvalidField(field, f"Give {other} and {field} in the same unit, px or %.")
