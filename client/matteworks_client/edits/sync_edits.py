"""The editing tools for ordinary programs; part of `MatteworksClient`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, Unpack

import grpc

from matteworks.compositor.v1 import edit_pb2_grpc
from matteworks_client.choices import Format, Picture, RenderChoices
from matteworks_client.edits import messages
from matteworks_client.edits.messages import (
    UPSCALE_TIMEOUT_S,
    Corners,
    Correction,
    EditedPicture,
    Margins,
    PictureSubject,
    Stroke,
    StrokeKind,
)


class SyncEdits:
    """Every method raises the MatteworksError of the service, and ValueError for what cannot be meant."""

    _call: Callable[..., Any]

    def _open_edits(self, channel: grpc.Channel) -> None:
        self._edits = edit_pb2_grpc.EditServiceStub(channel)

    def crop(
        self,
        picture: Picture,
        *,
        box: Corners | None = None,
        aspect_ratio: tuple[int, int] | None = None,
        margin: Margins | None = None,
        format: Format | None = None,
        timeout_s: float | None = None,
    ) -> EditedPicture:
        """A part of a picture, background and all: a box, the largest part of a ratio around the subject, or
        the subject with room around it. Exactly one of the three.
        """
        request = messages.crop_request(picture, box, aspect_ratio, margin, format)
        answer = self._call(self._edits.Crop, request, timeout_s)
        return messages.edited_of(answer.picture, answer.area)

    def erase(
        self, picture: Picture, mask: Picture, *, format: Format | None = None, timeout_s: float | None = None
    ) -> EditedPicture:
        """The picture, filled from the surroundings where `mask`, of the same size, is white."""
        request = messages.erase_request(picture, mask, format)
        return messages.edited_of((self._call(self._edits.Erase, request, timeout_s)).picture)

    def fill(
        self,
        picture: Picture,
        mask: Picture,
        prompt: str,
        *,
        format: Format | None = None,
        timeout_s: float | None = None,
    ) -> EditedPicture:
        """The picture, painted as `prompt` says where `mask`, of the same size, is white. Needs a generative
        server: without one the error's reason is TOOL_UNAVAILABLE.
        """
        request = messages.fill_request(picture, mask, prompt, format)
        return messages.edited_of((self._call(self._edits.Fill, request, timeout_s)).picture)

    def expand(
        self,
        picture: Picture,
        *,
        borders_px: tuple[int, int, int, int] | None = None,
        aspect_ratio: tuple[int, int] | None = None,
        prompt: str = "",
        format: Format | None = None,
        timeout_s: float | None = None,
    ) -> EditedPicture:
        """The picture with filled borders (top, right, bottom, left), or as much of them as a ratio needs. A
        `prompt` says what to paint in them, as of `fill`.
        """
        request = messages.expand_request(picture, borders_px, aspect_ratio, prompt, format)
        answer = self._call(self._edits.Expand, request, timeout_s)
        return messages.edited_of(answer.picture, answer.original)

    def upscale(
        self,
        picture: Picture,
        *,
        scale: Literal[2, 4] | None = None,
        width_px: int | None = None,
        height_px: int | None = None,
        format: Format | None = None,
        timeout_s: float | None = UPSCALE_TIMEOUT_S,
    ) -> EditedPicture:
        """The picture larger, and its details sharp: by `scale`, or the largest of its ratio within a width,
        a height or both. On few cores it takes a minute.
        """
        request = messages.upscale_request(picture, scale, width_px, height_px, format)
        answer = self._call(self._edits.Upscale, request, timeout_s)
        return messages.edited_of(answer.picture, model=answer.model)

    def put_back(
        self,
        picture: Picture,
        edited: Picture,
        *,
        at: tuple[int, int] | None = None,
        fill_old_subject: bool = False,
        matte: Picture | None = None,
        format: Format | None = None,
        timeout_s: float | None = None,
    ) -> EditedPicture:
        """The picture with a subject that was edited elsewhere laid over it; `edited` is transparent around
        the subject. It is of the picture's size, or `at` (x, y) is where its upper left corner goes. With
        `fill_old_subject` the old one, by `matte` or the network's, is filled where it would still show.
        """
        request = messages.put_back_request(picture, edited, at, fill_old_subject, matte, format)
        return messages.edited_of(self._call(self._edits.PutBack, request, timeout_s).picture)

    def correct(
        self,
        picture: Picture,
        strokes: Sequence[Stroke] = (),
        *,
        matte: Picture | None = None,
        mask: Picture | None = None,
        mask_kind: StrokeKind | None = None,
        timeout_s: float | None = None,
        **choices: Unpack[RenderChoices],
    ) -> Correction:
        """The cut-out of a picture with its matte corrected by strokes, by a mask of one kind, or by both.

        `matte` is that of the last correction; without it the network's own is corrected, which costs a run.
        """
        request = messages.correct_request(picture, strokes, matte, mask, mask_kind, choices)
        return messages.correction_of(self._call(self._edits.Correct, request, timeout_s))

    def list_subjects(self, picture: Picture, *, timeout_s: float | None = None) -> list[PictureSubject]:
        """What is in a picture, largest first, with the numbers that `select` takes; empty for nothing."""
        request = messages.list_subjects_request(picture)
        return messages.subjects_of(self._call(self._edits.ListSubjects, request, timeout_s))

    def select_each(
        self,
        picture: Picture,
        subjects: Sequence[int] = (),
        *,
        timeout_s: float | None = None,
        **choices: Unpack[RenderChoices],
    ) -> dict[int, Correction]:
        """One cut-out for each subject, by its number; without `subjects` for all of them."""
        request = messages.select_each_request(picture, subjects, choices)
        return messages.each_of(self._call(self._edits.Select, request, timeout_s))

    def select(
        self,
        picture: Picture,
        inside: Sequence[tuple[float, float]] = (),
        outside: Sequence[tuple[float, float]] = (),
        *,
        box: Corners | None = None,
        subjects: Sequence[int] = (),
        timeout_s: float | None = None,
        **choices: Unpack[RenderChoices],
    ) -> Correction:
        """The cut-out of what is pointed at: at most 100 points on it and beside it (x, y in pixels), a box
        around it, numbers from `list_subjects`, or several of these. Its matte can be handed to `correct`.
        """
        request = messages.select_request(picture, inside, outside, box, subjects, choices)
        return messages.correction_of(self._call(self._edits.Select, request, timeout_s))
