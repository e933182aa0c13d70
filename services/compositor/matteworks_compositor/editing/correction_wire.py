"""Corrections from the wire: strokes and their limits."""

from __future__ import annotations

import math
from typing import Final

from matteworks.compositor.v1 import edit_pb2
from matteworks_common.errors import InvalidField
from matteworks_compositor.editing.corrector import Correction, OwnMatte
from matteworks_compositor.kernels.pointing.strokes import Stroke, StrokeKind
from matteworks_compositor.options.parsing import parse_options
from matteworks_imaging.box import Size
from matteworks_imaging.limits import PictureFile, admit_file

__all__ = ["read_correction"]

MAX_STROKES: Final = 1000
MAX_POINTS: Final = 10_000
MAX_RADIUS_PX: Final = 500.0


def read_correction(request: edit_pb2.CorrectRequest, request_id: str) -> Correction:
    """Check `request` and put it into our own words. Raises InvalidField, InvalidPicture."""
    picture = admit_file(request.image)
    options = parse_options(request.options)
    if options.roi is not None:
        raise InvalidField("options.roi", "Leave roi out: strokes say where.")
    has_background = request.options.WhichOneof("background") == "bg_image"
    if not request.strokes and not request.mask_image:
        raise InvalidField("strokes", "Send at least one stroke, or a mask.")
    if len(request.strokes) > MAX_STROKES:
        raise InvalidField("strokes", f"Send at most {MAX_STROKES} strokes at once.")
    mask = admit_file(request.mask_image, "mask_image") if request.mask_image else None
    if mask is not None:
        _check_size(mask, picture.size, "mask_image")
    return Correction(
        picture=picture,
        matte=_read_matte(request, picture.size),
        strokes=[
            _read_stroke(stroke, f"strokes[{index}]", picture.size)
            for index, stroke in enumerate(request.strokes)
        ],
        mask=mask,
        mask_kind=_read_kind(request.mask_kind, "mask_kind") if mask else StrokeKind.KEEP,
        options=options,
        background=admit_file(request.options.bg_image, "options.bg_image") if has_background else None,
        request_id=request_id,
    )


def _read_matte(request: edit_pb2.CorrectRequest, size: Size) -> PictureFile | OwnMatte:
    match request.WhichOneof("matte"):
        case "matte_image":
            file = admit_file(request.matte_image, "matte_image")
            _check_size(file, size, "matte_image")
            return file
        case "own_alpha" if request.own_alpha:
            return OwnMatte.ALPHA
        case _:
            return OwnMatte.NETWORK


def _check_size(file: PictureFile, size: Size, field: str) -> None:
    if file.size != size:
        raise InvalidField(
            field, f"Send {field} in the picture's size, {size.width_px} × {size.height_px} pixels."
        )


def _read_stroke(message: edit_pb2.Stroke, field: str, size: Size) -> Stroke:
    if not 1 <= len(message.points) <= MAX_POINTS:
        raise InvalidField(f"{field}.points", f"Give 1 to {MAX_POINTS} points.")
    radius_px = message.radius_px
    if not (math.isfinite(radius_px) and 1 <= radius_px <= MAX_RADIUS_PX):
        raise InvalidField(f"{field}.radius_px", f"Give a radius of 1 to {MAX_RADIUS_PX:.0f} pixels.")
    points = [(point.x_px, point.y_px) for point in message.points]
    limit = 4 * max(size.width_px, size.height_px)
    if not all(math.isfinite(value) and abs(value) <= limit for point in points for value in point):
        raise InvalidField(f"{field}.points", "Give points in or near the picture.")
    if not any(0 <= x < size.width_px and 0 <= y < size.height_px for x, y in points):
        raise InvalidField(
            f"{field}.points",
            f"Draw in the picture, which is {size.width_px} × {size.height_px} pixels large.",
        )
    return Stroke(_read_kind(message.kind, f"{field}.kind"), points, radius_px)


def _read_kind(number: int, field: str) -> StrokeKind:
    try:
        return StrokeKind(number)
    except ValueError:
        raise InvalidField(field, "Say keep, erase or restore.") from None
