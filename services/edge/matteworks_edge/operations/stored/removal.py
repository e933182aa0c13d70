"""A removal whose result is kept, and told by its URL."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from matteworks.auth.v1 import auth_pb2
from matteworks.compositor.v1 import compositor_pb2
from matteworks.jobs.v1 import removal_pb2
from matteworks_edge.exchange import exchange_of
from matteworks_edge.fields.form import RemovalForm, parse_removal
from matteworks_edge.intake.admission import Slot
from matteworks_edge.intake.body import RawForm
from matteworks_edge.intake.incoming import (
    authenticate,
    count_call,
    read_form,
    start_deadline,
    while_connected,
)
from matteworks_edge.jobs_client import caller_for
from matteworks_edge.operations.services import Services
from matteworks_edge.operations.stored.cutout import StoredCutout
from matteworks_edge.operations.stored.keeping import keeping
from matteworks_edge.responses import format_credits, json_response, rate_limit_headers
from matteworks_removal.content_types import CONTENT_TYPES
from matteworks_removal.service import Progress, Removal


@dataclass(frozen=True, slots=True)
class StoredRemovalEndpoint:
    """Key, body, form, removal, result into the store, charge, answer.

    `document` writes the answer. Results stay as long as the plan says, or `max_retention_s` where that is
    less; 0: only the plan decides. Their URLs work for `url_lifetime_s`; 0: as long as they stay.
    """

    services: Services
    document: Callable[[StoredCutout], dict[str, Any]]
    max_retention_s: float = 0
    url_lifetime_s: float = 0

    async def __call__(self, request: Request) -> Response:
        services = self.services
        exchange = exchange_of(request)
        exchange.route = "stored_removal"
        caller = await authenticate(request, services.auth)
        with services.admission.slot() as slot:
            form = await read_form(request, slot, services.metrics, services.receive_timeout_s)
            asked = parse_removal(form, exchange.dialect)
            start_deadline(request, services.request_timeout_s)
            return await services.first_answers.once(
                request, caller, form, lambda: self._answer(request, caller, form, asked, slot)
            )

    async def _answer(
        self,
        request: Request,
        caller: auth_pb2.AuthenticateResponse,
        form: RawForm,
        asked: RemovalForm,
        slot: Slot,
    ) -> Response:
        exchange = exchange_of(request)
        if webhook_url := form.texts.get("webhook_url"):
            await count_call(request, self.services.auth, caller)
            work = self.services.queued.finish(
                caller,
                asked.request,
                webhook_url,
                max_retention_s=self.max_retention_s,
                url_lifetime_s=self.url_lifetime_s,
            )
        else:
            work = self._remove(request, caller, asked, slot)
        cutout = await while_connected(request, work)
        headers = {
            exchange.dialect.width_header: str(cutout.width_px),
            exchange.dialect.height_header: str(cutout.height_px),
            "X-Credits-Charged": format_credits(cutout.charged_credits_milli),
            **rate_limit_headers(exchange.rate_limit),
        }
        return json_response(self.document(cutout), headers=headers)

    async def _remove(
        self, request: Request, caller: auth_pb2.AuthenticateResponse, asked: RemovalForm, slot: Slot
    ) -> StoredCutout:
        exchange = exchange_of(request)
        owner = caller_for(caller, exchange.dialect.name, self.max_retention_s)
        start = time.perf_counter()
        async with keeping(self.services.jobs, owner, self.url_lifetime_s) as kept:

            async def keep(response: compositor_pb2.RemoveBackgroundResponse) -> None:
                rendering = response.rendering
                await kept.keep(rendering.image, CONTENT_TYPES[rendering.format])

            removal = await self.services.removals.remove(
                caller,
                asked.request,
                Progress(exchange.stages, slot.take, exchange.keep_reservation, exchange.keep_charge),
                request_id=exchange.request_id,
                keep=keep,
            )
        return _cutout(kept.results[0], removal, time.perf_counter() - start)


def _cutout(result: removal_pb2.StoredResult, removal: Removal, duration_s: float) -> StoredCutout:
    rendering = removal.response.rendering
    return StoredCutout(
        result=result,
        format=rendering.format,
        width_px=rendering.size.width_px,
        height_px=rendering.size.height_px,
        source_width_px=rendering.source_size.width_px,
        source_height_px=rendering.source_size.height_px,
        charged_credits_milli=removal.charged_credits_milli,
        processing_time_ms=round(duration_s * 1000),
    )
