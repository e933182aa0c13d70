"""From plain Python to the requests of the editing tools, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from matteworks.common.v1 import image_pb2
from matteworks.compositor.v1 import compositor_pb2, edit_pb2
from matteworks_client.choices import (
    Format,
    Length,
    Picture,
    RenderChoices,
    enum_value,
    length,
    picture_bytes,
    render_options,
)
from matteworks_client.requests import new_request_id
from matteworks_client.results import Box, Cutout, Size, cutout_from, subject_name

# As long as the service gives a picture that a network draws on few cores.
UPSCALE_TIMEOUT_S: Final = 180.0
StrokeKind: TypeAlias = Literal["keep", "erase", "restore"]
# Left, top, right, bottom, in pixels or as shares such as "10%".
Corners: TypeAlias = tuple[Length, Length, Length, Length]
# Top, right, bottom, left.
Margins: TypeAlias = tuple[Length, Length, Length, Length]


@dataclass(frozen=True, slots=True)
class Stroke:
    """A line through `points` (x, y in pixels) with a round brush of `radius_px`, 1 to 500."""

    kind: StrokeKind
    points: Sequence[tuple[float, float]]
    radius_px: float = 20.0


@dataclass(frozen=True, slots=True)
class EditedPicture:
    """An edited picture. `area`: of a crop, what was taken; of an expansion, where the given picture lies;
    else all of it. `model`: the network that drew it, where one did.
    """

    image: bytes = field(repr=False)
    format: str
    size: Size
    area: Box
    model: str = ""


@dataclass(frozen=True, slots=True)
class Correction:
    """A corrected or selected cut-out, and its matte as a grey PNG: hand it in with the next strokes."""

    cutout: Cutout
    matte: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class PictureSubject:
    """A subject of a picture. `type` and `label` are empty and `score` is 0 when nobody recognised it;
    `coverage` is its share of the picture, 0 to 1.
    """

    number: int
    box: Box
    type: str
    label: str
    score: float
    coverage: float


def crop_request(
    picture: Picture,
    box: Corners | None,
    aspect_ratio: tuple[int, int] | None,
    margin: Margins | None,
    format_: Format | None,
) -> edit_pb2.CropRequest:
    """Raises ValueError unless exactly one of `box`, `aspect_ratio` and `margin` is given."""
    if sum(choice is not None for choice in (box, aspect_ratio, margin)) != 1:
        raise ValueError("give one of box, aspect_ratio and margin")
    request = edit_pb2.CropRequest(
        request_id=new_request_id(), image=picture_bytes(picture), output=_output(format_)
    )
    if box is not None:
        left, top, right, bottom = map(length, box)
        request.box.CopyFrom(compositor_pb2.Region(left=left, top=top, right=right, bottom=bottom))
    elif aspect_ratio is not None:
        request.aspect_ratio.CopyFrom(_ratio(aspect_ratio))
    elif margin is not None:
        top, right, bottom, left = map(length, margin)
        request.subject.CopyFrom(
            compositor_pb2.Crop(margin_top=top, margin_right=right, margin_bottom=bottom, margin_left=left)
        )
    return request


def erase_request(picture: Picture, mask: Picture, format_: Format | None) -> edit_pb2.EraseRequest:
    """What is white in `mask` is filled from around it."""
    return edit_pb2.EraseRequest(
        request_id=new_request_id(),
        image=picture_bytes(picture),
        mask_image=picture_bytes(mask),
        output=_output(format_),
    )


def fill_request(
    picture: Picture, mask: Picture, prompt: str, format_: Format | None
) -> edit_pb2.FillRequest:
    """What is white in `mask` is painted as `prompt` says."""
    return edit_pb2.FillRequest(
        request_id=new_request_id(),
        image=picture_bytes(picture),
        mask_image=picture_bytes(mask),
        prompt=prompt,
        output=_output(format_),
    )


def expand_request(
    picture: Picture,
    borders_px: tuple[int, int, int, int] | None,
    aspect_ratio: tuple[int, int] | None,
    prompt: str,
    format_: Format | None,
) -> edit_pb2.ExpandRequest:
    """Raises ValueError unless exactly one of `borders_px` and `aspect_ratio` is given."""
    if (borders_px is None) == (aspect_ratio is None):
        raise ValueError("give borders_px or aspect_ratio, one of both")
    request = edit_pb2.ExpandRequest(
        request_id=new_request_id(), image=picture_bytes(picture), prompt=prompt, output=_output(format_)
    )
    if borders_px is not None:
        top, right, bottom, left = borders_px
        request.borders.CopyFrom(edit_pb2.Borders(top_px=top, right_px=right, bottom_px=bottom, left_px=left))
    elif aspect_ratio is not None:
        request.aspect_ratio.CopyFrom(_ratio(aspect_ratio))
    return request


def upscale_request(
    picture: Picture,
    scale: int | None,
    width_px: int | None,
    height_px: int | None,
    format_: Format | None,
) -> edit_pb2.UpscaleRequest:
    """Raises ValueError unless either a scale or a side is given."""
    if (scale is None) == (width_px is None and height_px is None):
        raise ValueError("give scale, or width_px and height_px; one of both")
    request = edit_pb2.UpscaleRequest(
        request_id=new_request_id(), image=picture_bytes(picture), output=_output(format_)
    )
    if scale is not None:
        request.factor = scale
    else:
        request.bounds.CopyFrom(edit_pb2.Bounds(width_px=width_px or 0, height_px=height_px or 0))
    return request


def put_back_request(
    picture: Picture,
    edited: Picture,
    at: tuple[int, int] | None,
    fill_old_subject: bool,
    matte: Picture | None,
    format_: Format | None,
) -> edit_pb2.PutBackRequest:
    """Raises ValueError for a matte without `fill_old_subject`."""
    if matte is not None and not fill_old_subject:
        raise ValueError("a matte is for fill_old_subject only")
    request = edit_pb2.PutBackRequest(
        request_id=new_request_id(),
        image=picture_bytes(picture),
        edited_image=picture_bytes(edited),
        fill_old_subject=fill_old_subject,
        matte_image=b"" if matte is None else picture_bytes(matte),
        output=_output(format_),
    )
    if at is not None:
        request.place.CopyFrom(edit_pb2.Place(left_px=at[0], top_px=at[1]))
    return request


def correct_request(
    picture: Picture,
    strokes: Sequence[Stroke],
    matte: Picture | None,
    mask: Picture | None,
    mask_kind: StrokeKind | None,
    choices: RenderChoices,
) -> edit_pb2.CorrectRequest:
    """Without `matte` the network's own is corrected."""
    request = edit_pb2.CorrectRequest(
        request_id=new_request_id(),
        image=picture_bytes(picture),
        strokes=[
            edit_pb2.Stroke(
                kind=enum_value(edit_pb2.StrokeKind, "STROKE_KIND", stroke.kind),
                points=[edit_pb2.Point(x_px=x, y_px=y) for x, y in stroke.points],
                radius_px=stroke.radius_px,
            )
            for stroke in strokes
        ],
        options=render_options(choices),
    )
    if matte is not None:
        request.matte_image = picture_bytes(matte)
    if mask is not None:
        request.mask_image = picture_bytes(mask)
        request.mask_kind = enum_value(edit_pb2.StrokeKind, "STROKE_KIND", mask_kind)
    return request


def select_request(
    picture: Picture,
    inside: Sequence[tuple[float, float]],
    outside: Sequence[tuple[float, float]],
    box: Corners | None,
    subjects: Sequence[int],
    choices: RenderChoices,
) -> edit_pb2.SelectRequest:
    """Raises ValueError without a point, a box and a subject."""
    if not inside and not outside and box is None and not subjects:
        raise ValueError("give at least one point, a box, or the number of a subject")
    request = edit_pb2.SelectRequest(
        request_id=new_request_id(),
        image=picture_bytes(picture),
        inside_points=[edit_pb2.Point(x_px=x, y_px=y) for x, y in inside],
        outside_points=[edit_pb2.Point(x_px=x, y_px=y) for x, y in outside],
        subjects=subjects,
        options=render_options(choices),
    )
    if box is not None:
        left, top, right, bottom = map(length, box)
        request.box.CopyFrom(compositor_pb2.Region(left=left, top=top, right=right, bottom=bottom))
    return request


def select_each_request(
    picture: Picture, subjects: Sequence[int], choices: RenderChoices
) -> edit_pb2.SelectRequest:
    """Without `subjects` all of them."""
    return edit_pb2.SelectRequest(
        request_id=new_request_id(),
        image=picture_bytes(picture),
        subjects=subjects,
        grouping=edit_pb2.SUBJECT_GROUPING_EACH,
        options=render_options(choices),
    )


def list_subjects_request(picture: Picture) -> edit_pb2.ListSubjectsRequest:
    """What is in a picture."""
    return edit_pb2.ListSubjectsRequest(request_id=new_request_id(), image=picture_bytes(picture))


def subjects_of(answer: edit_pb2.ListSubjectsResponse) -> list[PictureSubject]:
    """The subjects, largest first."""
    return [
        PictureSubject(
            number=one.number,
            box=Box(one.box.left_px, one.box.top_px, one.box.width_px, one.box.height_px),
            type=subject_name(one.subject),
            label=one.label,
            score=one.subject.confidence,
            coverage=one.coverage,
        )
        for one in answer.subjects
    ]


def each_of(answer: edit_pb2.SelectResponse) -> dict[int, Correction]:
    """Cut-outs by the number of their subject."""
    return {
        one.number: Correction(cutout_from(one.rendering, answer.stages), one.matte_image)
        for one in answer.cutouts
    }


def edited_of(
    picture: edit_pb2.EditedPicture, area: image_pb2.Box | None = None, model: str = ""
) -> EditedPicture:
    """What a tool made."""
    size = Size(picture.size.width_px, picture.size.height_px)
    whole = Box(0, 0, size.width_px, size.height_px)
    return EditedPicture(
        image=picture.image,
        format=compositor_pb2.OutputFormat.Name(picture.format).removeprefix("OUTPUT_FORMAT_").lower(),
        size=size,
        area=Box(area.left_px, area.top_px, area.width_px, area.height_px) if area else whole,
        model=model,
    )


def correction_of(answer: edit_pb2.CorrectResponse | edit_pb2.SelectResponse) -> Correction:
    """The result of Correct or Select."""
    return Correction(cutout_from(answer.rendering, answer.stages), answer.matte_image)


def _output(format_: Format | None) -> edit_pb2.EditOutput:
    return edit_pb2.EditOutput(format=enum_value(compositor_pb2.OutputFormat, "OUTPUT_FORMAT", format_))


def _ratio(ratio: tuple[int, int]) -> compositor_pb2.AspectRatio:
    return compositor_pb2.AspectRatio(width=ratio[0], height=ratio[1])
