"""`POST …/improve`: hand in a picture whose cut-out went wrong."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from matteworks_edge.exchange import exchange_of
from matteworks_edge.fields.form import parse_improve
from matteworks_edge.intake.admission import Admission
from matteworks_edge.intake.incoming import authenticate, read_form, start_deadline
from matteworks_edge.metrics import EdgeMetrics
from matteworks_edge.responses import json_response
from matteworks_edge.submissions import SubmissionBox
from matteworks_removal.clients import AuthClient
from matteworks_removal.sources import PictureFetcher, load_picture


@dataclass(frozen=True, slots=True)
class ImproveEndpoint:
    """Key, consent of the operator, body, store. Costs no credits."""

    auth: AuthClient
    submissions: SubmissionBox
    fetcher: PictureFetcher
    admission: Admission
    metrics: EdgeMetrics
    receive_timeout_s: float
    request_timeout_s: float

    async def __call__(self, request: Request) -> Response:
        exchange = exchange_of(request)
        exchange.route = "improve"
        caller = await authenticate(request, self.auth)
        self.submissions.check_consent()
        with self.admission.slot() as slot:
            form = await read_form(request, slot, self.metrics, self.receive_timeout_s)
            submission = parse_improve(form)
            start_deadline(request, self.request_timeout_s)
            with exchange.stages.measure("fetch"):
                picture = await load_picture(submission.source, self.fetcher, slot.take)
            submission_id = await self.submissions.hand_in(
                caller.account_id, picture, submission.filename, submission.tag
            )
        return json_response({"id": submission_id})
