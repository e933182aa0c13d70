"""A removal that answers with the picture itself, in whatever dialect asks for it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from matteworks.auth.v1 import auth_pb2
from matteworks.compositor.v1 import compositor_pb2
from matteworks_common.settings import MEBIBYTE
from matteworks_edge.exchange import exchange_of
from matteworks_edge.fields.form import RemovalForm, parse_removal
from matteworks_edge.fields.parameters import FORMATS
from matteworks_edge.intake.accept import preferred_picture, prefers_json
from matteworks_edge.intake.admission import Slot
from matteworks_edge.intake.body import RawForm
from matteworks_edge.intake.incoming import (
    account_of,
    authenticate,
    count_call,
    is_key_in_body,
    read_form,
    start_deadline,
    while_connected,
)
from matteworks_edge.jobs_client import caller_for
from matteworks_edge.operations.outputs import packed, packing_for, renderings_of
from matteworks_edge.operations.preview import preview_document
from matteworks_edge.operations.services import Services
from matteworks_edge.operations.stored.keeping import keeping
from matteworks_edge.responses import JSON_TYPE, json_response, rate_limit_headers, removal_headers
from matteworks_removal.content_types import CONTENT_TYPES
from matteworks_removal.service import Progress

# Of a body that is read before its sender is known.
_MAX_STRANGER_BYTES: Final = 10 * MEBIBYTE


# For most providers a result's URL works for a day.
URL_LIFETIME_S: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class RemovalEndpoint:
    """Key, body, form, removal, answer.

    A caller who goes away before the result is charged pays nothing and the work is cancelled; after
    the charge it stays, and the same upload within a few seconds gets its result without another one.
    """

    services: Services

    async def __call__(self, request: Request) -> Response:
        services = self.services
        exchange = exchange_of(request)
        exchange.route = "removebg"
        if is_key_in_body(request):
            return await self._serve_key_in_body(request)
        caller = await authenticate(request, services.auth)
        with services.admission.slot() as slot:
            form = await read_form(request, slot, services.metrics, services.receive_timeout_s)
            return await self._serve(request, caller, form, slot)

    async def _serve_key_in_body(self, request: Request) -> Response:
        """A stranger's body is read to find the key in it, so less of it is read."""
        services = self.services
        exchange = exchange_of(request)
        with services.admission.slot() as slot:
            form = await read_form(
                request, slot, services.metrics, services.receive_timeout_s, _MAX_STRANGER_BYTES
            )
            key = form.texts.pop(exchange.dialect.key_parameter, "")
            caller = await authenticate(request, services.auth, body_key=key)
            form.rules = exchange.body_rules
            return await self._serve(request, caller, form, slot)

    async def _serve(
        self, request: Request, caller: auth_pb2.AuthenticateResponse, form: RawForm, slot: Slot
    ) -> Response:
        services = self.services
        dialect = exchange_of(request).dialect
        asked = parse_removal(form, dialect)
        if dialect.takes_format_from_accept:
            asked.request.options.format = FORMATS[preferred_picture(request.headers.get("accept"))]
        start_deadline(request, services.request_timeout_s)
        if asked.is_dry:
            return await self._preview(request, caller, asked, slot)
        return await services.first_answers.once(
            request, caller, form, lambda: self._answer(request, caller, form, asked, slot)
        )

    async def _preview(
        self, request: Request, caller: auth_pb2.AuthenticateResponse, asked: RemovalForm, slot: Slot
    ) -> Response:
        """What the call would cost. It counts as one request, and no Idempotency-Key remembers it."""
        services, exchange = self.services, exchange_of(request)
        await count_call(request, services.auth, caller)
        progress = Progress(exchange.stages, slot.take, exchange.keep_reservation)
        preview = await while_connected(
            request,
            services.removals.preview(caller, asked.request, progress, request_id=exchange.request_id),
        )
        headers = {"X-Credits-Charged": "0", **rate_limit_headers(exchange.rate_limit)}
        return json_response(preview_document(preview, asked.output_names), headers=headers)

    async def _answer(
        self,
        request: Request,
        caller: auth_pb2.AuthenticateResponse,
        form: RawForm,
        asked: RemovalForm,
        slot: Slot,
    ) -> Response:
        webhook_url = form.texts.get("webhook_url")
        tell_queued = exchange_of(request).dialect.queued_document
        if webhook_url and tell_queued:
            await count_call(request, self.services.auth, caller)
            item = await self.services.queued.accept(
                caller, asked.request, webhook_url, url_lifetime_s=URL_LIFETIME_S
            )
            return json_response(
                tell_queued(item.item_id),
                202,
                {"X-Credits-Charged": "0", **rate_limit_headers(exchange_of(request).rate_limit)},
            )
        return await self._remove(request, caller, asked, slot)

    async def _remove(
        self, request: Request, caller: auth_pb2.AuthenticateResponse, asked: RemovalForm, slot: Slot
    ) -> Response:
        services = self.services
        exchange = exchange_of(request)
        dialect = exchange.dialect
        accept = request.headers.get("accept")
        progress = Progress(exchange.stages, slot.take, exchange.keep_reservation, exchange.keep_charge)
        packing = packing_for(asked.packing, accept) if asked.output_names else None
        async with keeping(services.jobs, caller_for(caller, dialect.name), URL_LIFETIME_S) as kept:

            async def keep(response: compositor_pb2.RemoveBackgroundResponse) -> None:
                for rendering in renderings_of(response):
                    await kept.keep(rendering.image, CONTENT_TYPES[rendering.format])

            removal = await while_connected(
                request,
                services.removals.remove(
                    caller,
                    asked.request,
                    progress,
                    request_id=exchange.request_id,
                    keep=keep if packing == "urls" else None,
                ),
            )
        headers = {
            **removal_headers(removal, dialect, asked.type_level),
            **rate_limit_headers(exchange.rate_limit),
        }
        if dialect.account_headers:
            account = await account_of(caller, services.auth)
            headers |= dialect.account_headers(removal.charged_credits_milli, account)
        rendering = removal.response.rendering
        with exchange.stages.measure("respond"):
            if packing is not None:
                body, content_type = await asyncio.to_thread(
                    packed, packing, removal, asked.output_names, kept.results
                )
            elif dialect.result_document and (asked.is_told_in_json or prefers_json(accept)):
                body = await asyncio.to_thread(dialect.result_document, removal)
                content_type = JSON_TYPE
            else:
                body = rendering.image
                content_type = CONTENT_TYPES[rendering.format]
        services.metrics.sent_bytes.inc(len(body))
        return Response(body, 200, headers, content_type)
