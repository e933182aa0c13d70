"""Cuts out what somebody points at or names, and says what there is to name. Knows no wire."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from matteworks_common.errors import InvalidField
from matteworks_common.stages import Stages
from matteworks_compositor.editing.kept_mattes import NetworkMatte
from matteworks_compositor.editing.network_mattes import NetworkMattes, run_on
from matteworks_compositor.editing.selecting.prompted_masks import SHOWN_SIDE_PX, PromptedMasks
from matteworks_compositor.editing.with_matte import CutOut, CutOutRequest, WithMatte
from matteworks_compositor.kernels.pointing.selection import Selection, Shown, SubjectMattes
from matteworks_compositor.kernels.pointing.subjects import FoundSubject
from matteworks_compositor.options.model import SubjectType
from matteworks_compositor.pipeline.steps.matte import unknown_foreground
from matteworks_imaging.box import fit_within
from matteworks_imaging.decoding import Decoder
from matteworks_imaging.limits import PictureFile
from matteworks_imaging.resampling import resize

__all__ = ["Choice", "ListedSubject", "Selector"]


@dataclass(frozen=True, slots=True)
class Choice(CutOutRequest):
    """What to cut out, and how to render it."""

    selection: Selection


@dataclass(frozen=True, slots=True)
class ListedSubject:
    """A subject, what it is and how sure that is (0 to 1; UNSPECIFIED and 0 when nobody recognised it)."""

    found: FoundSubject
    type: SubjectType
    confidence: float


class Selector:
    """Works on pictures under the compositor's admission, one step after the other."""

    def __init__(
        self,
        with_matte: WithMatte,
        mattes: NetworkMattes,
        prompted: PromptedMasks,
        decoder: Decoder,
        executor: Executor,
    ) -> None:
        self._with_matte = with_matte
        self._mattes = mattes
        self._prompted = prompted
        self._decoder = decoder
        self._executor = executor

    async def list_subjects(
        self, picture: PictureFile, request_id: str, stages: Stages
    ) -> list[ListedSubject]:
        """The subjects of a picture, largest first; none at all where the network sees none.

        Raises InvalidPicture (FAILED_TO_READ_IMAGE), LimitExceeded (OVERLOADED).
        """
        known = await self._mattes.look(picture, request_id, stages)
        with stages.measure("subjects"):
            shown = await run_on(self._executor, lambda: self._shown(picture, known))
        return [_listed(found, known) for found in shown.subjects]

    async def select(self, choice: Choice, stages: Stages) -> CutOut:
        """The cut-out of what is selected, and its matte.

        Raises InvalidField when nothing is left or a subject is not there, InvalidPicture
        (FAILED_TO_READ_IMAGE; UNKNOWN_FOREGROUND for a subject where there is none), LimitExceeded
        (OVERLOADED). A picture in which the network sees no subject has its colours alone.
        """
        known = await self._mattes.look(choice.picture, choice.request_id, stages)
        prompted = await self._prompted_mask(choice, stages)
        with stages.measure("select"):
            matte = await run_on(self._executor, lambda: self._selected(choice, known, prompted))
        return await self._with_matte.render(choice, matte, stages)

    async def select_each(self, choice: Choice, stages: Stages) -> list[tuple[int, CutOut]]:
        """The number, cut-out and matte of each subject that is named, or of all of them.

        One after the other, so that they need no more memory than one and the files together. Raises as
        `select`, and InvalidPicture (RESOLUTION_TOO_HIGH) for files that no message can hold.
        """
        known = await self._mattes.look(choice.picture, choice.request_id, stages)
        with stages.measure("select"):
            mattes = await run_on(
                self._executor, lambda: self._shown(choice.picture, known, choice.selection).mattes
            )
        numbers = list(dict.fromkeys(choice.selection.subjects)) or mattes.numbers
        if not numbers:
            raise unknown_foreground()
        results: list[tuple[int, CutOut]] = []
        size_bytes = 0
        for number in numbers:
            with stages.measure(f"subject.{number}"):
                matte = await run_on(self._executor, lambda: mattes.of([number]))  # noqa: B023 - run here
                made = await self._with_matte.render(choice, matte, Stages())
            size_bytes += len(made.rendered.content) + len(made.matte)
            self._with_matte.check_result(size_bytes)
            results.append((number, made))
        return results

    async def _prompted_mask(self, choice: Choice, stages: Stages) -> NDArray[np.uint8] | None:
        """What the operator's promptable network says; None when there is none, or nothing that it takes."""
        selection = choice.selection
        is_prompt = bool(selection.inside or selection.box) and not selection.subjects
        if not is_prompt or not self._prompted.may_answer:
            return None
        with stages.measure("prompt"):
            # Let go at once: the picture is decoded again for the rim, rather than held while waiting.
            seen = await run_on(self._executor, lambda: self._small(choice.picture))
            return await self._prompted.of(seen, choice.picture.size, selection)

    def _small(self, picture: PictureFile) -> NDArray[np.uint8]:
        pixels = self._decoder.decode(picture).pixels
        most = SHOWN_SIDE_PX
        if max(pixels.shape[:2]) <= most:
            return pixels
        return resize(pixels, fit_within(picture.size, most * most, most))

    def _selected(
        self, choice: Choice, known: NetworkMatte, prompted: NDArray[np.uint8] | None
    ) -> NDArray[np.uint8]:
        shown = self._shown(choice.picture, known, choice.selection)
        matte = shown.select(choice.selection, prompted)
        if not matte.any():
            raise InvalidField(
                "inside_points", "Nothing is left of the picture. Add a point on what is wanted."
            )
        return matte

    def _shown(self, picture: PictureFile, known: NetworkMatte, selection: Selection | None = None) -> Shown:
        """Raises InvalidField, InvalidPicture (UNKNOWN_FOREGROUND) for subjects that are not there."""
        shown = Shown(self._decoder.decode(picture).pixels, known.matte, known.sightings)
        if selection is not None:
            _check_numbers(selection.subjects, shown.mattes)
        return shown


def _check_numbers(numbers: Sequence[int], mattes: SubjectMattes) -> None:
    count = len(mattes.numbers)
    if numbers and not count:
        raise unknown_foreground()
    for index, number in enumerate(numbers):
        if number > count:
            has = "one subject, number 1" if count == 1 else f"{count} subjects, numbers 1 to {count}"
            raise InvalidField(f"subjects[{index}]", f"There is no subject {number}: this picture has {has}.")


def _listed(found: FoundSubject, known: NetworkMatte) -> ListedSubject:
    if found.seen is not None:
        return ListedSubject(found, found.seen.type, found.seen.score)
    # What all networks together call the picture is its largest subject.
    if found.number == 1 and known.subject_type is not SubjectType.OTHER:
        return ListedSubject(found, known.subject_type, known.confidence)
    return ListedSubject(found, SubjectType.UNSPECIFIED, 0.0)
