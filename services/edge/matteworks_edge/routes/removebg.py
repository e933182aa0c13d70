"""`POST …/removebg` in every dialect that answers with the picture itself."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from matteworks_common.errors import MatteworksError
from matteworks_edge.exchange import exchange_of
from matteworks_edge.fields.form import parse_removal
from matteworks_edge.fields.parameters import FORMATS
from matteworks_edge.intake.accept import preferred_picture, prefers_json
from matteworks_edge.intake.admission import Admission
from matteworks_edge.intake.incoming import authenticate, read_form, start_deadline, while_connected
from matteworks_edge.metrics import EdgeMetrics
from matteworks_edge.responses import (
    CONTENT_TYPES,
    JSON_TYPE,
    credit_figures,
    rate_limit_headers,
    removal_headers,
    removal_json,
)
from matteworks_removal.clients import AuthClient
from matteworks_removal.service import Removal, RemovalService


@dataclass(frozen=True, slots=True)
class RemovalEndpoint:
    """Key, body, form, removal, answer.

    A caller who goes away before the result is charged pays nothing and the work is cancelled; after
    the charge it stays, and the same upload within a few seconds gets its result without another one.
    """

    auth: AuthClient
    removals: RemovalService
    admission: Admission
    metrics: EdgeMetrics
    receive_timeout_s: float
    request_timeout_s: float

    async def __call__(self, request: Request) -> Response:
        exchange = exchange_of(request)
        exchange.route = "removebg"
        caller = await authenticate(request, self.auth)
        with self.admission.slot() as slot:
            form = await read_form(request, slot, self.metrics, self.receive_timeout_s)
            dialect = exchange.dialect
            removal_request = parse_removal(form, dialect)
            accept = request.headers.get("accept")
            if dialect.takes_format_from_accept:
                removal_request.options.format = FORMATS[preferred_picture(accept)]
            start_deadline(request, self.request_timeout_s)
            removal = await while_connected(
                request, self.removals.remove(caller, removal_request, exchange, slot.take)
            )
            headers = {
                **removal_headers(removal, dialect, removal_request.type_level),
                **rate_limit_headers(exchange.rate_limit),
            }
            if dialect.has_credit_figures:
                headers |= await self._credit_figures(caller.account_id, removal)
            rendering = removal.response.rendering
            with exchange.stages.measure("respond"):
                if dialect.json_name and prefers_json(accept):
                    body = await asyncio.to_thread(removal_json, removal, dialect.json_name)
                    content_type = JSON_TYPE
                else:
                    body = rendering.image
                    content_type = CONTENT_TYPES[rendering.format]
            self.metrics.sent_bytes.inc(len(body))
            return Response(body, 200, headers, content_type)

    async def _credit_figures(self, account_id: str, removal: Removal) -> dict[str, str]:
        """The result is paid for, so a balance that cannot be read now is left out, not an error."""
        try:
            account = (await self.auth.get_account(account_id)).account
        except MatteworksError:
            account = None
        return credit_figures(removal.charged_credits_milli, account)
