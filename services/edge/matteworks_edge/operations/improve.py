"""`POST …/improve`: hand in a picture whose cut-out went wrong."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from matteworks_edge.exchange import exchange_of
from matteworks_edge.fields.form import parse_improve
from matteworks_edge.intake.incoming import authenticate, read_form, start_deadline
from matteworks_edge.operations.services import Services
from matteworks_edge.responses import json_response
from matteworks_removal.sources import load_picture


@dataclass(frozen=True, slots=True)
class ImproveEndpoint:
    """Key, consent of the operator, body, store. Costs no credits."""

    services: Services

    async def __call__(self, request: Request) -> Response:
        services = self.services
        exchange = exchange_of(request)
        exchange.route = "improve"
        caller = await authenticate(request, services.auth)
        services.submissions.check_consent()
        with services.admission.slot() as slot:
            form = await read_form(request, slot, services.metrics, services.receive_timeout_s)
            submission = parse_improve(form)
            start_deadline(request, services.request_timeout_s)

            async def hand_in() -> Response:
                with exchange.stages.measure("fetch"):
                    picture = await load_picture(
                        submission.source,
                        services.fetcher,
                        slot.take,
                        exchange.max_file_bytes,
                        exchange.dialect.input_formats,
                    )
                submission_id = await services.submissions.hand_in(
                    caller.account_id, picture, submission.filename, submission.tag
                )
                return json_response({"id": submission_id})

            return await services.first_answers.once(request, caller, form, hand_in)
