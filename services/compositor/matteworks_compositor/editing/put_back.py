"""Puts an edited subject back into the picture that it was cut out of. Knows no wire."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from matteworks_common.errors import InvalidField
from matteworks_common.stages import Stages
from matteworks_compositor.editing.network_mattes import NetworkMattes
from matteworks_compositor.editing.workbench import (
    Edited,
    EditOutput,
    Workbench,
    check_output_size,
    with_alpha,
)
from matteworks_compositor.kernels.filling import fill_holes
from matteworks_compositor.kernels.flattening import flatten_onto, lay_over
from matteworks_compositor.pipeline.steps.subject_box import VISIBLE_ALPHA
from matteworks_imaging.box import Box
from matteworks_imaging.limits import PictureFile
from matteworks_imaging.resampling import array_size

__all__ = ["PutBack", "Returning"]

Bytes8 = NDArray[np.uint8]
# How far around its matte an old subject still tints the picture.
RIM_PX: Final = 4
# How far around what is filled there must be something to copy from.
LEAST_REACH_PX: Final = 64
# Share of a part that must be left to copy from; of the whole picture less will do.
RICH_SOURCE: Final = 0.2
LEAST_SOURCE: Final = 0.03


@dataclass(frozen=True, slots=True)
class Returning:
    """`edited` goes into `picture` with its upper left corner at `place`, (left, top) in pixels; None: it is
    of the picture's size. With `fills_old_subject` the old subject, by `matte` or, without one, by the
    network's, is filled where the new one does not hide it.
    """

    picture: PictureFile
    edited: PictureFile
    place: tuple[int, int] | None
    fills_old_subject: bool
    matte: PictureFile | None
    request_id: str


class PutBack:
    """Works on `bench`, and asks `mattes` only for what is to be filled."""

    def __init__(self, bench: Workbench, mattes: NetworkMattes) -> None:
        self._bench = bench
        self._mattes = mattes

    async def put_back(self, wish: Returning, output: EditOutput, stages: Stages) -> Edited:
        """The picture with its new subject; `area` is where that was laid.

        Raises InvalidField for a subject that does not fit or shows nothing of the picture, a matte of
        another size, and a picture that is all subject where it is to be filled; InvalidPicture
        (FAILED_TO_READ_IMAGE), LimitExceeded (OVERLOADED).
        """
        bench, area = self._bench, _area(wish)
        check_output_size(wish.picture.size, output)
        files = [wish.picture, wish.edited] + ([wish.matte] if wish.matte else [])
        matte: Bytes8 | None = None
        if wish.fills_old_subject and wish.matte is None:
            # Before the turn: the network's matte is made in a turn of its own.
            matte = (await self._mattes.look(wish.picture, wish.request_id, stages)).matte
        async with bench.admit(files, output):
            decoded = await bench.compute("decode", stages, lambda: bench.decode(wish.picture, output))
            edited = await bench.compute("decode", stages, lambda: _read_edited(bench, wish))
            canvas = with_alpha(decoded, Box(0, 0, decoded.size.width_px, decoded.size.height_px))
            # The decoder may hand out its own memory, which nobody may write to.
            canvas = canvas if canvas.flags.writeable else canvas.copy()
            if wish.fills_old_subject:
                matte_file = wish.matte
                if matte_file is not None:
                    matte = await bench.run(lambda: bench.decoder.decode_matte(matte_file))
                await bench.compute("fill", stages, lambda: _fill_old(canvas, matte, edited, area))
            await bench.compute("compose", stages, lambda: _lay(canvas, edited, area))
            return await bench.compute("encode", stages, lambda: bench.encode(canvas, decoded, output, area))


def _area(wish: Returning) -> Box:
    picture, edited = wish.picture.size, wish.edited.size
    if wish.matte is not None and wish.matte.size != picture:
        raise InvalidField(
            "matte_image",
            f"Send a matte of the picture's size, {picture.width_px} × {picture.height_px} pixels.",
        )
    if wish.place is None:
        if edited != picture:
            raise InvalidField(
                "edited_image",
                f"Send a subject of the picture's size, {picture.width_px} × {picture.height_px} pixels, "
                "or say where it goes.",
            )
        return Box(0, 0, edited.width_px, edited.height_px)
    left_px, top_px = wish.place
    right_px, bottom_px = picture.width_px - edited.width_px, picture.height_px - edited.height_px
    if min(right_px, bottom_px) < 0:
        raise InvalidField(
            "edited_image",
            f"Send a subject that is not larger than the picture, {picture.width_px} × {picture.height_px}.",
        )
    if not (0 <= left_px <= right_px and 0 <= top_px <= bottom_px):
        raise InvalidField(
            "place",
            f"Give a place in the picture: 0 to {right_px} from the left and 0 to {bottom_px} from the top "
            "hold all of the subject.",
        )
    return Box(left_px, top_px, edited.width_px, edited.height_px)


def _read_edited(bench: Workbench, wish: Returning) -> Bytes8:
    """h×w×4, straight."""
    edited = bench.decoder.decode(wish.edited)
    if edited.alpha is None and edited.size == wish.picture.size:
        raise InvalidField(
            "edited_image",
            "Send the subject with transparency around it, such as a PNG; this hides everything.",
        )
    if edited.alpha is not None and not edited.alpha.any():
        raise InvalidField("edited_image", "Send a subject that can be seen; this is transparent everywhere.")
    alpha = np.full(edited.pixels.shape[:2], 255, np.uint8) if edited.alpha is None else edited.alpha
    return np.dstack((edited.pixels, alpha))


def _lay(canvas: Bytes8, edited: Bytes8, area: Box) -> None:
    """Lay `edited` over the part `area` of `canvas` (H×W×3 or H×W×4), in place."""
    part = np.ascontiguousarray(canvas[area.slices])
    if canvas.shape[2] == 3:
        flatten_onto(part, edited)
    else:
        lay_over(part, edited)
    canvas[area.slices] = part


def _fill_old(canvas: Bytes8, matte: Bytes8 | None, edited: Bytes8, area: Box) -> None:
    """Fill what of the old subject would be seen beside the new one or through it. Alpha stays."""
    if matte is None:
        raise AssertionError("filling needs a matte")
    seen = np.asarray(cv2.inRange(matte, VISIBLE_ALPHA, 255), np.uint8)
    old = np.asarray(cv2.dilate(seen, np.ones((2 * RIM_PX + 1, 2 * RIM_PX + 1), np.uint8)), np.uint8)
    hole = old.copy()
    hole[area.slices][edited[..., 3] == 255] = 0
    if canvas.shape[2] == 4:
        # What is transparent has no colours to fill, or to fill from.
        empty = np.asarray(cv2.inRange(cv2.extractChannel(canvas, 3), 0, 0), np.uint8)
        hole[empty == 255] = 0
        old = np.maximum(old, empty)
    if not hole.any():
        return
    part = _part_to_copy_from(hole, old)
    colours = np.ascontiguousarray(canvas[part.slices][..., :3])
    # The old subject below the new one is no background either.
    fill_holes(colours, hole[part.slices], np.where(hole[part.slices] == 0, old[part.slices], np.uint8(0)))
    canvas[part.slices][..., :3] = colours


def _part_to_copy_from(hole: Bytes8, old: Bytes8) -> Box:
    """Around the hole, or the whole picture where there is too little besides the old subject."""
    whole = array_size(hole)
    box = Box(*cv2.boundingRect(hole))
    reach_px = max(LEAST_REACH_PX, box.size.longer_side_px // 2)
    left_px, top_px = max(0, box.left_px - reach_px), max(0, box.top_px - reach_px)
    right_px = min(whole.width_px, box.right_px + reach_px)
    bottom_px = min(whole.height_px, box.bottom_px + reach_px)
    part = Box(left_px, top_px, right_px - left_px, bottom_px - top_px)
    if _free_share(old[part.slices]) >= RICH_SOURCE:
        return part
    if _free_share(old) < LEAST_SOURCE:
        raise InvalidField(
            "fill_old_subject",
            "Leave it out: nearly all of this picture is subject, and nothing is left to fill from.",
        )
    return Box(0, 0, whole.width_px, whole.height_px)


def _free_share(old: Bytes8) -> float:
    return 1 - cv2.countNonZero(np.ascontiguousarray(old)) / old.size
