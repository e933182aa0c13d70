"""Corrects a matte by strokes and renders the cut-out with it. Knows no wire."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from enum import Enum

import cv2
import numpy as np
from numpy.typing import NDArray

from matteworks_common.errors import InvalidField
from matteworks_common.stages import Stages
from matteworks_compositor.editing.network_mattes import NetworkMattes, run_on
from matteworks_compositor.editing.with_matte import CutOut, CutOutRequest, WithMatte
from matteworks_compositor.kernels.pointing.strokes import Stroke, StrokeKind, apply_mask, apply_stroke
from matteworks_imaging.decoding import Decoder
from matteworks_imaging.limits import PictureFile

__all__ = ["Correction", "Corrector", "OwnMatte"]

Bytes8 = NDArray[np.uint8]


class OwnMatte(Enum):
    """Where the matte comes from when it is no file: the picture's own alpha, or the network."""

    ALPHA = "alpha"
    NETWORK = "network"


@dataclass(frozen=True, slots=True)
class Correction(CutOutRequest):
    """What to change. `mask` is drawn over before the strokes."""

    matte: PictureFile | OwnMatte
    strokes: Sequence[Stroke]
    mask: PictureFile | None
    mask_kind: StrokeKind

    @property
    def needs_network(self) -> bool:
        """Whether the network's own matte is part of the answer."""
        kinds = {stroke.kind for stroke in self.strokes} | ({self.mask_kind} if self.mask else set())
        return self.matte is OwnMatte.NETWORK or StrokeKind.RESTORE in kinds


class Corrector:
    """Works on pictures under the compositor's admission, one step after the other."""

    def __init__(
        self,
        with_matte: WithMatte,
        mattes: NetworkMattes,
        decoder: Decoder,
        executor: Executor,
    ) -> None:
        self._with_matte = with_matte
        self._mattes = mattes
        self._decoder = decoder
        self._executor = executor

    async def correct(self, correction: Correction, stages: Stages) -> CutOut:
        """The corrected cut-out.

        Raises InvalidField for a matte or a mask of another size and for strokes beside the picture,
        InvalidPicture (FAILED_TO_READ_IMAGE, UNKNOWN_FOREGROUND), LimitExceeded (OVERLOADED).
        """
        first: Bytes8 | None = None
        if correction.needs_network:
            first = (await self._mattes.of(correction.picture, correction.request_id, stages)).matte
        with stages.measure("strokes"):
            matte, factor = await run_on(self._executor, lambda: self._corrected(correction, first))
        return await self._with_matte.render(correction, matte, stages, factor=factor)

    def _corrected(self, correction: Correction, first: Bytes8 | None) -> tuple[Bytes8, Bytes8]:
        """The matte, and what to multiply the picture's own alpha with to get it."""
        decoded = self._decoder.decode(correction.picture)
        shape = decoded.pixels.shape[:2]
        if isinstance(correction.matte, PictureFile):
            matte = _of_shape(self._decoder.decode_matte(correction.matte), shape, "matte_image").copy()
        elif correction.matte is OwnMatte.ALPHA:
            matte = np.full(shape, 255, np.uint8) if decoded.alpha is None else decoded.alpha.copy()
        else:
            assert first is not None  # noqa: S101 - it was asked for above
            matte = first.copy()
        if correction.mask is not None:
            mask = _of_shape(self._decoder.decode_matte(correction.mask), shape, "mask_image")
            chosen = np.asarray(cv2.inRange(mask, 128, 255), np.uint8)
            if not chosen.any():
                raise InvalidField("mask_image", "Send a mask that is white where something is to change.")
            apply_mask(decoded.pixels, matte, first, chosen, correction.mask_kind)
        for stroke in correction.strokes:
            apply_stroke(decoded.pixels, matte, first, stroke)
        if correction.matte is not OwnMatte.ALPHA or decoded.alpha is None:
            return matte, matte
        ratio = matte.astype(np.float32) * 255 / np.maximum(decoded.alpha, 1)
        return np.minimum(matte, decoded.alpha), np.minimum(np.rint(ratio), 255).astype(np.uint8)


def _of_shape(matte: Bytes8, shape: tuple[int, ...], field: str) -> Bytes8:
    if matte.shape != shape:
        raise InvalidField(field, f"Send {field} in the picture's size, {shape[1]} × {shape[0]} pixels.")
    return matte
