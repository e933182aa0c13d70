"""The wire of the editing tools: messages in, domain call, messages out."""

from __future__ import annotations

from typing import Any

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.common.v1 import image_pb2
from matteworks.compositor.v1 import compositor_pb2, edit_pb2, edit_pb2_grpc
from matteworks_common.errors import InvalidField
from matteworks_common.stages import Stages
from matteworks_compositor.editing.areas import AspectRatio
from matteworks_compositor.editing.correction_wire import read_correction
from matteworks_compositor.editing.corrector import Corrector
from matteworks_compositor.editing.editor import Editor
from matteworks_compositor.editing.enlarger import Bounds, Enlarger
from matteworks_compositor.editing.holes import Mask, MaskRule
from matteworks_compositor.editing.painting.by_prompt import Painting
from matteworks_compositor.editing.put_back import PutBack, Returning
from matteworks_compositor.editing.selecting.selection_wire import read_selection, wants_each
from matteworks_compositor.editing.selecting.selector import ListedSubject, Selector
from matteworks_compositor.editing.workbench import Edited, EditOutput
from matteworks_compositor.geometry import Margins
from matteworks_compositor.options.model import CropMargins, OutputFormat
from matteworks_compositor.options.parsing import (
    parse_aspect_ratio,
    parse_choice,
    parse_margins,
    parse_percentage,
    parse_region,
)
from matteworks_compositor.servicer import request_id, write_rendering
from matteworks_imaging.box import Box, Size
from matteworks_imaging.limits import PictureFile, admit_file
from matteworks_imaging.region import resolve_region

__all__ = ["EditServicer"]


class EditServicer(edit_pb2_grpc.EditServiceServicer):
    """`matteworks.compositor.v1.EditService`. `erases_by_painter`: otherwise from the picture itself."""

    def __init__(
        self,
        editor: Editor,
        painting: Painting,
        corrector: Corrector,
        selector: Selector,
        enlarger: Enlarger,
        put_back: PutBack,
        *,
        erases_by_painter: bool,
    ) -> None:
        self._editor = editor
        self._erases_by_painter = erases_by_painter
        self._painting = painting
        self._corrector = corrector
        self._selector = selector
        self._enlarger = enlarger
        self._put_back = put_back

    async def Crop(self, request: edit_pb2.CropRequest, context: Any) -> edit_pb2.CropResponse:
        """See the proto."""
        output = _read_output(request.output)
        picture = admit_file(request.image)
        stages = Stages()
        edited = await self._editor.crop(picture, _read_area(request, picture), output, stages)
        return edit_pb2.CropResponse(
            picture=_write(edited), area=_write_box(edited.area), stages=stages.to_proto()
        )

    async def Erase(self, request: edit_pb2.EraseRequest, context: Any) -> edit_pb2.EraseResponse:
        """See the proto."""
        output = _read_output(request.output)
        picture, mask = admit_file(request.image), _read_mask(request)
        stages = Stages()
        if self._erases_by_painter:
            edited = (await self._painting.erase(picture, mask, output, stages)).edited
        else:
            edited = await self._editor.erase(picture, mask, output, stages)
        return edit_pb2.EraseResponse(picture=_write(edited), stages=stages.to_proto())

    async def Fill(self, request: edit_pb2.FillRequest, context: Any) -> edit_pb2.FillResponse:
        """See the proto."""
        output = _read_output(request.output)
        picture, mask = admit_file(request.image), _read_mask(request)
        stages = Stages()
        painted = await self._painting.fill(picture, mask, request.prompt, output, stages)
        return edit_pb2.FillResponse(
            picture=_write(painted.edited), painter=painted.painter, stages=stages.to_proto()
        )

    async def Correct(self, request: edit_pb2.CorrectRequest, context: Any) -> edit_pb2.CorrectResponse:
        """See the proto."""
        correction = read_correction(request, request_id())
        stages = Stages()
        corrected = await self._corrector.correct(correction, stages)
        return edit_pb2.CorrectResponse(
            rendering=write_rendering(corrected.rendered),
            matte_image=corrected.matte,
            stages=stages.to_proto(),
        )

    async def ListSubjects(
        self, request: edit_pb2.ListSubjectsRequest, context: Any
    ) -> edit_pb2.ListSubjectsResponse:
        """See the proto."""
        picture = admit_file(request.image)
        stages = Stages()
        listed = await self._selector.list_subjects(picture, request_id(), stages)
        return edit_pb2.ListSubjectsResponse(
            subjects=[_write_subject(subject) for subject in listed],
            size=image_pb2.Size(width_px=picture.size.width_px, height_px=picture.size.height_px),
            stages=stages.to_proto(),
        )

    async def Select(self, request: edit_pb2.SelectRequest, context: Any) -> edit_pb2.SelectResponse:
        """See the proto."""
        choice = read_selection(request, request_id())
        stages = Stages()
        if wants_each(request):
            each = await self._selector.select_each(choice, stages)
            cutouts = [
                edit_pb2.SubjectCutout(
                    number=number, rendering=write_rendering(made.rendered), matte_image=made.matte
                )
                for number, made in each
            ]
            return edit_pb2.SelectResponse(cutouts=cutouts, stages=stages.to_proto())
        selected = await self._selector.select(choice, stages)
        return edit_pb2.SelectResponse(
            rendering=write_rendering(selected.rendered),
            matte_image=selected.matte,
            stages=stages.to_proto(),
        )

    async def Expand(self, request: edit_pb2.ExpandRequest, context: Any) -> edit_pb2.ExpandResponse:
        """See the proto."""
        output, amount = _read_output(request.output), _read_amount(request)
        picture = admit_file(request.image)
        stages = Stages()
        if request.prompt.strip():
            painted = await self._painting.expand(picture, amount, request.prompt, output, stages)
            edited = painted.edited
        else:
            edited = await self._editor.expand(picture, amount, output, stages)
        return edit_pb2.ExpandResponse(
            picture=_write(edited), original=_write_box(edited.area), stages=stages.to_proto()
        )

    async def Upscale(self, request: edit_pb2.UpscaleRequest, context: Any) -> edit_pb2.UpscaleResponse:
        """See the proto."""
        output, wanted = _read_output(request.output, OutputFormat.AUTO), _read_enlargement(request)
        if output.size is not None:
            raise InvalidField("output.size", "Leave it out: a factor or bounds say how large.")
        picture = admit_file(request.image)
        stages = Stages()
        enlarged = await self._enlarger.enlarge(picture, wanted, output, stages)
        return edit_pb2.UpscaleResponse(
            picture=_write(enlarged.edited), model=enlarged.model, stages=stages.to_proto()
        )

    async def PutBack(self, request: edit_pb2.PutBackRequest, context: Any) -> edit_pb2.PutBackResponse:
        """See the proto."""
        output, wish = _read_output(request.output), _read_returning(request)
        stages = Stages()
        edited = await self._put_back.put_back(wish, output, stages)
        return edit_pb2.PutBackResponse(picture=_write(edited), stages=stages.to_proto())


def _read_returning(request: edit_pb2.PutBackRequest) -> Returning:
    if request.matte_image and not request.fill_old_subject:
        raise InvalidField("matte_image", "Leave it out, or set `fill_old_subject`, which it is for.")
    return Returning(
        picture=admit_file(request.image),
        edited=admit_file(request.edited_image, "edited_image"),
        place=(request.place.left_px, request.place.top_px) if request.HasField("place") else None,
        fills_old_subject=request.fill_old_subject,
        matte=admit_file(request.matte_image, "matte_image") if request.matte_image else None,
        request_id=request_id(),
    )


def _read_enlargement(request: edit_pb2.UpscaleRequest) -> int | Bounds:
    kind = request.WhichOneof("amount")
    if kind == "factor":
        return request.factor
    if kind == "bounds":
        return Bounds(request.bounds.width_px, request.bounds.height_px)
    raise InvalidField("amount", "Give a factor, or bounds.")


def _read_area(request: edit_pb2.CropRequest, picture: PictureFile) -> Box | AspectRatio | CropMargins:
    kind = request.WhichOneof("area")
    if kind == "box":
        return resolve_region(parse_region(request.box), picture.size)
    if kind == "aspect_ratio":
        return AspectRatio(*parse_aspect_ratio(request.aspect_ratio))
    if kind == "subject":
        return parse_margins(request.subject)
    raise InvalidField("area", "Give a box, an aspect ratio, or room around the subject.")


def _read_mask(request: edit_pb2.EraseRequest | edit_pb2.FillRequest) -> Mask:
    rule = parse_choice("mask_rule", request.mask_rule, MaskRule, MaskRule.LIGHT)
    if rule is MaskRule.TRANSPARENT and not request.mask_image:
        return Mask(None, rule)
    return Mask(admit_file(request.mask_image, "mask_image"), rule)


def _read_amount(request: edit_pb2.ExpandRequest) -> Margins | AspectRatio:
    kind = request.WhichOneof("amount")
    if kind == "aspect_ratio":
        return AspectRatio(*parse_aspect_ratio(request.aspect_ratio))
    if kind is None:
        raise InvalidField("amount", "Give borders or an aspect ratio.")
    sides = (
        request.borders.top_px,
        request.borders.right_px,
        request.borders.bottom_px,
        request.borders.left_px,
    )
    if min(sides) < 0:
        raise InvalidField("borders", "Give 0 or more pixels for each side; to cut a side off, use Crop.")
    return Margins(*sides)


def _read_output(message: edit_pb2.EditOutput, automatic: OutputFormat = OutputFormat.PNG) -> EditOutput:
    format_ = parse_choice(
        "output.format", message.format, OutputFormat, OutputFormat.PNG, reasons.ERROR_REASON_INVALID_FORMAT
    )
    if format_ is OutputFormat.ZIP:
        raise InvalidField(
            "output.format", "Ask for a picture, not a ZIP.", reason=reasons.ERROR_REASON_INVALID_FORMAT
        )
    return EditOutput(
        automatic if format_ is OutputFormat.AUTO else format_,
        parse_percentage(message, "encoding_quality", 1, None),
        message.keep_metadata,
        _read_size(message),
        message.is_opaque,
    )


def _read_size(message: edit_pb2.EditOutput) -> Size | None:
    if not message.HasField("size"):
        return None
    if min(message.size.width_px, message.size.height_px) < 1:
        raise InvalidField("output.size", "Give a width and a height of 1 pixel or more.")
    return Size(message.size.width_px, message.size.height_px)


def _write(edited: Edited) -> edit_pb2.EditedPicture:
    return edit_pb2.EditedPicture(
        image=edited.content,
        format=compositor_pb2.OutputFormat.ValueType(edited.format),
        size=image_pb2.Size(width_px=edited.size.width_px, height_px=edited.size.height_px),
    )


def _write_subject(subject: ListedSubject) -> edit_pb2.PictureSubject:
    found = subject.found
    return edit_pb2.PictureSubject(
        number=found.number,
        box=_write_box(found.box),
        subject=image_pb2.Subject(
            type=image_pb2.SubjectType.ValueType(subject.type), confidence=subject.confidence
        ),
        label=found.seen.label if found.seen else "",
        coverage=found.coverage,
    )


def _write_box(box: Box) -> image_pb2.Box:
    return image_pb2.Box(
        left_px=box.left_px, top_px=box.top_px, width_px=box.width_px, height_px=box.height_px
    )
