"""The editing tools: what each reads from a form, and which call does it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from matteworks.compositor.v1 import compositor_pb2, edit_pb2
from matteworks_common.errors import InvalidField
from matteworks_edge.dialects.base import Schema
from matteworks_edge.fields.edits import (
    MAX_TARGET_PX,
    parse_result,
    read_crop,
    read_edited,
    read_expand,
    read_mask,
    read_prompt,
    read_put_back,
    read_upscale,
)
from matteworks_edge.fields.points import read_selection
from matteworks_edge.fields.reader import Fields
from matteworks_edge.fields.strokes import parse_strokes, read_mode
from matteworks_edge.intake.body import RawForm
from matteworks_edge.openapi.schemas import TEXT, WHOLE
from matteworks_removal.clients import EditClient
from matteworks_removal.edits import EditedPicture
from matteworks_removal.sources import PictureSource

__all__ = [
    "BRUSH",
    "CROP",
    "EXPAND",
    "FILL",
    "MASK",
    "PUT_BACK",
    "SELECT",
    "SELECT_ONE",
    "UPSCALE",
    "Tool",
    "Work",
]

# The name of the grey PNG that a selection adds to its cut-out.
MASK: Final = "mask"


@dataclass(frozen=True, slots=True)
class Work:
    """What a form asks of a tool. `perform` gets the picture and those in `others`, by their names."""

    perform: Callable[[EditClient, bytes, Mapping[str, bytes]], Awaitable[EditedPicture]]
    parameters: bytes
    others: Mapping[str, PictureSource] = field(default_factory=dict)
    # Further pictures that are stored results of the caller's account: their ids, by name.
    stored: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tool:
    """`read` keeps what is wrong in the fields, or raises it. `fields` and `files` describe the form."""

    name: str
    summary: str
    read: Callable[[Fields, RawForm, edit_pb2.EditOutput], Work]
    fields: Mapping[str, Schema]
    files: tuple[str, ...] = ()


def _read_crop(fields: Fields, _: RawForm, output: edit_pb2.EditOutput) -> Work:
    request = read_crop(fields)
    request.output.CopyFrom(output)

    async def perform(editor: EditClient, image: bytes, _: Mapping[str, bytes]) -> EditedPicture:
        sent = edit_pb2.CropRequest()
        sent.CopyFrom(request)
        sent.image = image
        return EditedPicture.from_proto((await editor.crop(sent)).picture)

    return Work(perform, request.SerializeToString(deterministic=True))


def _read_expand(fields: Fields, _: RawForm, output: edit_pb2.EditOutput) -> Work:
    request = read_expand(fields)
    request.prompt = read_prompt(fields)
    request.output.CopyFrom(output)

    async def perform(editor: EditClient, image: bytes, _: Mapping[str, bytes]) -> EditedPicture:
        sent = edit_pb2.ExpandRequest()
        sent.CopyFrom(request)
        sent.image = image
        return EditedPicture.from_proto((await editor.expand(sent)).picture)

    return Work(perform, request.SerializeToString(deterministic=True))


def _read_fill(fields: Fields, form: RawForm, output: edit_pb2.EditOutput) -> Work:
    prompt = read_prompt(fields)
    mask = fields.collect(lambda: read_mask(form))
    return fill_work(prompt, mask, output)


def fill_work(
    prompt: str,
    mask: PictureSource | None,
    output: edit_pb2.EditOutput,
    rule: edit_pb2.MaskRule.ValueType = edit_pb2.MASK_RULE_UNSPECIFIED,
) -> Work:
    """Painted as `prompt` says, or, when it is empty, filled from the surroundings."""

    async def perform(editor: EditClient, image: bytes, others: Mapping[str, bytes]) -> EditedPicture:
        content = others.get("mask_file", b"")
        if prompt:
            asked = edit_pb2.FillRequest(
                image=image, mask_image=content, mask_rule=rule, prompt=prompt, output=output
            )
            return EditedPicture.from_proto((await editor.fill(asked)).picture)
        request = edit_pb2.EraseRequest(image=image, mask_image=content, mask_rule=rule, output=output)
        return EditedPicture.from_proto((await editor.erase(request)).picture)

    others: dict[str, PictureSource] = {} if mask is None else {"mask_file": mask}
    asked = edit_pb2.FillRequest(prompt=prompt, mask_rule=rule, output=output)
    return Work(perform, asked.SerializeToString(deterministic=True), others)


def _read_brush(fields: Fields, form: RawForm, output: edit_pb2.EditOutput) -> Work:
    kind = read_mode(fields)
    request = edit_pb2.CorrectRequest(options=compositor_pb2.RenderOptions(format=output.format))
    others: dict[str, PictureSource] = {}
    has_mask, text = "mask_file" in form.files, fields.text("strokes")
    if has_mask == (text is not None):
        fields.errors.append(InvalidField("strokes", "Give strokes, or a mask in mask_file; one of both."))
    elif has_mask:
        request.mask_kind = kind
        others["mask_file"] = read_mask(form)
    else:
        request.strokes.extend(fields.collect(lambda: parse_strokes(text or "", kind)) or [])
    matte = fields.read("matte", lambda text: parse_result("matte", text), None)
    if kind == edit_pb2.STROKE_KIND_KEEP and fields.text("matte") is None:
        original = fields.collect(lambda: read_mask(form, "original_file"))
        if original is not None:
            others["original_file"] = original

    async def perform(editor: EditClient, image: bytes, others: Mapping[str, bytes]) -> EditedPicture:
        sent = edit_pb2.CorrectRequest()
        sent.CopyFrom(request)
        if "mask_file" in others:
            sent.mask_image = others["mask_file"]
        if "matte" in others:
            sent.image, sent.matte_image = image, others["matte"]
        elif "original_file" in others:
            # The cut-out says what is there now; the colours of what comes back are the original's.
            sent.image, sent.matte_image = others["original_file"], image
        else:
            sent.image, sent.own_alpha = image, True
        rendering = (await editor.correct(sent)).rendering
        return EditedPicture(
            rendering.image, rendering.format, rendering.size.width_px, rendering.size.height_px
        )

    stored = {} if matte is None else {"matte": matte}
    return Work(perform, request.SerializeToString(deterministic=True), others, stored)


def _read_select(fields: Fields, _: RawForm, output: edit_pb2.EditOutput) -> Work:
    request = read_selection(fields)
    request.options.format = output.format

    async def perform(editor: EditClient, image: bytes, _: Mapping[str, bytes]) -> EditedPicture:
        sent = edit_pb2.SelectRequest()
        sent.CopyFrom(request)
        sent.image = image
        answer = await editor.select(sent)
        if not answer.cutouts:
            return _selected(answer.rendering, answer.matte_image)
        first, *more = (_selected(one.rendering, one.matte_image, one.number) for one in answer.cutouts)
        return replace(first, more=more)

    return Work(perform, request.SerializeToString(deterministic=True))


def _read_upscale(fields: Fields, _: RawForm, output: edit_pb2.EditOutput) -> Work:
    request = read_upscale(fields)
    request.output.CopyFrom(output)

    async def perform(editor: EditClient, image: bytes, _: Mapping[str, bytes]) -> EditedPicture:
        sent = edit_pb2.UpscaleRequest()
        sent.CopyFrom(request)
        sent.image = image
        answer = await editor.upscale(sent)
        return replace(EditedPicture.from_proto(answer.picture), model=answer.model)

    return Work(perform, request.SerializeToString(deterministic=True))


def _read_put_back(fields: Fields, form: RawForm, output: edit_pb2.EditOutput) -> Work:
    request = read_put_back(fields)
    request.output.CopyFrom(output)
    edited = fields.collect(lambda: read_edited(form))

    async def perform(editor: EditClient, image: bytes, others: Mapping[str, bytes]) -> EditedPicture:
        sent = edit_pb2.PutBackRequest()
        sent.CopyFrom(request)
        sent.image, sent.edited_image = image, others["edited_file"]
        return EditedPicture.from_proto((await editor.put_back(sent)).picture)

    others: dict[str, PictureSource] = {} if edited is None else {"edited_file": edited}
    return Work(perform, request.SerializeToString(deterministic=True), others)


def _selected(made: compositor_pb2.Rendering, matte_image: bytes, number: int = 0) -> EditedPicture:
    size = made.size
    return EditedPicture(made.image, made.format, size.width_px, size.height_px, {MASK: matte_image}, number)


BRUSH: Final = Tool(
    "brush",
    "Erase or restore by strokes",
    _read_brush,
    {
        "mode": {**TEXT, "default": "erase", "description": "erase or restore."},
        "strokes": {
            **TEXT,
            "description": 'JSON: [{"points": [[x, y], ...], "radius": 20}, ...], in pixels of the picture.',
        },
        "matte": {
            **TEXT,
            "description": "Id or URL of a stored result of this account: a cut-out or a mask of the size of "
            "image, which is then the picture that it was made from.",
        },
    },
    ("mask_file", "original_file"),
)
CROP: Final = Tool(
    "crop",
    "Cut a part out of a picture",
    _read_crop,
    {
        "x": {**TEXT, "description": "Left edge, px or %."},
        "y": {**TEXT, "description": "Upper edge, px or %."},
        "width": {**TEXT, "description": "Width, in the unit of x."},
        "height": {**TEXT, "description": "Height, in the unit of y."},
        "aspect_ratio": {**TEXT, "description": "W:H: the largest part of this ratio, around the subject."},
        "mode": {**TEXT, "description": "auto: the subject's box."},
        "margin": {**TEXT, "default": "0", "description": "Room around the subject, px or %."},
    },
)
EXPAND: Final = Tool(
    "expand",
    "Make a picture larger on any side",
    _read_expand,
    {
        **{
            side: {**WHOLE, "default": 0, "description": "Pixels to add."}
            for side in ("left", "right", "top", "bottom")
        },
        "aspect_ratio": {**TEXT, "description": "W:H, by the least that must be added."},
        "prompt": {
            **TEXT,
            "description": "What to paint, at most 1,000 characters; needs a generative server.",
        },
    },
)
FILL: Final = Tool(
    "fill",
    "Fill a part of a picture",
    _read_fill,
    {
        "prompt": {
            **TEXT,
            "description": "What to paint, at most 1,000 characters; needs a generative server. Without it "
            "the surroundings are continued.",
        }
    },
    ("mask_file",),
)
PUT_BACK: Final = Tool(
    "put_back",
    "Put an edited subject back into its picture",
    _read_put_back,
    {
        **{
            side: {
                **WHOLE,
                "minimum": 0,
                "description": "Where the upper left corner of edited_file goes, in pixels; for a "
                "file that is smaller than the picture.",
            }
            for side in ("left", "top")
        },
        "fill": {
            "type": "boolean",
            "default": False,
            "description": "Fill the old subject where the new one does not hide it.",
        },
    },
    ("edited_file",),
)

SELECT: Final = Tool(
    "select",
    "Cut out what is pointed at, or subjects by number",
    _read_select,
    {
        "points": {**TEXT, "description": "JSON: [[x, y, 1], ...]; 1 keeps, 0 leaves out; at most 100."},
        "box": {**TEXT, "description": "JSON: [left, top, right, bottom] around what is wanted."},
        "subjects": {**TEXT, "description": "Numbers, such as 1,3, as /api/tools/subjects lists them."},
        "subject": {**TEXT, "description": "The same for one."},
        "each": {
            "type": "boolean",
            "default": False,
            "description": "One cut-out for each of the subjects, or of all. Costs as much as one.",
        },
    },
)
UPSCALE: Final = Tool(
    "upscale",
    "Make a picture larger and its details sharp",
    _read_upscale,
    {
        "scale": {"type": "integer", "enum": [2, 4], "default": 2, "description": "How many times as large."},
        **{
            name: {
                **WHOLE,
                "minimum": 1,
                "maximum": MAX_TARGET_PX,
                "description": f"Pixels at most, instead of scale. {other} may be left out: the ratio stays.",
            }
            for name, other in (("target_width", "target_height"), ("target_height", "target_width"))
        },
    },
)


def _read_one(fields: Fields, form: RawForm, output: edit_pb2.EditOutput) -> Work:
    if fields.text("each") is not None:
        fields.errors.append(InvalidField("each", "Only one picture can be the answer: leave each out."))
    return _read_select(fields, form, output)


SELECT_ONE: Final = replace(
    SELECT, read=_read_one, fields={name: schema for name, schema in SELECT.fields.items() if name != "each"}
)
