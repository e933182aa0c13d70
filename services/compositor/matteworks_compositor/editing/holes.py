"""Which part of a picture is to be filled, from a mask or from the picture's own transparency."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import cv2
import numpy as np
from numpy.typing import NDArray

from matteworks_common.errors import InvalidField
from matteworks_imaging.decoding import Decoded, Decoder
from matteworks_imaging.limits import PictureFile
from matteworks_imaging.resampling import array_size

__all__ = ["Mask", "MaskRule", "check_mask", "read_hole"]

Bytes8 = NDArray[np.uint8]
# Of a picture that is filled at least the rest must be there to go by.
MOST_FILLED = 0.8


class MaskRule(IntEnum):
    """What of a mask is filled: what is light, or of a mask with transparency what is opaque; or what is
    transparent. Numbers as in `matteworks.compositor.v1.MaskRule`.
    """

    LIGHT = 0
    TRANSPARENT = 1


@dataclass(frozen=True, slots=True)
class Mask:
    """`file` None: the picture is its own mask, by its transparency."""

    file: PictureFile | None
    rule: MaskRule = MaskRule.LIGHT


def check_mask(picture: PictureFile, mask: Mask) -> list[PictureFile]:
    """What will be decoded. Raises InvalidField for a mask of another size."""
    if mask.file is None:
        return [picture]
    if mask.file.size != picture.size:
        raise InvalidField(
            "mask_image",
            f"Send a mask of the picture's size, {picture.size.width_px} × {picture.size.height_px} pixels.",
        )
    return [picture, mask.file]


def read_hole(decoder: Decoder, mask: Mask, decoded: Decoded) -> Bytes8:
    """H×W: 255 where `decoded` is to be filled, 0 elsewhere. Blocks.

    Raises InvalidField for a mask that says nothing, and for one of nearly everything.
    """
    if mask.rule is MaskRule.LIGHT:
        if mask.file is None:
            raise AssertionError("without a mask only transparency can say what is filled")
        hole = np.asarray(cv2.inRange(decoder.decode_matte(mask.file), 128, 255), np.uint8)
        remedy = "Send a mask that is white where the picture is to be filled."
    else:
        alpha = decoded.alpha if mask.file is None else decoder.decode(mask.file).alpha
        if alpha is None:
            alpha = np.full(decoded.pixels.shape[:2], 255, np.uint8)
        hole = np.asarray(cv2.inRange(alpha, 0, 127), np.uint8)
        remedy = "Send a mask, or a picture, that is transparent where it is to be filled."
    count = cv2.countNonZero(hole)
    if array_size(hole) != decoded.size or count == 0:
        raise InvalidField("mask_image", remedy)
    if count > MOST_FILLED * hole.size:
        raise InvalidField("mask_image", "Leave at least a fifth of the picture to fill the rest from.")
    return hole
