"""Batches: many pictures in one call, worked on by and by; and how far one has come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from matteworks.auth.v1 import auth_pb2
from matteworks.jobs.v1 import jobs_pb2
from matteworks_common.errors import MatteworksError
from matteworks_edge.dialects.base import Dialect
from matteworks_edge.errors import InvalidRequest
from matteworks_edge.exchange import exchange_of
from matteworks_edge.fields.form import parse_removal
from matteworks_edge.intake.batch_body import LIST_FIELD, RawBatch, read_batch
from matteworks_edge.intake.body import RawForm
from matteworks_edge.intake.incoming import authenticate, count_call, read_request, start_deadline
from matteworks_edge.operations.services import Services
from matteworks_edge.responses import json_response, rate_limit_headers
from matteworks_removal.service import RemovalRequest

__all__ = ["AcceptedBatch", "BatchEndpoint", "BatchPollEndpoint"]


@dataclass(frozen=True, slots=True)
class AcceptedBatch:
    """A batch that will end. `base_url` is where the caller reached us, without a slash at the end."""

    batch: jobs_pb2.Batch
    base_url: str


@dataclass(frozen=True, slots=True)
class BatchEndpoint:
    """Key, body, every picture's fields, one call counted, queue: 202 and `document`."""

    services: Services
    document: Callable[[AcceptedBatch], dict[str, Any]]

    async def __call__(self, request: Request) -> Response:
        services = self.services
        exchange = exchange_of(request)
        exchange.route = "batch"
        caller = await authenticate(request, services.auth)
        max_count = caller.plan_details.max_batch_items or 20
        with services.admission.slot() as slot:
            body = await read_request(
                request,
                slot,
                services.metrics,
                services.receive_timeout_s,
                lambda headers, chunks, account_for: read_batch(
                    headers, chunks, account_for, exchange.body_rules, max_count
                ),
            )
            requests = _parse_items(body, exchange.dialect)
            start_deadline(request, services.request_timeout_s)

            async def accept() -> Response:
                await count_call(request, services.auth, caller)
                webhook_url = body.defaults.texts.get("webhook_url", "")
                answer = await services.queued.accept_batch(caller, requests, webhook_url, max_count)
                accepted = AcceptedBatch(answer.batch, str(request.base_url).rstrip("/"))
                return json_response(
                    self.document(accepted),
                    202,
                    {"X-Credits-Charged": "0", **rate_limit_headers(exchange.rate_limit)},
                )

            return await services.first_answers.once(request, caller, _whole(body), accept)


@dataclass(frozen=True, slots=True)
class BatchPollEndpoint:
    """`GET …/{batch_id}`: the batch and its pictures in order. Costs nothing and counts against no limit."""

    services: Services
    document: Callable[[jobs_pb2.GetBatchResponse], dict[str, Any]]

    async def __call__(self, request: Request) -> Response:
        exchange_of(request).route = "batch_poll"
        caller: auth_pb2.AuthenticateResponse = await authenticate(request, self.services.auth)
        found = await self.services.jobs.get_batch(caller.account_id, request.path_params["batch_id"])
        return json_response(
            self.document(found), headers=rate_limit_headers(exchange_of(request).rate_limit)
        )


def _parse_items(body: RawBatch, dialect: Dialect) -> list[RemovalRequest]:
    """Every picture's request. Raises InvalidRequest with every error; fields are named `images[3].crop`."""
    requests, errors = [], []
    shared = {name: text for name, text in body.defaults.texts.items() if name != "webhook_url"}
    for index, item in enumerate(body.items):
        form = RawForm({**shared, **item.texts}, item.files, item.rules)
        try:
            requests.append(parse_removal(form, dialect).request)
        except InvalidRequest as invalid:
            errors += [_in_item(error, index) for error in invalid.errors]
    if errors:
        raise InvalidRequest(errors)
    return requests


def _in_item(error: MatteworksError, index: int) -> MatteworksError:
    error.field = f"{LIST_FIELD}[{index}].{error.field}"
    error.message = f"{LIST_FIELD}[{index}]: {error.message}"
    return error


def _whole(body: RawBatch) -> RawForm:
    """The batch as one form, for its fingerprint."""
    texts, files = dict(body.defaults.texts), dict[str, bytes]()
    for index, item in enumerate(body.items):
        texts |= {f"{LIST_FIELD}[{index}].{name}": text for name, text in item.texts.items()}
        files |= {f"{LIST_FIELD}[{index}].{name}": content for name, content in item.files.items()}
    return RawForm(texts, files)
