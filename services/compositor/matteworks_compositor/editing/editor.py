"""Crop, erase and expand: decode, change, encode, under the same admission as removals. Knows no wire."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.context import current_call
from matteworks_common.errors import InvalidField, InvalidPicture
from matteworks_common.stages import Stages
from matteworks_compositor.admission import Admission
from matteworks_compositor.compositor import INPUT_WEIGHTS, OUTPUT_WEIGHTS
from matteworks_compositor.editing.areas import largest_of_ratio, missing_for_ratio, with_room
from matteworks_compositor.geometry import Margins, pad_to_ratio
from matteworks_compositor.inference_client import MatteSource
from matteworks_compositor.kernels.filling import fill_holes
from matteworks_compositor.kernels.flattening import flatten_onto
from matteworks_compositor.options.model import CropMargins, OutputFormat, Quality, SubjectType
from matteworks_compositor.options.rules import margins_in_pixels
from matteworks_compositor.pipeline.steps.encode import encode_as
from matteworks_compositor.pipeline.steps.matte import SURE_ALPHA, unknown_foreground
from matteworks_compositor.pipeline.steps.subject_box import VISIBLE_ALPHA
from matteworks_imaging.box import Box, Size, scale_box_outwards
from matteworks_imaging.decoding import Decoded, Decoder
from matteworks_imaging.header import MAX_PIXELS
from matteworks_imaging.limits import PictureFile
from matteworks_imaging.network_view import network_view
from matteworks_imaging.resampling import array_size

__all__ = ["AspectRatio", "EditOutput", "Edited", "Editor"]

Bytes8 = NDArray[np.uint8]
T = TypeVar("T")
MOST_ERASED = 0.8
# Share of an enlarged picture that there must be to copy from without its subject.
LEAST_SOURCE = 0.03
# How far from its borders a picture is repeated in them at least.
LEAST_REACH_PX = 32


@dataclass(frozen=True, slots=True)
class AspectRatio:
    """Width to height."""

    width: int
    height: int

    @property
    def sides(self) -> tuple[int, int]:
        """Both numbers."""
        return self.width, self.height


@dataclass(frozen=True, slots=True)
class EditOutput:
    """The file to make; never AUTO or ZIP. `quality` 1 to 100 of lossy formats, None: the format's own."""

    format: OutputFormat = OutputFormat.PNG
    quality: int | None = None
    keep_metadata: bool = False


@dataclass(frozen=True, slots=True)
class Edited:
    """A finished file. `area` is where what was given, or what was taken, lies; see each tool."""

    content: bytes
    format: OutputFormat
    size: Size
    area: Box


class Editor:
    """Edits pictures, as many at once as `admission` lets in; results of at most `max_result_bytes`.

    Every method raises LimitExceeded (OVERLOADED), InvalidPicture (FAILED_TO_READ_IMAGE;
    RESOLUTION_TOO_HIGH for a result that no message can hold), and what it says itself.
    """

    def __init__(
        self,
        decoder: Decoder,
        mattes: MatteSource,
        executor: Executor,
        admission: Admission,
        *,
        threads: int,
        max_result_bytes: int,
    ) -> None:
        self._decoder = decoder
        self._mattes = mattes
        self._executor = executor
        self._admission = admission
        self._threads = threads
        self._max_result_bytes = max_result_bytes

    async def crop(
        self, file: PictureFile, wanted: Box | AspectRatio | CropMargins, output: EditOutput, stages: Stages
    ) -> Edited:
        """The part of the picture that is `wanted`; `area` is where it was.

        A ratio is centred on the subject. Raises InvalidPicture (UNKNOWN_FOREGROUND) when there is none.
        """
        async with self._admission.admit(_weight([file], output), _remaining_s()):
            decoded = await self._compute("decode", stages, lambda: self._decode(file, output))
            if isinstance(wanted, Box):
                area = wanted
            else:
                with stages.measure("segment"):
                    subject = await self._subject_of(decoded)
                area = _area(decoded.size, subject, wanted)
            part = _rgba(decoded, area)
            return await self._compute("encode", stages, lambda: self._encode(part, decoded, output, area))

    async def erase(self, file: PictureFile, mask: PictureFile, output: EditOutput, stages: Stages) -> Edited:
        """The picture, filled where `mask` is set; `area` is all of it.

        Raises InvalidField for a mask of another size, an empty one, and one of nearly everything.
        """
        if mask.size != file.size:
            raise InvalidField(
                "mask_image",
                f"Send a mask of the picture's size, {file.size.width_px} × {file.size.height_px} pixels.",
            )
        async with self._admission.admit(_weight([file, mask], output), _remaining_s()):
            decoded = await self._compute("decode", stages, lambda: self._decode(file, output))
            hole = await self._compute(
                "mask", stages, lambda: _threshold(self._decoder.decode_matte(mask), decoded.size)
            )
            decoded = await self._compute("fill", stages, lambda: _fill(decoded, hole))
            whole = Box(0, 0, decoded.size.width_px, decoded.size.height_px)
            canvas = _rgba(decoded, whole)
            return await self._compute("encode", stages, lambda: self._encode(canvas, decoded, output, whole))

    async def expand(
        self, file: PictureFile, wanted: Margins | AspectRatio, output: EditOutput, stages: Stages
    ) -> Edited:
        """The picture with filled borders; `area` is where it lies in them.

        Raises InvalidField for borders of nothing, wider than the picture, or of too many pixels in all.
        """
        borders = wanted if isinstance(wanted, Margins) else missing_for_ratio(file.size, wanted.sides)
        size = _expanded(file.size, borders, is_ratio=isinstance(wanted, AspectRatio))
        growth = -(-size.pixel_count // file.size.pixel_count)
        async with self._admission.admit(_weight([file], output) * growth, _remaining_s()):
            decoded = await self._compute("decode", stages, lambda: self._decode(file, output))
            area = Box(borders.left_px, borders.top_px, decoded.size.width_px, decoded.size.height_px)
            with stages.measure("segment"):
                matte = await self._matte_of(decoded)
            larger = await self._compute("fill", stages, lambda: _widen(decoded, borders, matte))
            canvas = _rgba(larger, Box(0, 0, size.width_px, size.height_px))
            return await self._compute("encode", stages, lambda: self._encode(canvas, decoded, output, area))

    def _decode(self, file: PictureFile, output: EditOutput) -> Decoded:
        return self._decoder.decode(file, with_metadata=output.keep_metadata)

    async def _subject_of(self, decoded: Decoded) -> Box:
        matte = await self._matte_of(decoded)
        if int(matte.max(initial=0)) < SURE_ALPHA:
            raise unknown_foreground()
        box = Box(*cv2.boundingRect(cv2.inRange(matte, VISIBLE_ALPHA, 255)))
        return scale_box_outwards(box, array_size(matte), decoded.size)

    async def _matte_of(self, decoded: Decoded) -> Bytes8:
        """h×w, stretched over the picture."""
        seen = await self._run(lambda: network_view(decoded.pixels, decoded.alpha))
        found = await self._mattes.segment(
            seen,
            source_size=decoded.size,
            model="",
            quality=Quality.UNSPECIFIED,
            subject_type=SubjectType.UNSPECIFIED,
        )
        return found.matte

    def _encode(self, canvas: Bytes8, decoded: Decoded, output: EditOutput, area: Box) -> Edited:
        if output.format.is_flat and canvas.shape[2] == 4:
            canvas = flatten_onto(np.full((*canvas.shape[:2], 3), 255, np.uint8), canvas)
        content = encode_as(output.format, canvas, self._threads, output.quality, decoded.metadata)
        if len(content) > self._max_result_bytes:
            raise InvalidPicture(
                reasons.ERROR_REASON_RESOLUTION_TOO_HIGH,
                f"The result has {len(content) // 2**20} MB; at most {self._max_result_bytes // 2**20} can "
                "be sent. Ask for a format that packs better.",
            )
        return Edited(content, output.format, array_size(canvas), area)

    async def _compute(self, stage: str, stages: Stages, work: Callable[[], T]) -> T:
        with stages.measure(stage):
            return await self._run(work)

    async def _run(self, work: Callable[[], T]) -> T:
        """`work` on a worker thread. When cancelled it returns only after it, since its memory is counted."""
        context = contextvars.copy_context()
        done = asyncio.get_running_loop().run_in_executor(self._executor, context.run, work)
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            await asyncio.wait([done])
            raise


def _remaining_s() -> float | None:
    call = current_call.get()
    return call.remaining_s() if call else None


def _weight(files: list[PictureFile], output: EditOutput) -> int:
    read = sum(file.header.megapixels * INPUT_WEIGHTS.get(file.header.format, 1) for file in files)
    written = files[0].header.megapixels * OUTPUT_WEIGHTS.get(output.format, 1)
    return max(read, written)


def _area(picture: Size, subject: Box, wanted: AspectRatio | CropMargins) -> Box:
    if isinstance(wanted, AspectRatio):
        return largest_of_ratio(picture, wanted.sides, subject)
    room = margins_in_pixels(wanted, subject, 1.0)
    if wanted.aspect_ratio is not None:
        room = pad_to_ratio(subject.size, room, wanted.aspect_ratio)
    return with_room(picture, subject, room)


def _rgba(decoded: Decoded, area: Box) -> Bytes8:
    """A part of the picture: H×W×4 where the file is transparent anywhere, else H×W×3."""
    part = decoded.pixels[area.slices]
    return part if decoded.alpha is None else np.dstack((part, decoded.alpha[area.slices]))


def _threshold(matte: Bytes8, picture: Size) -> Bytes8:
    hole = np.asarray(cv2.inRange(matte, 128, 255), np.uint8)
    count = cv2.countNonZero(hole)
    if array_size(hole) != picture or count == 0:
        raise InvalidField("mask_image", "Send a mask that is white where the picture is to be filled.")
    if count > MOST_ERASED * hole.size:
        raise InvalidField("mask_image", "Leave at least a fifth of the picture to fill the rest from.")
    return hole


def _fill(decoded: Decoded, hole: Bytes8) -> Decoded:
    pixels, alpha = decoded.pixels, decoded.alpha
    # The decoder may hand out its own memory, which nobody may write to.
    pixels = pixels if pixels.flags.writeable else pixels.copy()
    fill_holes(pixels, hole)
    if alpha is not None:
        alpha = np.maximum(alpha, hole)
    return Decoded(pixels, alpha, decoded.metadata)


def _expanded(picture: Size, borders: Margins, *, is_ratio: bool) -> Size:
    field = "aspect_ratio" if is_ratio else "borders"
    across, down = borders.left_px + borders.right_px, borders.top_px + borders.bottom_px
    if across + down == 0:
        raise InvalidField(field, "Ask for more than the picture has already.")
    if max(borders.left_px, borders.right_px) > picture.width_px or (
        max(borders.top_px, borders.bottom_px) > picture.height_px
    ):
        raise InvalidField(field, "Widen each side by at most as much as the picture measures that way.")
    size = Size(picture.width_px + across, picture.height_px + down)
    if size.pixel_count > MAX_PIXELS:
        raise InvalidField(field, f"Stay within {MAX_PIXELS // 1_000_000} megapixels in all.")
    return size


def _middle(picture: Size, borders: Margins) -> Bytes8:
    """255 where an enlarged picture is too far from its borders to be repeated in them, such as a subject."""
    sides = (borders.top_px, borders.bottom_px, borders.left_px, borders.right_px)
    reach = max(LEAST_REACH_PX, max(sides) // 2)
    shape = (picture.height_px + sides[0] + sides[1], picture.width_px + sides[2] + sides[3])
    far = np.zeros(shape, np.uint8)
    # A side that is not widened may be reached all along.
    top, bottom, left, right = (side + reach if side else 0 for side in sides)
    far[top : shape[0] - bottom, left : shape[1] - right] = 255
    return far


def _subject_in(canvas: Size, borders: Margins, matte: Bytes8, picture: Size) -> Bytes8:
    """255 where the subject is in an enlarged picture, and a little around it: a shop sells one of it."""
    seen = np.asarray(cv2.inRange(matte, VISIBLE_ALPHA, 255), np.uint8)
    seen = np.asarray(cv2.dilate(seen, np.ones((9, 9), np.uint8)), np.uint8)
    across = (picture.width_px, picture.height_px)
    subject = np.zeros((canvas.height_px, canvas.width_px), np.uint8)
    place = Box(borders.left_px, borders.top_px, *across).slices
    subject[place] = cv2.resize(seen, across, interpolation=cv2.INTER_NEAREST)
    return subject


def _widen(decoded: Decoded, borders: Margins, matte: Bytes8) -> Decoded:
    sides = (borders.top_px, borders.bottom_px, borders.left_px, borders.right_px)
    pixels = np.asarray(cv2.copyMakeBorder(decoded.pixels, *sides, cv2.BORDER_REPLICATE), np.uint8)
    inside = np.zeros(decoded.pixels.shape[:2], np.uint8)
    hole = np.asarray(cv2.copyMakeBorder(inside, *sides, cv2.BORDER_CONSTANT, value=(255,)), np.uint8)
    far = _middle(decoded.size, borders)
    subject = _subject_in(array_size(far), borders, matte, decoded.size)
    # Of a picture that is nearly all subject, the subject is what there is to repeat.
    is_rich = cv2.countNonZero(cv2.max(cv2.max(far, subject), hole)) < (1 - LEAST_SOURCE) * far.size
    fill_holes(pixels, hole, np.maximum(far, subject) if is_rich else far)
    alpha = decoded.alpha
    if alpha is not None:
        alpha = np.asarray(cv2.copyMakeBorder(alpha, *sides, cv2.BORDER_CONSTANT, value=(255,)), np.uint8)
    return Decoded(pixels, alpha, decoded.metadata)
