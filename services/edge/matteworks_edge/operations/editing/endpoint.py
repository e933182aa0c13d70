"""An edit of a picture, answered with the URL of its result or with the picture itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from matteworks.auth.v1 import auth_pb2
from matteworks.compositor.v1 import compositor_pb2, edit_pb2
from matteworks.jobs.v1 import removal_pb2, results_pb2
from matteworks_common.errors import MatteworksError
from matteworks_edge.dialects.base import Dialect
from matteworks_edge.exchange import exchange_of
from matteworks_edge.fields.form import read_source
from matteworks_edge.fields.parameters import parse_format
from matteworks_edge.fields.reader import Fields
from matteworks_edge.intake.admission import Slot
from matteworks_edge.intake.body import RawForm
from matteworks_edge.intake.incoming import (
    account_of,
    authenticate,
    read_form,
    start_deadline,
    while_connected,
)
from matteworks_edge.jobs_client import caller_for
from matteworks_edge.operations.editing.tools import MASK, Tool
from matteworks_edge.operations.services import Services
from matteworks_edge.operations.stored.cutout import StoredCutout, StoredSubject
from matteworks_edge.responses import JSON_TYPE, format_credits, json_response, rate_limit_headers
from matteworks_removal.content_types import CONTENT_TYPES
from matteworks_removal.edits import Edit, EditedPicture, EditOrder
from matteworks_removal.service import Counting, Progress
from matteworks_removal.sources import SentPicture


@dataclass(slots=True)
class _Kept:
    """What is in the store: pictures, and the mask of each where it has one."""

    results: list[removal_pb2.StoredResult] = field(default_factory=list)
    masks: list[removal_pb2.StoredResult] = field(default_factory=list)


def _never(_: Fields) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class EditEndpoint:
    """Key, body, form, edit, charge, answer.

    `document` writes the answer from the stored result, which stays at most `max_retention_s`; None: the
    answer is the picture, and nothing is kept. `inline` writes it with the picture in it, where `is_inline`
    says so of the form.
    """

    services: Services
    tool: Tool
    document: Callable[[StoredCutout], dict[str, Any]] | None = None
    max_retention_s: float = 0
    inline: Callable[[EditedPicture], bytes] | None = None
    is_inline: Callable[[Fields], bool] = _never
    # Of the result when the caller names none; UNSPECIFIED: the dialect's own.
    format: compositor_pb2.OutputFormat.ValueType = compositor_pb2.OUTPUT_FORMAT_UNSPECIFIED

    async def __call__(self, request: Request) -> Response:
        services = self.services
        exchange = exchange_of(request)
        exchange.route = self.tool.name
        caller = await authenticate(request, services.auth)
        with services.admission.slot() as slot:
            form = await read_form(request, slot, services.metrics, services.receive_timeout_s)
            usual = self.format or exchange.dialect.default_format
            order, stored = _parse(form, self.tool, exchange.dialect, usual)
            start_deadline(request, services.request_timeout_s)
            return await services.first_answers.once(
                request, caller, form, lambda: self._answer(request, caller, form, order, stored, slot)
            )

    async def _answer(
        self,
        request: Request,
        caller: auth_pb2.AuthenticateResponse,
        form: RawForm,
        order: EditOrder[EditedPicture],
        named: Mapping[str, str],
        slot: Slot,
    ) -> Response:
        exchange = exchange_of(request)
        order = await self._with_stored(caller, order, named, slot)
        inline = self.inline if self.is_inline(Fields(form)) else None
        stored = _Kept()
        owner = caller_for(caller, exchange.dialect.name, self.max_retention_s)

        async def keep(picture: EditedPicture) -> None:
            if self.document is None or inline is not None:
                return
            for part in (picture, *picture.more):
                content_type = CONTENT_TYPES[part.format]
                stored.results.append(await self.services.jobs.store(owner, part.content, content_type))
                if MASK in part.others:
                    stored.masks.append(await self.services.jobs.store(owner, part.others[MASK], "image/png"))

        start = time.perf_counter()
        progress = Progress(exchange.stages, slot.take, exchange.keep_reservation, exchange.keep_charge)
        try:
            edit = await while_connected(request, self.services.edits.edit(caller, order, progress, keep))
        except BaseException:
            for result in (*stored.results, *stored.masks):
                await self._drop(caller.account_id, result.result_id)
            raise
        headers = _headers(edit, exchange.dialect) | rate_limit_headers(exchange.rate_limit)
        if exchange.dialect.account_headers:
            account = await account_of(caller, self.services.auth)
            headers |= exchange.dialect.account_headers(edit.charged_credits_milli, account)
        picture = edit.result
        if inline is not None:
            body = await asyncio.to_thread(inline, picture)
            self.services.metrics.sent_bytes.inc(len(body))
            return Response(body, 200, headers, JSON_TYPE)
        if self.document is None:
            self.services.metrics.sent_bytes.inc(len(picture.content))
            return Response(picture.content, 200, headers, CONTENT_TYPES[picture.format])
        cutout = _cutout(stored, edit, time.perf_counter() - start)
        return json_response(self.document(cutout), headers=headers)

    async def _with_stored(
        self,
        caller: auth_pb2.AuthenticateResponse,
        order: EditOrder[EditedPicture],
        named: Mapping[str, str],
        slot: Slot,
    ) -> EditOrder[EditedPicture]:
        """`order` with the account's stored results that it names. Raises NotFound (RESULT_NOT_FOUND) for
        another account's as for none.
        """
        others = dict(order.others)
        for name, result_id in named.items():
            asked = results_pb2.ReadResultRequest(account_id=caller.account_id, result_id=result_id)
            result = await self.services.jobs.read(asked)
            slot.take(result.facts.size_bytes)
            others[name] = SentPicture(name, b"".join([piece async for piece in result.pieces()]))
        return replace(order, others=others)

    async def _drop(self, account_id: str, result_id: str) -> None:
        """What nobody paid for must not stay. If it cannot be deleted now, it goes when it expires."""
        try:
            await self.services.jobs.delete(account_id, result_id)
        except MatteworksError:
            return


def _parse(
    form: RawForm, tool: Tool, dialect: Dialect, usual: compositor_pb2.OutputFormat.ValueType
) -> tuple[EditOrder[EditedPicture], Mapping[str, str]]:
    """The order, and the ids of the stored results that it needs. Raises InvalidRequest with every error, or
    what the tool raises at once.
    """
    fields = Fields(form)
    source = fields.collect(lambda: read_source(form))
    format_ = fields.read("format", lambda text: parse_format(text, dialect.formats), usual)
    work = tool.read(fields, form, edit_pb2.EditOutput(format=format_))
    fields.raise_if_wrong()
    if source is None:
        raise AssertionError("an error was found, so it was raised above")
    order = EditOrder(
        source=source,
        perform=work.perform,
        price=auth_pb2.Price(credits_milli=1000),
        parameters=tool.name.encode() + b"\0" + work.parameters,
        counting=Counting(dialect.name, dialect.rate_unit, dialect.rate_scope),
        others=work.others,
        max_file_bytes=form.rules.max_file_bytes,
        formats=dialect.input_formats,
    )
    return order, work.stored


def _headers(edit: Edit[EditedPicture], dialect: Dialect) -> dict[str, str]:
    headers = {
        dialect.width_header: str(edit.result.width_px),
        dialect.height_header: str(edit.result.height_px),
        "X-Credits-Charged": format_credits(edit.charged_credits_milli),
    }
    if edit.result.model:
        headers["X-Model"] = edit.result.model
    return headers | ({"X-Repeated-Request": "true"} if edit.is_repeat else {})


def _cutout(stored: _Kept, edit: Edit[EditedPicture], duration_s: float) -> StoredCutout:
    picture = edit.result
    subjects: list[StoredSubject] = []
    if picture.number:
        parts = zip((picture, *picture.more), stored.results, stored.masks, strict=True)
        subjects = [
            StoredSubject(part.number, result, mask, part.width_px, part.height_px)
            for part, result, mask in parts
        ]
    return StoredCutout(
        result=stored.results[0],
        mask=stored.masks[0] if stored.masks else None,
        subjects=subjects,
        format=picture.format,
        width_px=picture.width_px,
        height_px=picture.height_px,
        source_width_px=edit.source_width_px,
        source_height_px=edit.source_height_px,
        charged_credits_milli=edit.charged_credits_milli,
        processing_time_ms=round(duration_s * 1000),
    )
