"""What is in a picture, with the numbers by which a selection takes it. Free, and counted as a call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from matteworks.auth.v1 import auth_pb2
from matteworks.compositor.v1 import edit_pb2
from matteworks_edge.exchange import exchange_of
from matteworks_edge.fields.form import read_source
from matteworks_edge.intake.incoming import authenticate, read_form, start_deadline, while_connected
from matteworks_edge.operations.services import Services
from matteworks_edge.responses import json_response, rate_limit_headers
from matteworks_removal.clients import EditClient
from matteworks_removal.edits import EditOrder
from matteworks_removal.service import Counting, Progress

NAME: Final = "subjects"


@dataclass(frozen=True, slots=True)
class SubjectsEndpoint:
    """Key, body, picture, list. `document` writes the answer."""

    services: Services
    document: Callable[[edit_pb2.ListSubjectsResponse], dict[str, Any]]

    async def __call__(self, request: Request) -> Response:
        services = self.services
        exchange = exchange_of(request)
        exchange.route = NAME
        caller = await authenticate(request, services.auth)
        with services.admission.slot() as slot:
            form = await read_form(request, slot, services.metrics, services.receive_timeout_s)
            dialect = exchange.dialect
            order = EditOrder(
                source=read_source(form),
                perform=_perform,
                price=auth_pb2.Price(credits_milli=0),
                parameters=NAME.encode(),
                counting=Counting(dialect.name, dialect.rate_unit, dialect.rate_scope),
                max_file_bytes=form.rules.max_file_bytes,
                formats=dialect.input_formats,
            )
            start_deadline(request, services.request_timeout_s)
            progress = Progress(exchange.stages, slot.take, exchange.keep_reservation, exchange.keep_charge)
            edit = await while_connected(request, services.edits.edit(caller, order, progress))
            headers = {
                dialect.width_header: str(edit.result.size.width_px),
                dialect.height_header: str(edit.result.size.height_px),
                "X-Credits-Charged": "0",
            }
            headers |= rate_limit_headers(exchange.rate_limit)
            return json_response(self.document(edit.result), headers=headers)


async def _perform(editor: EditClient, image: bytes, _: Mapping[str, bytes]) -> edit_pb2.ListSubjectsResponse:
    return await editor.list_subjects(edit_pb2.ListSubjectsRequest(image=image))
