"""`DELETE …/{image_id}`: a stored result is gone when this answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from matteworks_edge.exchange import exchange_of
from matteworks_edge.intake.incoming import authenticate
from matteworks_edge.operations.services import Services
from matteworks_edge.responses import json_response, rate_limit_headers


@dataclass(frozen=True, slots=True)
class DeletionEndpoint:
    """`document` gets the id and the time. Costs nothing and counts against no limit."""

    services: Services
    document: Callable[[str, datetime], dict[str, Any]]

    async def __call__(self, request: Request) -> Response:
        exchange_of(request).route = "deletion"
        caller = await authenticate(request, self.services.auth)
        result_id = request.path_params["image_id"]
        deleted = await self.services.jobs.delete(caller.account_id, result_id)
        headers = rate_limit_headers(exchange_of(request).rate_limit)
        return json_response(self.document(result_id, deleted), headers=headers)
