"""A path that several providers have: the key's dialect decides who answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from matteworks_edge.dialects.base import Dialect, Handler
from matteworks_edge.exchange import exchange_of
from matteworks_edge.intake.incoming import authenticate
from matteworks_edge.operations.services import Services


@dataclass(frozen=True, slots=True)
class SharedEndpoint:
    """`handlers` by the name of the dialect. A key without a dialect, with one that lacks this path, or
    that is not valid, is answered in the dialect that owns the path.
    """

    services: Services
    handlers: Mapping[str, tuple[Dialect, Handler]]

    async def __call__(self, request: Request) -> Response:
        exchange = exchange_of(request)
        caller = await authenticate(request, self.services.auth, dialect="")
        dialect, handler = self.handlers.get(caller.dialect) or self.handlers[exchange.dialect.name]
        exchange.dialect = dialect
        return await handler(request)
